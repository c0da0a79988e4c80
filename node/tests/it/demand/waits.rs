//! A service without engines has one as soon as somebody asks, and nobody waits for ever.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::common::{PATIENCE, Weir, read_to_end};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;
use crate::engines_face::{engines, ready};
use crate::http2::{Http2, head};
use crate::orders::{DRAIN, order};
use crate::recorder::{assert_reason, values};

/// Times so short that a test sees engines go.
const SHORT: &str = "idle_grace = \"1s\"\ndown_cooldown = \"1s\"\n";

/// A service `web` that needs no engine, with these further keys.
fn asleep(keys: &str) -> String {
    engines(0, 1).replace("min = 0", &format!("min = 0\n{keys}"))
}

/// One whose engine starts and is never ready.
fn never_ready(keys: &str) -> String {
    let config = asleep(keys);
    let (before, after) = config.split_once("command = [").unwrap();
    let (_, after) = after.split_once("]\n").unwrap();
    format!("{before}command = [\"sleep\", \"1000\"]\n{after}")
}

async fn waiting(weir: &Weir, count: u32) {
    weir.wait_for_metric("weir_requests_waiting", |value| {
        (value - f64::from(count)).abs() < 0.1
    })
    .await;
}

#[tokio::test]
async fn the_first_request_starts_an_engine_that_answers_it_and_the_last_one_lets_it_go() {
    let weir = Weir::start(&asleep(SHORT)).await;
    for round in 1..=2 {
        let (code, health) = weir.get_api("/api/health").await.unwrap();
        assert_eq!(code, 200, "it sleeps and is well: {health}");
        let mut http2 = Http2::connect(&weir).await;
        let posted = weir.exchange(
            b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthere",
        );
        let (one, other, posted) =
            tokio::join!(weir.get("/"), http2.get(head("GET", "/", &[])), posted);
        assert!(one.starts_with("HTTP/1.1 200 "), "{one}\n{}", weir.log());
        assert!(one.contains("hello from web-1"), "{one}");
        assert!(posted.contains("there"), "{posted}");
        assert_eq!(other.unwrap().head.status(), 200);
        waiting(&weir, 0).await;
        ready(&weir, 0).await;
        let told = weir.engine_events().await;
        let kinds = ["service.waits", "engine.started", "engine.gone"];
        assert_eq!(told, kinds.repeat(round));
    }
    let (_, text) = weir.get_api("/api/events").await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    let out = ["engine.down", "backend.out"].map(serde_json::Value::from);
    let events = told["events"].as_array().unwrap().iter();
    let out: Vec<_> = events
        .filter(|event| out.contains(&event["kind"]))
        .map(|event| (&event["kind"], &event["severity"]))
        .collect();
    assert!(out.len() >= 4, "{text}");
    let is_info = |(_, severity): &(_, &serde_json::Value)| **severity == "info";
    assert!(out.iter().all(is_info), "nothing is wrong: {out:?}");
}

#[tokio::test]
async fn a_request_wakes_a_service_through_any_node() {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let a = Node::start_as("node-a", &keys, &asleep(SHORT)).await;
    let b = Node::start_as("node-b", &keys, &asleep(SHORT)).await;
    for node in [&a, &b] {
        plane.sees_connected(&node.id).await;
    }
    for node in [&a, &b] {
        let answer = node.get("/").await;
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{answer}\n{}",
            node.log()
        );
        ready(&a, 0).await;
        ready(&b, 0).await;
    }
}

#[tokio::test]
async fn more_than_may_wait_are_refused_at_once_and_the_others_when_nothing_starts() {
    const MAX: usize = 50;
    let keys = format!("wait_max = {MAX}\nwait_timeout = \"4s\"");
    let weir = Weir::start(&never_ready(&keys)).await;
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for _ in 0..1_000 + MAX {
        let mut stream = weir.connect().await;
        asking.spawn(async move {
            let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            (read_to_end(&mut stream).await, began.elapsed())
        });
    }
    let answers = asking.join_all().await;
    let (full, late): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|(answer, _)| answer.contains("engine_wait_full"));
    // Each of the two cores may let in one that the other does not see yet.
    assert!(late.len().abs_diff(MAX) <= 1, "{}", late.len());
    for (answer, _) in &full {
        assert_reason(answer, 503, "engine_wait_full");
        assert_eq!(values(answer, "retry-after").len(), 1);
    }
    for (answer, after) in &late {
        assert_reason(answer, 503, "engine_not_ready");
        assert_eq!(values(answer, "retry-after").len(), 1);
        assert!(*after >= Duration::from_secs(4), "{after:?}");
        assert!(*after < Duration::from_secs(12), "{after:?}");
    }
    waiting(&weir, 0).await;
    let counted = "weir_own_answers_total{reason=\"engine_wait_full\"}";
    assert!(weir.metric(counted).await >= 999.0);
}

#[tokio::test]
async fn clients_that_leave_wait_no_longer_and_a_node_that_drains_lets_nobody_wait() {
    let weir = Weir::start(&never_ready("wait_timeout = \"1h\"")).await;
    let mut leaving = Vec::new();
    for _ in 0..10 {
        leaving.push(weir.stream().await);
    }
    let mut http2 = Http2::connect(&weir).await;
    let (mut reset, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        reset.push(http2.send(head("GET", "/", &[]), true).await);
        kept.push(http2.send(head("GET", "/", &[]), true).await);
    }
    waiting(&weir, 20).await;
    drop(leaving);
    waiting(&weir, 10).await;
    for (_, stream) in &mut reset {
        stream.send_reset(h2::Reason::CANCEL);
    }
    waiting(&weir, 5).await;
    let last = weir.get("/");
    let draining = async {
        waiting(&weir, 6).await;
        assert_eq!(order(&weir, DRAIN).await, "draining");
    };
    let (last, ()) = tokio::join!(last, draining);
    assert_reason(&last, 503, "node_leaving");
    for (response, _) in kept {
        let answer = timeout(PATIENCE, response).await.unwrap().unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["x-weir-reason"], "node_leaving");
    }
    waiting(&weir, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_upload_waits_no_longer() {
    let weir = Weir::start(&never_ready("wait_timeout = \"1h\"")).await;
    let head = "POST / HTTP/1.1\r\nHost: test\r\n";
    let much = "x".repeat(300_000);
    let mut uploads = vec![
        // Whole, begun, not begun, in chunks, and with another request behind it.
        format!("{head}Content-Length: 5\r\n\r\nthere"),
        format!("{head}Content-Length: 5\r\n\r\nth"),
        format!("{head}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nth\r\n"),
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(2),
    ];
    for reset in [false, true] {
        if reset {
            // More than sockets hold: an orderly end would be behind what nobody takes.
            uploads.push(format!("{head}Content-Length: 9000000\r\n\r\n{much}"));
        }
        let count = u32::try_from(uploads.len()).unwrap();
        let mut clients = Vec::new();
        for upload in &uploads {
            let mut client = weir.connect().await;
            client.write_all(upload.as_bytes()).await.unwrap();
            clients.push(client);
        }
        waiting(&weir, count).await;
        for client in clients {
            if reset {
                client.set_zero_linger().unwrap();
            }
        }
        waiting(&weir, 0).await;
    }
}

#[tokio::test]
async fn a_node_that_stops_lets_nobody_wait() {
    let mut weir = Weir::start(&never_ready("wait_timeout = \"1h\"")).await;
    let mut client = weir.stream().await;
    waiting(&weir, 1).await;
    let (answer, ()) = tokio::join!(read_to_end(&mut client.0), weir.stop());
    assert_reason(&answer, 503, "node_leaving");
}

#[tokio::test]
async fn a_request_waits_no_longer_than_it_may_take_as_a_whole() {
    let keys = "[services.web.timeouts]\ntotal = \"500ms\"\n";
    let weir = Weir::start(&format!("{}{keys}", never_ready("wait_timeout = \"1h\""))).await;
    assert_reason(&weir.get("/").await, 504, "total_timeout");
    let mut http2 = Http2::connect(&weir).await;
    let fields = [
        ("content-type", "application/grpc"),
        ("grpc-timeout", "100m"),
    ];
    let call = http2.get(head("POST", "/a.B/C", &fields)).await.unwrap();
    assert_eq!(call.header("grpc-status"), "4", "{call:?}");
    waiting(&weir, 0).await;
}

#[tokio::test]
async fn what_the_cache_fetches_waits_as_well() {
    let weir = Weir::start(&format!("{}cache = true\n", asleep(SHORT))).await;
    let (one, other) = tokio::join!(weir.get("/"), weir.get("/"));
    for answer in [one, other] {
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{answer}\n{}",
            weir.log()
        );
    }
    waiting(&weir, 0).await;
}
