//! The cache answers without a word about the client; whoever else is asked is told who that is.

use std::sync::Arc;

use http::Request;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::origin::Origin;
use super::{cached, peers, warming};
use crate::client::Client;
use crate::common::PATIENCE;
use crate::http2::Http2;
use crate::recorder::values;

const INTRODUCTION: [(&str, &str); 5] = [
    ("x-forwarded-for", "127.0.0.1"),
    ("x-real-ip", "127.0.0.1"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "test"),
    ("via", "1.1 node-1"),
];

#[tokio::test]
async fn an_origin_is_told_of_the_client_for_whatever_reason_it_is_asked() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heads);
    let origin = Origin::start(move |mut asked| {
        let told = Arc::clone(&told);
        async move {
            told.lock().await.push(asked.head.clone());
            let path = asked.head.split(' ').nth(1).unwrap_or_default();
            let control = match path {
                "/validated" => "no-cache",
                "/refreshed" => "max-age=0, stale-while-revalidate=60",
                "/private" => "private",
                _ => "max-age=60",
            };
            let fields = format!("cache-control: {control}\r\netag: \"1\"\r\n");
            match asked.head.contains("if-none-match") {
                true => {
                    asked
                        .say(&format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"))
                        .await
                }
                false => asked.answer("200 OK", &fields, "").await,
            }
            asked
        }
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut client = Client::connect(weir.ingress).await;
    let mut wanted = 0;
    for (method, path, times_asked) in [
        ("GET", "/kept", 1),
        ("GET", "/validated", 2),
        ("GET", "/refreshed", 2),
        ("GET", "/private", 2),
        ("HEAD", "/head", 2),
        ("POST", "/posted", 2),
        ("GET", "/kept", 0),
    ] {
        for _ in 0..2 {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
            let answer = client.ask(&request).await.unwrap();
            assert_eq!(answer.status, 200, "{method} {path}: {}", answer.head);
        }
        wanted += times_asked;
        origin.asked_at_least(wanted).await;
        assert_eq!(origin.asked(), wanted, "{method} {path}");
    }
    let heads = heads.lock().await;
    for (head, (name, value)) in heads
        .iter()
        .flat_map(|head| INTRODUCTION.map(|told| (head, told)))
    {
        assert_eq!(values(head, name), [value], "{head}");
    }
}

/// An origin that answers with the head of the request.
async fn echo() -> Origin {
    Origin::start(move |mut asked| async move {
        let head = asked.head.clone();
        asked
            .answer("200 OK", "cache-control: max-age=60\r\n", &head)
            .await;
        asked
    })
    .await
}

#[tokio::test]
async fn an_origin_is_told_of_the_client_however_that_asked() {
    let origin = echo().await;
    let weir = cached(origin.address, "cache = true", "").await;
    let told = |head: &str, via: &str| {
        for (name, value) in &INTRODUCTION[..4] {
            assert_eq!(values(head, name), [*value], "{head}");
        }
        assert_eq!(values(head, "via"), [via], "{head}");
    };

    let mut client = Client::connect(weir.ingress).await;
    let whole = "GET http://test/whole HTTP/1.1\r\nHost: other\r\n\r\n";
    told(&client.ask(whole).await.unwrap().text(), "1.1 node-1");

    let mut client = Http2::connect(&weir).await;
    let request = Request::get("http://test/second").body(()).unwrap();
    let answer = client.get(request).await.unwrap();
    told(std::str::from_utf8(&answer.body).unwrap(), "2 node-1");

    let order = json!({ "urls": ["http://test/ahead"] });
    warming::post(&weir, "/api/cache/warm", order).await;
    let answer = weir.get("/ahead").await;
    assert!(answer.contains("; hit;"), "{answer}");
    told(answer.split_once("\r\n\r\n").unwrap().1, "1.1 node-1");
}

#[tokio::test]
async fn an_origin_is_told_of_the_client_by_a_node_that_was_asked_by_another() {
    let origin = echo().await;
    let (_plane, nodes) = peers::mesh(&origin).await;
    peers::know_each_other(&nodes).await;
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        let mut client = Client::connect_from("127.0.0.2:0", nodes[0].ingress).await;
        let answer = client.get(&format!("/of/{number}")).await.unwrap();
        let status = answer.header("cache-status").expect(&answer.head);
        if status.contains("detail=peer") {
            let head = answer.text();
            assert_eq!(values(&head, "x-real-ip"), ["127.0.0.2"], "{head}");
            let nodes = values(&head, "x-forwarded-for").join(", ");
            assert_eq!(nodes, "127.0.0.2, 127.0.0.1", "{head}");
            assert_eq!(values(&head, "x-forwarded-host"), ["test"], "{head}");
            assert_eq!(values(&head, "via").join(", ").matches("node-").count(), 2);
            return;
        }
        assert!(Instant::now() < deadline, "{status}");
    }
}

#[tokio::test]
async fn what_depends_on_the_client_is_kept_for_that_client() {
    for name in INTRODUCTION
        .map(|(name, _)| name)
        .iter()
        .chain(&["accept-language", "forwarded"])
    {
        let fields = format!("cache-control: max-age=60\r\nvary: {name}\r\n");
        let origin = Origin::start(move |mut asked| {
            let fields = fields.clone();
            async move {
                asked.answer("200 OK", &fields, "").await;
                asked
            }
        })
        .await;
        let weir = cached(origin.address, "cache = true", "").await;
        for _ in 0..3 {
            let mut client = Client::connect(weir.ingress).await;
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
        assert_eq!(origin.asked(), 1, "{name}");
        let mut other = Client::connect_from("127.0.0.2:0", weir.ingress).await;
        assert_eq!(other.get("/").await.unwrap().status, 200);
        let heeds_address = ["x-forwarded-for", "x-real-ip"].contains(name);
        assert_eq!(origin.asked(), 1 + usize::from(heeds_address), "{name}");
    }
}
