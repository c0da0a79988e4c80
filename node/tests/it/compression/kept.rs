//! Coded forms of what the cache keeps.

use super::{ALL, compressing, get, origin_of, read, text};
use crate::cache::origin::Origin;
use crate::client::Client;

const PAGE: &str = "content-type: text/html\r\ncache-control: max-age=60\r\netag: \"v\"\r\n";
const BR_STORED: &str = "weir_compressions_total{coding=\"br\",kind=\"stored\"}";
const STREAMS: &str = "weir_compressions_total{coding=\"br\",kind=\"stream\"}";

#[tokio::test]
async fn what_is_kept_is_compressed_once_for_all() {
    let origin = origin_of(PAGE, text(50_000)).await;
    let weir = compressing(&origin, "cache = true", ALL).await;
    let mut client = Client::connect(weir.ingress).await;
    let accepts = "Accept-Encoding: gzip, br\r\n";
    let miss = get(&mut client, "/", accepts).await;
    assert_eq!(read(&miss), (Some("br"), text(50_000)));
    assert_eq!(
        miss.header("content-length"),
        None,
        "compressed while it came"
    );
    let meanwhile = get(&mut client, "/", accepts).await;
    assert_eq!(read(&meanwhile).1, text(50_000));
    assert_eq!(meanwhile.header("vary"), Some("Accept-Encoding"));
    weir.wait_for_metric(BR_STORED, |count| count == 1.0).await;
    for accept in ["br", "gzip;q=0.5, br", "br, zstd, gzip"] {
        let hit = get(&mut client, "/", &format!("Accept-Encoding: {accept}\r\n")).await;
        assert_eq!(read(&hit), (Some("br"), text(50_000)));
        assert_eq!(hit.header("etag"), Some("\"v-br\""));
        assert_eq!(hit.header("vary"), Some("Accept-Encoding"));
        assert_eq!(
            hit.header("content-length"),
            Some(&*hit.body.len().to_string())
        );
        assert!(
            hit.header("cache-status").unwrap().contains("; hit"),
            "{}",
            hit.head
        );
    }
    let plain = get(&mut client, "/", "").await;
    assert_eq!(
        (read(&plain), plain.header("etag")),
        ((None, text(50_000)), Some("\"v\""))
    );
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    assert_eq!(weir.metric(BR_STORED).await, 1.0);
    assert_eq!(weir.metric(STREAMS).await, 1.0);
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn conditions_ranges_and_heads_are_about_the_form_that_the_client_gets() {
    let origin = origin_of(PAGE, text(50_000)).await;
    let weir = compressing(&origin, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let accepts = "Accept-Encoding: br\r\n";
    get(&mut client, "/", accepts).await;
    get(&mut client, "/", accepts).await;
    weir.wait_for_metric(BR_STORED, |count| count == 1.0).await;
    let length = get(&mut client, "/", accepts).await.body.len();
    for (fields, status, etag) in [
        (
            "Accept-Encoding: br\r\nIf-None-Match: \"v-br\"",
            304,
            "\"v-br\"",
        ),
        ("Accept-Encoding: br\r\nIf-None-Match: \"v\"", 304, "\"v\""),
        (
            "Accept-Encoding: gzip\r\nIf-None-Match: \"v-br\"",
            200,
            "\"v\"",
        ),
        ("If-None-Match: \"v-br\"", 200, "\"v\""),
        ("If-None-Match: \"v\"", 304, "\"v\""),
        ("Accept-Encoding: br\r\nRange: bytes=0-9", 206, "\"v\""),
        (
            "Accept-Encoding: br\r\nRange: bytes=0-9\r\nIf-Range: \"v-br\"",
            200,
            "\"v\"",
        ),
    ] {
        let request =
            format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}\r\n\r\n");
        let answer = weir.exchange(request.as_bytes()).await.to_lowercase();
        assert!(
            answer.starts_with(&format!("http/1.1 {status}")),
            "{fields}: {answer}"
        );
        assert!(
            answer.contains(&format!("\r\netag: {etag}\r\n")),
            "{fields}: {answer}"
        );
        assert!(
            answer.contains("\r\nvary: accept-encoding\r\n"),
            "{fields}: {answer}"
        );
    }
    let request = format!("HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{accepts}\r\n");
    let head = weir.exchange(request.as_bytes()).await.to_lowercase();
    for line in [
        "content-encoding: br",
        "etag: \"v-br\"",
        &format!("content-length: {length}"),
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    assert!(head.ends_with("\r\n\r\n"));
    assert_eq!(origin.asked(), 1);
    let part = get(
        &mut client,
        "/not-kept",
        "Accept-Encoding: br\r\nRange: bytes=0-9\r\n",
    )
    .await;
    assert_eq!((part.status, part.body.len()), (206, 10));
    assert_eq!(
        part.header("vary"),
        Some("Accept-Encoding"),
        "{}",
        part.head
    );
}

#[tokio::test]
async fn a_form_ends_with_what_it_was_made_of() {
    let origin = Origin::start(|mut asked| async move {
        let body = format!("{} {}", asked.number, text(20_000));
        asked.answer("200 OK", PAGE, &body).await;
        asked
    })
    .await;
    let weir = compressing(&origin, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let accepts = "Accept-Encoding: br\r\n";
    for made in [1.0, 2.0] {
        get(&mut client, "/", accepts).await;
        get(&mut client, "/", accepts).await;
        weir.wait_for_metric(BR_STORED, |count| count == made).await;
        let number = origin.asked();
        let hit = get(&mut client, "/", accepts).await;
        assert_eq!(
            read(&hit),
            (Some("br"), format!("{number} {}", text(20_000)))
        );
        client.post("/", "change").await.unwrap();
    }
}

#[tokio::test]
async fn what_an_origin_compressed_itself_is_kept_and_sent_as_it_is() {
    let origin = Origin::start(|mut asked| async move {
        let accepts = asked
            .head
            .lines()
            .find(|line| line.starts_with("accept-encoding"));
        let fields = match accepts {
            Some(line) if line.contains("br") => format!("{PAGE}content-encoding: br\r\n"),
            _ => PAGE.to_owned(),
        };
        let fields = format!("{fields}vary: accept-encoding\r\n");
        asked.answer("200 OK", &fields, &text(5_000)).await;
        asked
    })
    .await;
    let weir = compressing(&origin, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    for accept in ["br", "br, gzip", "gzip;q=0.1, br", "zstd, br"] {
        let answer = get(&mut client, "/", &format!("Accept-Encoding: {accept}\r\n")).await;
        assert_eq!(answer.header("content-encoding"), Some("br"));
        assert_eq!(answer.text(), text(5_000), "its bytes, whatever they are");
        assert_eq!(answer.header("etag"), Some("\"v\""));
    }
    assert_eq!(origin.asked(), 1, "many ways to say it are one variant");
    assert_eq!(weir.metric("weir_compressions_total").await, 0.0);
}
