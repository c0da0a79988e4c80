//! What is kept, and how it answers.

use super::cached;
use super::origin::Origin;
use crate::client::{Answer, Client};

/// An origin whose answers tell their number.
async fn numbered(fields: &'static str) -> Origin {
    Origin::start(move |mut asked| async move {
        let body = format!("answer {}", asked.number);
        asked.answer("200 OK", fields, &body).await;
        asked
    })
    .await
}

fn status_of_cache(answer: &Answer) -> &str {
    answer.header("cache-status").expect(&answer.head)
}

#[tokio::test]
async fn a_fresh_answer_comes_from_the_cache_and_says_so() {
    let origin = numbered("cache-control: max-age=60\r\n").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let first = client.get("/a?b=1").await.unwrap();
    assert_eq!(first.text(), "answer 1");
    assert_eq!(status_of_cache(&first), "node-1; fwd=uri-miss; stored");
    let second = client.get("/a?b=1").await.unwrap();
    assert_eq!(second.text(), "answer 1");
    assert!(
        status_of_cache(&second).starts_with("node-1; hit; ttl="),
        "{}",
        second.head
    );
    assert!(second.header("age").is_some(), "{}", second.head);
    let other = client.get("/a?b=2").await.unwrap();
    assert_eq!(other.text(), "answer 2");
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn a_route_that_does_not_ask_for_it_keeps_nothing() {
    let origin = numbered("cache-control: max-age=60\r\n").await;
    let weir = cached(origin.address, "", "").await;
    let mut client = Client::connect(weir.ingress).await;
    for number in 1..=2 {
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.text(), format!("answer {number}"));
        assert_eq!(answer.header("cache-status"), None);
    }
}

#[tokio::test]
async fn a_stale_answer_is_validated_and_a_304_renews_it() {
    let origin = Origin::start(|mut asked| async move {
        if asked.head.contains("if-none-match: \"v1\"") {
            asked.say("HTTP/1.1 304 Not Modified\r\ncache-control: max-age=60\r\netag: \"v1\"\r\n\r\n").await;
        } else {
            asked.answer("200 OK", "cache-control: max-age=0\r\netag: \"v1\"\r\n", "first").await;
        }
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/").await.unwrap().text(), "first");
    let validated = client.get("/").await.unwrap();
    assert_eq!(
        (validated.status, validated.text().as_str()),
        (200, "first")
    );
    assert!(
        status_of_cache(&validated).contains("fwd=stale; fwd-status=304"),
        "{}",
        validated.head
    );
    let hit = client.get("/").await.unwrap();
    assert!(status_of_cache(&hit).contains("; hit"), "{}", hit.head);
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn heads_conditions_and_ranges_are_answered_from_a_stored_whole() {
    let origin = Origin::start(|mut asked| async move {
        asked
            .answer(
                "200 OK",
                "cache-control: max-age=60\r\netag: \"e\"\r\n",
                "0123456789",
            )
            .await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    client.get("/").await.unwrap();
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n");
    let part = client.ask(&get("Range: bytes=2-4")).await.unwrap();
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    let parts = client.ask(&get("Range: bytes=0-1, -2")).await.unwrap();
    assert_eq!(parts.status, 206);
    assert!(
        parts
            .header("content-type")
            .unwrap()
            .starts_with("multipart/byteranges"),
        "{}",
        parts.head
    );
    let text = parts.text();
    assert!(
        text.contains("Content-Range: bytes 0-1/10\r\n\r\n01\r\n--"),
        "{text}"
    );
    assert!(
        text.contains("Content-Range: bytes 8-9/10\r\n\r\n89\r\n--"),
        "{text}"
    );
    let beyond = client.ask(&get("Range: bytes=20-")).await.unwrap();
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */10"))
    );
    for (request, wanted) in [
        (
            "GET / HTTP/1.1\r\nIf-None-Match: \"x\", \"e\"\r\n",
            "HTTP/1.1 304 ",
        ),
        ("HEAD / HTTP/1.1\r\n", "HTTP/1.1 200 "),
    ] {
        let request = format!("{request}Host: test\r\nConnection: close\r\n\r\n");
        let answer = weir.exchange(request.as_bytes()).await;
        assert!(
            answer.starts_with(wanted) && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert!(answer.contains("etag: \"e\"\r\n"), "{answer}");
    }
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn an_unsafe_request_ends_what_is_kept() {
    let origin = numbered("cache-control: max-age=60\r\n").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    assert_eq!(client.get("/item").await.unwrap().text(), "answer 1");
    let posted = client.post("/item", "new").await.unwrap();
    assert!(
        status_of_cache(&posted).contains("fwd=method"),
        "{}",
        posted.head
    );
    assert_eq!(client.get("/item").await.unwrap().text(), "answer 3");
}

#[tokio::test]
async fn rules_by_path_override_the_lifetime_and_pass_by() {
    let origin = numbered("").await;
    let rules = "[routes.cache]\nttl = \"1m\"\n\
                 [[routes.cache.rules]]\npath = \"/never\"\nbypass = true\n\
                 [[routes.cache.rules]]\npath_regex = \".*\\\\.css\"\nttl = \"1d\"\n";
    let weir = cached(origin.address, rules, "").await;
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..2 {
        assert_eq!(client.get("/page").await.unwrap().text(), "answer 1");
    }
    client.get("/a.css").await.unwrap();
    let styled = client.get("/a.css").await.unwrap();
    assert!(
        status_of_cache(&styled).contains("ttl=86"),
        "{}",
        styled.head
    );
    client.get("/never").await.unwrap();
    let never = client.get("/never").await.unwrap();
    assert!(
        status_of_cache(&never).contains("fwd=bypass; detail=rule"),
        "{}",
        never.head
    );
    assert_eq!(origin.asked(), 4);
}

#[tokio::test]
async fn variants_are_kept_apart_and_shared_by_those_who_ask_alike() {
    let origin = numbered("cache-control: max-age=60\r\nvary: accept-language\r\n").await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let get = |language: &str| {
        format!("GET / HTTP/1.1\r\nHost: test\r\nAccept-Language: {language}\r\n\r\n")
    };
    for (language, wanted) in [
        ("de", "answer 1"),
        ("fr", "answer 2"),
        ("de", "answer 1"),
        ("fr", "answer 2"),
    ] {
        assert_eq!(client.ask(&get(language)).await.unwrap().text(), wanted);
    }
}
