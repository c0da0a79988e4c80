//! HTTP/1.0, HTTP/1.1 and HTTP/2 keep their meaning on the way through.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::{Backend, Weir, free_ports, read_to_end, read_until, scripted_backend, web};
use crate::http2::{Http2, head, whole};
use crate::recorder::{Recorder, assert_reason, read_head, read_request, values};

/// Exchanges a request, with `Connection: close` in it, with a backend that answers so.
async fn answer_to(request: &str, from_backend: &'static str) -> String {
    let backend = Recorder::answering(|_| from_backend.to_owned()).await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    weir.exchange(request.as_bytes()).await
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_over_one_connection_each_way() {
    let mut backend = Recorder::answering(|head| {
        let path = head.split(' ').nth(1).unwrap();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}",
            path.len()
        )
    })
    .await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = weir.connect().await;
    for round in 0..3 {
        let script: String = (0..4)
            .map(|at| format!("GET /{round}-{at} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .collect();
        client.write_all(script.as_bytes()).await.unwrap();
        for at in 0..4 {
            let answer = read_head(&mut client).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            let mut body = [0; 4];
            client.read_exact(&mut body).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&body), format!("/{round}-{at}"));
            assert_eq!(
                backend.next().await.line(),
                format!("GET /{round}-{at} HTTP/1.1")
            );
        }
    }
    assert_eq!(weir.metric("weir_connections_accepted_total").await, 1.0);
    assert_eq!(weir.metric("weir_backend_connects_total").await, 1.0);
}

#[tokio::test]
async fn an_http_1_0_client_gets_what_it_can_read() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let mut backend = Recorder::answering(|_| chunked.to_owned()).await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let answer = weir.exchange(b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(values(&answer, "transfer-encoding").is_empty(), "{answer}");
    let seen = backend.next().await;
    assert_eq!(seen.line(), "GET / HTTP/1.1");
    assert_eq!(seen.value("host"), "web");
    assert_eq!(seen.value("via"), "1.0 node-1");
}

#[tokio::test]
async fn an_http_1_0_client_that_asks_for_it_keeps_its_connection() {
    let backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = weir.connect().await;
    for _ in 0..2 {
        let request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        client.write_all(request).await.unwrap();
        let answer = read_until(&mut client, "ok").await;
        assert_eq!(values(&answer, "connection"), ["keep-alive"], "{answer}");
    }
}

#[tokio::test]
async fn an_answer_to_head_keeps_its_length_and_has_no_body() {
    for (from_backend, length) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n", vec!["12"]),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", vec!["0"]),
        ("HTTP/1.1 200 OK\r\n\r\n", vec![]),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            vec![],
        ),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 12\r\n\r\n",
            vec!["12"],
        ),
    ] {
        let answer = answer_to(HEAD, from_backend).await;
        assert!(answer.starts_with(&from_backend[..15]), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        assert_eq!(values(&answer, "content-length"), length, "{answer}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_by_its_status_stays_one() {
    for from_backend in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\netag: a\r\n\r\n",
        // It may have a length (RFC 9110 section 8.6); the server library drops it.
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 12\r\n\r\n",
    ] {
        let answer = answer_to(GET, from_backend).await;
        assert!(answer.starts_with(&from_backend[..15]), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(values(&answer, "content-length").is_empty(), "{answer}");
        assert!(values(&answer, "transfer-encoding").is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_when_a_backend_is_there() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = weir.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let first = read_head(&mut client).await.unwrap();
    assert_eq!(first, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").await.unwrap();
    let answer = read_until(&mut client, "ok").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let seen = backend.next().await;
    assert_eq!(seen.body, "body");
    assert!(seen.values("expect").is_empty());
}

#[tokio::test]
async fn a_client_that_expects_100_does_not_get_it_when_no_backend_is_there() {
    let dead = free_ports::<4>()[3];
    let weir = Weir::start(&web(&[dead], "")).await;
    let head = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let answer = weir.exchange(head.as_bytes()).await;
    assert_reason(&answer, 502, "connect_failed");
    assert_eq!(values(&answer, "connection"), ["close"]);
}

#[tokio::test]
async fn an_interim_answer_does_not_hide_the_final_one() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let answers = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
                   HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    assert!(answers.contains(hints));
    let answer = answer_to(GET, answers).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn bodies_keep_their_framing_both_ways() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let mut backend = Recorder::answering(|_| chunked.to_owned()).await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let post = "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n";
    let request =
        format!("{post}Transfer-Encoding: chunked\r\n\r\n2;ext=1\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    let answer = weir.exchange(request.as_bytes()).await;
    assert_eq!(
        values(&answer, "transfer-encoding"),
        ["chunked"],
        "{answer}"
    );
    assert!(answer.ends_with("2\r\nok\r\n0\r\n\r\n"), "{answer}");
    let seen = backend.next().await;
    assert_eq!(seen.value("transfer-encoding"), "chunked");
    assert!(seen.values("content-length").is_empty());
    // The parts may be joined or split, their extensions go.
    assert!(!seen.body.contains("ext"), "{seen:?}");
    assert_eq!(seen.data(), "abc", "{seen:?}");
    let request = format!("{post}Content-Length: 3\r\n\r\nabc");
    weir.exchange(request.as_bytes()).await;
    let seen = backend.next().await;
    assert_eq!((seen.value("content-length"), &*seen.body), ("3", "abc"));
    let request = format!("{post}Content-Length: 0\r\n\r\n");
    weir.exchange(request.as_bytes()).await;
    let seen = backend.next().await;
    assert_eq!(seen.value("content-length"), "0");
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_arrives_whole() {
    let address = scripted_backend(|mut stream| async move {
        read_request(&mut stream).await.unwrap();
        stream
            .write_all(b"HTTP/1.0 200 OK\r\n\r\nto the ")
            .await
            .unwrap();
        stream.write_all(b"end").await.unwrap();
    })
    .await;
    let weir = Weir::start(&web(&[address], "")).await;
    let answer = weir.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(values(&answer, "via"), ["1.0 node-1"]);
    let parts = answer
        .split("\r\n")
        .filter(|line| line.ends_with("the ") || line.ends_with("end"));
    assert_eq!(parts.collect::<String>(), "to the end");
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_answer_cut_short_is_not_passed_off_as_whole() {
    let address = scripted_backend(|mut stream| async move {
        let request = read_request(&mut stream).await.unwrap();
        let framing = if request.line().contains("chunked") {
            "transfer-encoding: chunked\r\n\r\n4\r\npart\r\n"
        } else {
            "content-length: 100\r\n\r\npart"
        };
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let weir = Weir::start(&web(&[address], "")).await;
    let answer = weir.get("/sized").await;
    assert_eq!(values(&answer, "content-length"), ["100"], "{answer}");
    assert!(answer.ends_with("part"), "{answer}");
    let answer = weir.get("/chunked").await;
    assert!(answer.ends_with("part\r\n"), "{answer}");
    let mut client = Http2::connect(&weir).await;
    let error = client.get(head("GET", "/sized", &[])).await.unwrap_err();
    assert!(error.is_reset(), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_the_rules_becomes_502() {
    let garbage = answer_to(GET, "SSH-2.0-OpenSSH\r\nconnection: close\r\n\r\n").await;
    assert_reason(&garbage, 502, "backend_invalid");
    let nominees =
        "HTTP/1.1 200 OK\r\nconnection: a,b,c,d,e,f,g,h,i,j,k\r\ncontent-length: 0\r\n\r\n";
    let answer = answer_to(GET, nominees).await;
    assert_reason(&answer, 502, "backend_invalid");
    let lengths = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk";
    let answer = answer_to(GET, lengths).await;
    assert_reason(&answer, 502, "backend_invalid");
}

#[tokio::test]
async fn http2_reaches_http1_and_http2_backends() {
    let backend = Backend::start("one").await;
    for protocol in ["http1", "http2"] {
        let keys = format!("protocol = \"{protocol}\"");
        let weir = Weir::start(&web(&[backend.address], &keys)).await;
        let mut client = Http2::connect(&weir).await;
        let answer = client.get(head("GET", "/", &[])).await.unwrap();
        assert_eq!(answer.body, "hello from one\n");
        let via = if protocol == "http1" {
            "1.1 node-1"
        } else {
            "2 node-1"
        };
        assert_eq!(answer.header("via"), via);
        let (response, mut stream) = client.send(head("POST", "/echo", &[]), false).await;
        stream.send_data("ping".into(), false).unwrap();
        stream.send_data("pong".into(), true).unwrap();
        assert_eq!(whole(response).await.unwrap().body, "pingpong");
        // And HTTP/1.1 in.
        let answer = weir.get("/").await;
        assert!(answer.ends_with("hello from one\n"), "{answer}");
        let mut client = weir.connect().await;
        let post = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nConnection: close\r\n\r\nping";
        client.write_all(post.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut client).await;
        assert!(answer.contains("ping"), "{answer}");
        let answer = weir.exchange(HEAD.as_bytes()).await;
        assert_eq!(
            values(&answer, "content-length"),
            ["15"],
            "{protocol} {answer}"
        );
    }
}

#[tokio::test]
async fn a_cookie_that_http2_split_is_one_line_for_http1() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let cookies = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    let mut client = Http2::connect(&weir).await;
    client.get(head("GET", "/", &cookies)).await.unwrap();
    assert_eq!(backend.next().await.value("cookie"), "a=1; b=2; c=3");
}
