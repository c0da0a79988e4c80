//! What is fetched before anybody asks for it.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::cached;
use super::origin::Origin;
use crate::common::{PATIENCE, Weir, read_to_end};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// An origin whose answers tell their number, good for so many seconds, after it took so long.
async fn numbered(max_age_s: u64, takes: Duration) -> Origin {
    Origin::start(move |mut asked| async move {
        sleep(takes).await;
        let fields = format!("cache-control: max-age={max_age_s}\r\n");
        let body = format!("answer {}.", asked.number);
        asked.answer("200 OK", &fields, &body).await;
        asked
    })
    .await
}

/// An origin that answers when it is released.
async fn held() -> Origin {
    Origin::start(|mut asked| async move {
        asked.wait().await;
        let body = format!("answer {}.", asked.number);
        asked
            .answer("200 OK", "cache-control: max-age=600\r\n", &body)
            .await;
        asked
    })
    .await
}

async fn health(weir: &Weir) -> (u16, String) {
    let (status, text) = weir.get_api("/api/health").await.unwrap();
    let health: Value = serde_json::from_str(&text).unwrap();
    (status, health["status"].as_str().unwrap().to_owned())
}

async fn is_so(what: &str, weir: &Weir, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not so: {what}: {}", weir.log());
        sleep(LOOK_INTERVAL).await;
    }
}

async fn is_ready(weir: &Weir) {
    is_so("ready", weir, async || health(weir).await.0 == 200).await;
}

pub async fn post(weir: &Weir, path: &str, asked: Value) -> Value {
    let body = asked.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(weir.api).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

async fn warm(weir: &Weir, urls: &[&str]) -> Value {
    post(weir, "/api/cache/warm", json!({ "urls": urls })).await
}

#[tokio::test]
async fn a_node_is_ready_when_its_list_was_fetched_and_the_first_request_is_a_hit() {
    let origin = held().await;
    let list = "[cache]\nwarm_on_start = [\"http://test/a?b=1\"]\n";
    let weir = cached(origin.address, "cache = true", list).await;
    origin.asked_at_least(1).await;
    assert_eq!(health(&weir).await, (503, "warming".to_owned()));
    origin.release(1);
    is_ready(&weir).await;
    let answer = weir.get("/a?b=1").await;
    assert!(
        answer.contains("; hit;") && answer.ends_with("answer 1."),
        "{answer}"
    );
    assert_eq!(origin.asked(), 1);
    let kept = "weir_cache_warmed_total{source=\"start\",outcome=\"kept\"}";
    assert_eq!(weir.metric(kept).await, 1.0);
}

#[tokio::test]
async fn a_path_is_fetched_for_each_host_that_a_route_names() {
    let origin = numbered(600, Duration::ZERO).await;
    let weir = cached(
        origin.address,
        "host = [\"a.example\", \"test\", \"*.example\"]\ncache = true",
        "[cache]\nwarm_on_start = [\"/x\"]\n",
    )
    .await;
    is_ready(&weir).await;
    assert_eq!(origin.asked(), 2);
    assert!(weir.get("/x").await.contains("; hit;"));
}

#[tokio::test]
async fn an_origin_that_hangs_does_not_keep_a_node_from_being_ready_beyond_the_bound() {
    let origin = held().await;
    let list = "[cache]\nwarm_on_start = [\"http://test/a\"]\nwarm_start_timeout = \"2s\"\n";
    let began = Instant::now();
    let weir = cached(origin.address, "cache = true", list).await;
    origin.asked_at_least(1).await;
    assert_eq!(health(&weir).await.1, "warming");
    is_ready(&weir).await;
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let (_, events) = weir.get_api("/api/events").await.unwrap();
    assert!(events.contains("unfinished"), "{events}");
}

#[tokio::test]
async fn a_node_that_was_killed_fetches_what_was_asked_for_most_when_it_starts() {
    let origin = numbered(600, Duration::ZERO).await;
    let data = tempfile::tempdir().unwrap();
    let node = format!("[node]\ndata_dir = \"{}\"\n", data.path().display());
    let mut weir = cached(origin.address, "cache = true", &node).await;
    for _ in 0..3 {
        weir.get("/hot").await;
    }
    let list = data.path().join("cache-hot-list");
    is_so("on disk", &weir, async || list.exists()).await;
    weir.crash().await;
    weir.start_again().await;
    origin.asked_at_least(2).await;
    is_so("a hit", &weir, async || {
        let kept = "weir_cache_warmed_total{source=\"hot\",outcome=\"kept\"}";
        weir.metric(kept).await == 1.0
    })
    .await;
    let answer = weir.get("/hot").await;
    assert!(
        answer.contains("; hit;") && answer.ends_with("answer 2."),
        "{answer}"
    );
}

#[tokio::test]
async fn a_purge_beats_a_fetch_that_began_before() {
    let origin = held().await;
    let weir = cached(origin.address, "cache = true", "").await;
    let (warmed, ()) = futures::future::join(warm(&weir, &["http://test/a"]), async {
        origin.asked_at_least(1).await;
        let purged = json!({ "url": "http://test/a", "wait": "local" });
        let purged = post(&weir, "/api/cache/purge", purged).await;
        assert_eq!(purged["acked"], 1, "{purged}");
        origin.release(2);
    })
    .await;
    assert_eq!(warmed["results"][0]["outcome"], "not_kept", "{warmed}");
    let answer = weir.get("/a").await;
    assert!(answer.ends_with("answer 2."), "{answer}");
}

#[tokio::test]
async fn only_routes_of_the_node_are_asked_and_each_result_is_told() {
    let (origin, other) = (
        numbered(600, Duration::ZERO).await,
        numbered(600, Duration::ZERO).await,
    );
    let route = "host = [\"test\"]\ncache = { rules = [{ path = \"/api\", bypass = true }] }";
    let weir = cached(origin.address, route, "").await;
    let stranger = format!("http://{}/", other.address);
    let warmed = warm(&weir, &["http://test/a", "http://test/api/x", &stranger]).await;
    let mut told: Vec<_> = warmed["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let text = |key: &str| result[key].as_str().unwrap().to_owned();
            (text("url"), text("outcome"), text("why"))
        })
        .collect();
    told.sort();
    let is =
        |url: &str, outcome: &str, why: &str| (url.to_owned(), outcome.to_owned(), why.to_owned());
    let mut expected = vec![
        is(&stranger, "failed", "no_route"),
        is("http://test/a", "kept", ""),
        is("http://test/api/x", "not_kept", "it passes by: rule"),
    ];
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!((origin.asked(), other.asked()), (1, 0));
    assert!(weir.get("/a").await.contains("; hit;"));
    let refused = warm(&weir, &["ftp://test/"]).await;
    assert!(
        refused["message"].as_str().unwrap().contains("ftp://test/"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_is_asked_for_often_is_there_when_it_would_have_ended() {
    let origin = numbered(4, Duration::from_millis(30)).await;
    let weir = cached(origin.address, "cache = true", "").await;
    for _ in 0..12 {
        weir.get("/often").await;
        weir.get("/rare").await;
        if origin.asked() > 2 {
            break;
        }
    }
    let kept = "weir_cache_warmed_total{source=\"predictive\",outcome=\"kept\"}";
    weir.wait_for_metric(kept, |count| count >= 2.0).await;
    let answer = weir.get("/often").await;
    assert!(
        answer.contains("; hit;") && !answer.ends_with("answer 1."),
        "{answer}"
    );
}

#[tokio::test]
async fn on_any_node_an_order_makes_the_owner_of_the_key_ask_the_origin_once() {
    let origin = numbered(600, Duration::ZERO).await;
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let config = format!(
        "[services.web]\nbackends = [\"{}\"]\n[[routes]]\nservice = \"web\"\ncache = true\n",
        origin.address
    );
    let names = ["node-a", "node-b", "node-c"];
    let nodes = join_all(names.map(|id| Node::start_as(id, &keys, &config))).await;
    for node in &nodes {
        // Of keys enough some belong to each other node.
        let mut number = 0;
        is_so("it asks others", &node.weir, async || {
            number += 1;
            let answer = node.get(&format!("/probe/{}/{number}", node.id)).await;
            answer.contains("detail=peer")
        })
        .await;
    }
    for node in &nodes {
        let before = origin.asked();
        let warmed = warm(&node.weir, &["http://test/shared"]).await;
        assert_eq!(warmed["results"][0]["outcome"], "kept", "{warmed}");
        assert_eq!(origin.asked(), before + 1, "{warmed}");
        let answer = node.get("/shared").await;
        let expected = format!("answer {}.", before + 1);
        assert!(
            answer.contains("; hit;") && answer.ends_with(&expected),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn clients_that_left_keep_a_node_neither_from_refreshing_nor_from_fetching_ahead() {
    const CLIENTS: usize = 330;
    let origin = Origin::start(|mut asked| async move {
        if asked.head.starts_with("GET /slow/") {
            asked.wait().await;
        }
        let body = format!("answer {}.", asked.number);
        let fields = "cache-control: max-age=1, stale-while-revalidate=600\r\n";
        asked.answer("200 OK", fields, &body).await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let first = weir.get("/kept").await;
    assert!(first.ends_with("answer 1."), "{first}");
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut stream = weir.connect().await;
        let request = format!("GET /slow/{number} HTTP/1.1\r\nHost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        clients.push(stream);
    }
    weir.wait_for_metric("weir_cache_flights", |flights| flights >= CLIENTS as f64)
        .await;
    drop(clients);
    weir.wait_for_metric("weir_cache_fetches_unwanted", |unwanted| unwanted >= 256.0)
        .await;
    let told = warm(&weir, &["http://test/ahead"]).await;
    assert_eq!(told["results"][0]["outcome"], "kept", "{told}");
    is_so("refreshed", &weir, async || {
        !weir.get("/kept").await.ends_with("answer 1.")
    })
    .await;
    assert_eq!(weir.metric("weir_cache_fetches_unwanted").await, 256.0);
}
