//! Parts and heads of what is not kept yet.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::cached;
use super::origin::Origin;
use crate::client::Client;
use crate::common::{PATIENCE, read_until};

fn part_of(path: &str, range: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\nRange: bytes={range}\r\n\r\n")
}

#[tokio::test]
async fn a_part_of_what_is_not_kept_is_served_while_the_whole_comes_and_is_kept() {
    let origin = Origin::start(|mut asked| async move {
        assert!(!asked.head.contains("range:"), "{}", asked.head);
        asked
            .say("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 10\r\n\r\n01234")
            .await;
        asked.wait().await;
        asked.say("56789").await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut early = Client::connect(weir.ingress).await;
    let early = early.ask(&part_of("/", "1-3")).await.unwrap();
    assert_eq!((early.status, early.text().as_str()), (206, "123"));
    assert_eq!(early.header("content-range"), Some("bytes 1-3/10"));
    let mut late = weir.connect().await;
    late.write_all(part_of("/", "-6").as_bytes()).await.unwrap();
    read_until(&mut late, "\r\n\r\n4").await;
    origin.release(1);
    read_until(&mut late, "56789").await;
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/").await.unwrap().text(), "0123456789");
    let beyond = client.ask(&part_of("/", "20-")).await.unwrap();
    assert_eq!(beyond.status, 416);
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn a_part_of_what_is_too_long_to_be_kept_is_asked_of_the_origin() {
    let origin = Origin::start(|mut asked| async move {
        match asked.head.contains("range: bytes=2-4") {
            true => {
                let fields = "content-range: bytes 2-4/100000\r\n";
                asked.answer("206 Partial Content", fields, "234").await;
            }
            false => {
                asked
                    .say("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 100000\r\n\r\n01")
                    .await;
            }
        }
        asked
    })
    .await;
    let route = "cache = { body_bytes_max = \"1KiB\" }";
    let weir = cached(origin.address, route, "").await;
    let mut client = Client::connect(weir.ingress).await;
    for asked in [2, 3] {
        // The second time it is known that it is not kept.
        let part = timeout(PATIENCE, client.ask(&part_of("/", "2-4"))).await;
        let part = part.expect("the part alone").unwrap();
        assert_eq!((part.status, part.text().as_str()), (206, "234"));
        assert_eq!(origin.asked(), asked);
    }
}

#[tokio::test]
async fn a_part_that_may_not_be_stored_is_asked_for_alone_at_once() {
    let origin = Origin::start(|mut asked| async move {
        assert!(asked.head.contains("range: bytes=2-4"), "{}", asked.head);
        let fields = "content-range: bytes 2-4/10\r\n";
        asked.answer("206 Partial Content", fields, "234").await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let part = part_of("/", "2-4").replace("Host: test", "Host: test\r\nCache-Control: no-store");
    let part = client.ask(&part).await.unwrap();
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(origin.asked(), 1);
}

/// An origin whose first answer is fresh for a second; to a HEAD it says the length that it is asked to.
async fn saying_lengths() -> Origin {
    Origin::start(|mut asked| async move {
        let body = format!("answer {}", asked.number);
        let fields = "cache-control: max-age=60, must-revalidate\r\n";
        let told = asked.head.split_once("x-length: ");
        let length = told.and_then(|(_, length)| length.lines().next());
        match (length, asked.number) {
            (Some(length), _) => {
                asked
                    .say(&format!(
                        "HTTP/1.1 200 OK\r\n{fields}content-length: {length}\r\n\r\n"
                    ))
                    .await;
            }
            (None, 1) => {
                asked
                    .answer("200 OK", "cache-control: max-age=1\r\n", &body)
                    .await;
            }
            (None, _) => asked.answer("200 OK", fields, &body).await,
        }
        asked
    })
    .await
}

#[tokio::test]
async fn a_head_renews_nothing_without_a_validator_and_ends_what_it_finds_changed() {
    let origin = saying_lengths().await;
    let route = "cache = { stale_if_disconnected = \"0s\", heuristic = false }";
    let weir = cached(origin.address, route, "").await;
    let mut client = Client::connect(weir.ingress).await;
    client.get("/").await.unwrap();
    let only_kept = "GET / HTTP/1.1\r\nHost: test\r\nCache-Control: only-if-cached\r\n\r\n";
    // Who asks while it is fresh may have it fetched anew before its time.
    sleep(Duration::from_millis(1_100)).await;
    let deadline = Instant::now() + PATIENCE;
    while client.ask(only_kept).await.unwrap().status != 504 {
        assert!(Instant::now() < deadline, "it is not stale yet");
        sleep(Duration::from_millis(50)).await;
    }
    let head = async |length: u64, fields: &str| {
        let fields = format!("X-Length: {length}\r\n{fields}Connection: close\r\n");
        let answer = weir
            .exchange(format!("HEAD / HTTP/1.1\r\nHost: test\r\n{fields}\r\n").as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    head(8, "").await;
    assert_eq!(
        client.ask(only_kept).await.unwrap().status,
        504,
        "the same length renews nothing"
    );
    let fetched = Instant::now();
    assert_eq!(client.get("/").await.unwrap().text(), "answer 3");
    let no_cache = "Cache-Control: no-cache\r\n";
    loop {
        head(9, &format!("Authorization: Basic eA==\r\n{no_cache}")).await;
        head(0, no_cache).await;
        let kept = client.get("/").await.unwrap().text();
        assert_eq!(
            kept, "answer 3",
            "others' heads and heads without a length say nothing"
        );
        head(9, no_cache).await;
        if client.get("/").await.unwrap().text() != "answer 3" {
            break;
        }
        assert!(
            fetched.elapsed() < PATIENCE,
            "what is older than a second ends"
        );
        sleep(Duration::from_millis(100)).await;
    }
    let lasted = fetched.elapsed();
    assert!(lasted >= Duration::from_millis(900), "{lasted:?}");
}
