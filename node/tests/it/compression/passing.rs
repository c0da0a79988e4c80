//! Answers that are compressed as they pass.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{ALL, comes_in, compressing, decoded, get, origin_of, read, text};
use crate::cache::origin::Origin;
use crate::client::Client;
use crate::common::PATIENCE;
use crate::http2::{Http2, head};

const PAGE: &str = "content-type: text/html\r\netag: \"v\"\r\naccept-ranges: bytes\r\n";

#[tokio::test]
async fn an_answer_comes_in_the_coding_that_the_client_wants_most() {
    let origin = origin_of(PAGE, text(50_000)).await;
    let weir = compressing(&origin, "", ALL).await;
    let mut client = Client::connect(weir.ingress).await;
    for (accept, coding, etag) in [
        ("gzip, br, zstd", Some("br"), "\"v-br\""),
        ("gzip", Some("gzip"), "\"v-gzip\""),
        ("zstd", Some("zstd"), "\"v-zstd\""),
        ("br;q=0.1, gzip;q=0.9", Some("gzip"), "\"v-gzip\""),
        ("identity;q=0, gzip", Some("gzip"), "\"v-gzip\""),
        ("identity;q=0", None, "\"v\""),
        ("*;q=0", None, "\"v\""),
        ("deflate", None, "\"v\""),
        ("br;q=0", None, "\"v\""),
    ] {
        let accepts = format!("Accept-Encoding: {accept}\r\n");
        let answer = get(&mut client, "/", &accepts).await;
        assert_eq!(read(&answer), (coding, text(50_000)), "{accept}");
        assert_eq!(answer.header("etag"), Some(etag), "{accept}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{accept}");
        let (length, ranges) = (
            answer.header("content-length"),
            answer.header("accept-ranges"),
        );
        let is_plain = coding.is_none();
        assert_eq!(
            [length, ranges].map(|line| line.is_some()),
            [is_plain; 2],
            "{accept}"
        );
    }
    let silent = client.get("/").await.unwrap();
    assert_eq!(
        (silent.header("vary"), silent.text()),
        (Some("Accept-Encoding"), text(50_000))
    );
    let kinds = "weir_compressions_total{coding=\"gzip\",kind=\"stream\"}";
    assert_eq!(weir.metric(kinds).await, 3.0);
}

#[tokio::test]
async fn without_a_word_of_the_operator_it_is_br_before_gzip_on_routes_that_ask() {
    let origin = origin_of(PAGE, text(5_000)).await;
    let weir = compressing(&origin, "", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let answer = get(&mut client, "/", "Accept-Encoding: zstd, gzip, br\r\n").await;
    assert_eq!(answer.header("content-encoding"), Some("br"));
    weir.edit(&format!(
        "[services.web]\nbackends = [\"{}\"]\n[[routes]]\nservice = \"web\"\ncompress = false\n",
        origin.address
    ));
    let answer = comes_in(&mut client, "Accept-Encoding: gzip, br\r\n", None).await;
    assert_eq!((answer.header("vary"), answer.text()), (None, text(5_000)));
}

#[tokio::test]
async fn what_is_small_large_dense_or_marked_passes_untouched() {
    let origin = Origin::start(|mut asked| async move {
        let path = asked.head.split(' ').nth(1).unwrap().to_owned();
        let html = "content-type: text/html\r\netag: \"v\"\r\n";
        let (status, fields, bytes) = match path.as_str() {
            "/small" => ("200 OK", html.to_owned(), 999),
            "/large" => ("200 OK", html.to_owned(), 100_001),
            "/image" => ("200 OK", "content-type: image/png\r\n".to_owned(), 2_000),
            "/untyped" => ("200 OK", String::new(), 2_000),
            "/coded" => ("200 OK", format!("{html}content-encoding: gzip\r\n"), 2_000),
            "/marked" => (
                "200 OK",
                format!("{html}cache-control: no-transform\r\n"),
                2_000,
            ),
            "/part" => {
                let range = "content-range: bytes 0-1999/9000\r\n";
                ("206 Partial Content", format!("{html}{range}"), 2_000)
            }
            _ => ("200 OK", html.to_owned(), 1_000),
        };
        asked.answer(status, &fields, &text(bytes)).await;
        asked
    })
    .await;
    let weir = compressing(&origin, "", "compression_bytes_max = 100000").await;
    let mut client = Client::connect(weir.ingress).await;
    let accepts = "Accept-Encoding: gzip, br\r\n";
    for path in [
        "/small", "/large", "/image", "/untyped", "/coded", "/marked", "/part",
    ] {
        let answer = get(&mut client, path, accepts).await;
        let coding = answer.header("content-encoding");
        assert_eq!(coding, (path == "/coded").then_some("gzip"), "{path}");
        assert_eq!(answer.header("vary"), None, "{path}");
        let length = answer.header("content-length").unwrap().to_owned();
        assert_eq!(
            (answer.body.len().to_string(), answer.text()),
            (length, text(answer.body.len()))
        );
    }
    let unwilling = get(
        &mut client,
        "/",
        &format!("{accepts}Cache-Control: no-transform\r\n"),
    )
    .await;
    assert_eq!(unwilling.header("content-encoding"), None);
    let least = get(&mut client, "/", accepts).await;
    assert_eq!(read(&least), (Some("br"), text(1_000)));
    assert_eq!(weir.metric("weir_compressions_total").await, 1.0);
}

#[tokio::test]
async fn a_route_may_name_its_types() {
    let origin = origin_of("content-type: application/x-log\r\n", text(5_000)).await;
    let weir = compressing(&origin, "", "").await;
    let config = |types: &str| {
        format!(
            "[services.web]\nbackends = [\"{}\"]\n[[routes]]\nservice = \"web\"\n\
             compress.types = [{types}]\n",
            origin.address
        )
    };
    let mut client = Client::connect(weir.ingress).await;
    let accepts = "Accept-Encoding: gzip\r\n";
    assert_eq!(
        get(&mut client, "/", accepts)
            .await
            .header("content-encoding"),
        None
    );
    weir.edit(&config("\"text/*\", \"application/x-log\""));
    let answer = comes_in(&mut client, accepts, Some("gzip")).await;
    assert_eq!(read(&answer), (Some("gzip"), text(5_000)));
}

#[tokio::test]
async fn what_a_pausing_backend_sent_arrives_before_the_rest() {
    let origin = Origin::start(|mut asked| async move {
        asked
            .say(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await;
        for part in ["6\r\nfirst \r\n", "6\r\nsecond\r\n"] {
            asked.say(part).await;
            asked.wait().await;
        }
        asked.say("0\r\n\r\n").await;
        asked
    })
    .await;
    let weir = compressing(&origin, "", ALL).await;
    let mut stream = weir.connect().await;
    for coding in ["br", "gzip"] {
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\nAccept-Encoding: {coding}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut held = Vec::new();
        for wanted in ["first ", "first second"] {
            let arrives = async {
                while dechunked(coding, &held) != wanted.as_bytes() {
                    assert_ne!(stream.read_buf(&mut held).await.unwrap(), 0);
                }
            };
            timeout(PATIENCE, arrives).await.expect(coding);
            origin.release(1);
        }
        let ends = async {
            while !held.ends_with(b"\r\n0\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut held).await.unwrap(), 0);
            }
        };
        timeout(PATIENCE, ends).await.expect(coding);
    }
    weir.wait_for_metric("weir_requests_in_flight", |running| running == 0.0)
        .await;
    assert_eq!(weir.metric("weir_requests_abandoned_total").await, 0.0);
    assert_eq!(weir.metric("weir_backend_connects_total").await, 1.0);
}

/// What is decoded of a chunked answer that goes on.
fn dechunked(coding: &str, held: &[u8]) -> Vec<u8> {
    let Some(head) = held.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Vec::new();
    };
    let (mut rest, mut body) = (&held[head + 4..], Vec::new());
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let Some(chunk) = rest.get(line + 2..line + 2 + size) else {
            break;
        };
        body.extend_from_slice(chunk);
        rest = rest.get(line + 4 + size..).unwrap_or_default();
    }
    decoded(coding, &body)
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_exchange_once() {
    let origin = Origin::start(|mut asked| async move {
        asked
            .say(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await;
        asked.say("6\r\nfirst \r\n").await;
        asked.wait().await;
        asked
    })
    .await;
    let weir = compressing(&origin, "", "").await;
    let mut stream = weir.connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream.read_u8().await.unwrap();
    drop(stream);
    weir.wait_for_metric("weir_requests_abandoned_total", |count| count == 1.0)
        .await;
    assert_eq!(weir.metric("weir_requests_in_flight").await, 0.0);
}

#[tokio::test]
async fn a_client_with_the_coded_form_is_told_that_it_is_still_good() {
    let origin = Origin::start(|mut asked| async move {
        let known = asked
            .head
            .lines()
            .find(|line| line.starts_with("if-none-match"));
        if known.is_some_and(|line| line.contains("\"v\"")) {
            asked
                .say("HTTP/1.1 304 Not Modified\r\netag: \"v\"\r\n\r\n")
                .await;
        } else {
            asked.answer("200 OK", PAGE, &text(5_000)).await;
        }
        asked
    })
    .await;
    let weir = compressing(&origin, "", "").await;
    for (accept, known, status, etag) in [
        ("br, gzip", "\"v-br\"", 304, "\"v-br\""),
        ("br, gzip", "\"a\", W/\"v-gzip\"", 304, "\"v-gzip\""),
        ("br, gzip", "\"v\"", 304, "\"v\""),
        ("gzip", "\"v-br\"", 200, "\"v-gzip\""),
        ("", "\"v-br\"", 200, "\"v\""),
        ("br", "\"w-br\"", 200, "\"v-br\""),
    ] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAccept-Encoding: {accept}\r\n\
             If-None-Match: {known}\r\n\r\n"
        );
        let answer = weir.exchange(request.as_bytes()).await.to_lowercase();
        assert!(
            answer.starts_with(&format!("http/1.1 {status}")),
            "{accept} {known}: {answer}"
        );
        assert!(
            answer.contains(&format!("\r\netag: {etag}\r\n")),
            "{accept} {known}: {answer}"
        );
        assert_eq!(
            status == 200 || etag != "\"v\"",
            answer.contains("\r\nvary: accept-encoding")
        );
    }
}

#[tokio::test]
async fn an_answer_to_head_has_the_fields_of_one_to_get() {
    let origin = Origin::start(|mut asked| async move {
        assert!(asked.head.starts_with("HEAD"));
        asked
            .say(&format!(
                "HTTP/1.1 200 OK\r\n{PAGE}content-length: 5000\r\n\r\n"
            ))
            .await;
        asked
    })
    .await;
    let weir = compressing(&origin, "", "").await;
    let head = |accept: &str| {
        format!(
            "HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAccept-Encoding: {accept}\r\n\r\n"
        )
    };
    let coded = weir.exchange(head("br").as_bytes()).await.to_lowercase();
    for line in [
        "content-encoding: br",
        "etag: \"v-br\"",
        "vary: accept-encoding",
    ] {
        assert!(coded.contains(&format!("\r\n{line}\r\n")), "{coded}");
    }
    assert!(
        coded.ends_with("\r\n\r\n") && !coded.contains("content-length"),
        "{coded}"
    );
    let plain = weir
        .exchange(head("identity").as_bytes())
        .await
        .to_lowercase();
    for line in [
        "content-length: 5000",
        "etag: \"v\"",
        "vary: accept-encoding",
    ] {
        assert!(plain.contains(&format!("\r\n{line}\r\n")), "{plain}");
    }
    assert_eq!(weir.metric("weir_compressions_total").await, 0.0);
}

#[tokio::test]
async fn other_knobs_hold_for_the_next_answer() {
    let origin = origin_of(PAGE, text(5_000)).await;
    let weir = compressing(&origin, "", "compression = [\"gzip\"]").await;
    let mut client = Client::connect(weir.ingress).await;
    let accepts = "Accept-Encoding: gzip, zstd, br\r\n";
    for (knob, coding) in [
        ("compression = [\"gzip\"]", Some("gzip")),
        ("compression = [\"zstd\", \"gzip\"]", Some("zstd")),
        ("compression = []", None),
        ("compression_bytes_min = 5001", None),
        ("compression_level = 1", Some("br")),
    ] {
        let file = std::fs::read_to_string(weir.config_path()).unwrap();
        let kept = file.lines().filter(|line| !line.starts_with("compression"));
        let lines: Vec<&str> = kept.collect();
        let file = lines
            .join("\n")
            .replace("[ingress]", &format!("[ingress]\n{knob}"));
        let next = weir.config_path().with_extension("next");
        std::fs::write(&next, file).unwrap();
        std::fs::rename(next, weir.config_path()).unwrap();
        let answer = comes_in(&mut client, accepts, coding).await;
        assert_eq!(read(&answer).1, text(5_000), "{knob}");
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_what_was_flushed_is_cut() {
    let origin = Origin::start(|mut asked| async move {
        asked
            .say(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await;
        let dense: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(200_000)
            .collect();
        asked
            .say(&format!("{:x}\r\n{dense}\r\n", dense.len()))
            .await;
        asked.wait().await;
        asked
    })
    .await;
    let weir = compressing(&origin, "", "write_timeout = \"300ms\"").await;
    let mut client = Http2::connect_taking(&weir, 65_535).await;
    let get = head("GET", "/", &[("accept-encoding", "br")]);
    let (response, _) = client.send(get, true).await;
    let answer = timeout(PATIENCE, response).await.unwrap().unwrap();
    let mut body = answer.into_body();
    // Nothing is released.
    let ended = async { while let Some(Ok(_)) = body.data().await {} };
    timeout(PATIENCE, ended).await.expect("it is cut");
    let stalled = "weir_own_answers_total{reason=\"client_stalled\"}";
    weir.wait_for_metric(stalled, |count| count == 1.0).await;
}
