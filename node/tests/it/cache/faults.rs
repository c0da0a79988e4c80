//! Origins that fail, and bodies that are not kept.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::cached;
use super::origin::Origin;
use crate::client::Client;
use crate::common::read_until;

#[tokio::test]
async fn a_body_that_breaks_off_is_cut_for_the_client_and_not_kept() {
    let origin = Origin::start(|mut asked| async move {
        if asked.number == 1 {
            asked.say("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 100000\r\n\r\nhalf").await;
            asked.wait().await;
            asked.stream.shutdown().await.unwrap();
        } else {
            asked.answer("200 OK", "cache-control: max-age=60\r\n", "whole").await;
        }
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = weir.connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    client.write_all(request).await.unwrap();
    read_until(&mut client, "half").await;
    origin.release(1);
    let mut rest = Vec::new();
    let end = client.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{end:?}: {rest:?}");
    let whole = Client::connect(weir.ingress).await.get("/").await.unwrap();
    assert_eq!(whole.text(), "whole");
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn a_short_body_that_breaks_off_at_once_is_an_error_or_the_stale_answer() {
    let origin = Origin::start(|mut asked| async move {
        let broken = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n\
                      transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nno length\r\n";
        if asked.head.starts_with("GET /kept") && asked.number == 1 {
            let fields = "cache-control: max-age=0, stale-if-error=60\r\n";
            asked.answer("200 OK", fields, "old").await;
        } else {
            asked.say(broken).await;
        }
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/kept").await.unwrap().text(), "old");
    let stale = client.get("/kept").await.unwrap();
    assert_eq!((stale.status, stale.text().as_str()), (200, "old"));
    let error = client.get("/other").await.unwrap();
    assert_eq!(error.status, 502);
    assert_eq!(error.header("x-weir-reason"), Some("backend_body_cut"));
}

#[tokio::test]
async fn a_stale_answer_stands_in_for_an_origin_that_fails() {
    let origin = Origin::start(|mut asked| async move {
        if asked.number == 1 {
            let fields = "cache-control: max-age=0, stale-if-error=60\r\netag: \"e\"\r\n";
            asked.answer("200 OK", fields, "old").await;
        } else {
            asked.answer("503 Service Unavailable", "", "broken").await;
        }
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/").await.unwrap().text(), "old");
    let stale = client.get("/").await.unwrap();
    assert_eq!((stale.status, stale.text().as_str()), (200, "old"));
    let status = stale.header("cache-status").unwrap();
    assert!(
        status.contains("fwd=stale") && status.contains("detail=origin-failed"),
        "{status}"
    );
}

#[tokio::test]
async fn a_body_longer_than_what_is_kept_is_passed_on_whole() {
    const BYTES: usize = 3 << 20;
    let origin = Origin::start(|mut asked| async move {
        asked.say("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        for _ in 0..BYTES / 0x10000 {
            asked.say(&chunk).await;
        }
        asked.say("0\r\n\r\n").await;
        asked
    })
    .await;
    let cache = "[routes.cache]\nbody_bytes_max = \"1MiB\"\n";
    let weir = cached(origin.address, cache, "").await;
    let mut client = Client::connect(weir.ingress).await;
    for asked in 1..=2 {
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.body.len(), BYTES);
        assert_eq!(origin.asked(), asked);
    }
}

#[tokio::test]
async fn a_client_that_wants_no_fetch_gets_504() {
    let origin = Origin::start(|mut asked| async move {
        asked
            .answer("200 OK", "cache-control: max-age=60\r\n", "here")
            .await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let only = "GET / HTTP/1.1\r\nHost: test\r\nCache-Control: only-if-cached\r\n\r\n";
    assert_eq!(client.ask(only).await.unwrap().status, 504);
    client.get("/").await.unwrap();
    assert_eq!(client.ask(only).await.unwrap().text(), "here");
    assert_eq!(origin.asked(), 1);
}
