//! An engine whose status answers too late while it streams, through its own node and through another one.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use weir_proto::node::v1 as pb;

use super::life::served_by;
use super::stage::{Stage, engines_of, eventually, ids, range_of_ports};
use crate::client::Client;
use crate::common::Weir;
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

/// Far longer than an idle engine could go without an answer before it is replaced.
const STREAMS_FOR: Duration = Duration::from_secs(4);
/// Of a stream, while its engine sends.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// How often the engine was asked for its status.
async fn probes(weir: &Weir) -> u64 {
    let mut client = Client::connect(weir.ingress).await;
    let answer = client.get("/admin/state").await.unwrap();
    let state: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    state["status_probes"].as_u64().unwrap()
}

/// Streams through `by` an engine of `of`, which stays in traffic and is asked all the time without an answer.
async fn stream(by: &Weir, of: &Weir) -> Vec<pb::Engine> {
    let mut client = Client::connect(by.ingress).await;
    let begun = client.get("/ace/getstream?id=match").await.unwrap();
    let location = begun.header("location").unwrap();
    let there = location.strip_prefix("http://").unwrap();
    let (_, path) = there.split_once('/').unwrap();
    let mut stream = by.connect().await;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();

    let (until, probes_before) = (Instant::now() + STREAMS_FOR, probes(by).await);
    let (mut part, mut bytes, mut engines) = (vec![0; 64 << 10], 0, Vec::new());
    while Instant::now() < until {
        let read = timeout(SILENCE_MAX, stream.read(&mut part)).await;
        let read = read.expect("it streams").unwrap();
        assert!(read > 0, "the stream was cut: {}", of.log());
        bytes += read;
        engines = engines_of(of).await.unwrap();
        let states: Vec<&str> = engines.iter().map(|one| &*one.state).collect();
        assert_eq!(states, ["ready"], "{engines:#?}\n{}", of.log());
    }
    let asked = probes(by).await - probes_before;
    assert!(asked >= 4, "{asked} probes");
    assert!(bytes > 1 << 20, "{bytes} bytes");
    engines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_whose_status_is_late_while_it_streams_through_whichever_node_stays_in_traffic() {
    let (stage, plane) = (Stage::new("slow"), ControlPlane::start().await);
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    // An answer takes longer than a probe waits, from the first moment of a stream on.
    let engines = "command = [\"--fake-status-delay-streaming-ms=1500\"]\nnetwork = \"host\"\nmin = 1\nmax = 2\n\
                   replacement_cooldown = \"0s\"";
    let probe = "timeout = \"500ms\"\nfailures = 2\ngrace = \"500ms\"\nin_use_patience = 20\n";
    let service = stage.service(engines);
    let service = service.replace("timeout = \"500ms\"\n", probe);
    let mut nodes = Vec::new();
    for id in ["node-a", "node-b"] {
        let provision = stage.provision(stage.docker.socket(), range_of_ports());
        nodes.push(Node::start_as(id, &keys, &(provision + &service)).await);
    }
    // Either may have it.
    let own = eventually(&nodes[0], "one of them has the engine", async || {
        for node in &nodes {
            let engines = engines_of(node).await?;
            if engines.iter().any(|engine| engine.state == "ready") {
                return Some(node);
            }
        }
        None
    })
    .await;
    let before = ids(&stage.until_ready(own, 1).await);
    for node in &nodes {
        eventually(node, "the engine answers", async || served_by(node).await).await;
        assert_eq!(ids(&stream(node, own).await), before);
        // With its work it loses the patience that it had for it, until it answers again.
        eventually(own, "it answers in time again", async || {
            let engines = engines_of(own).await?;
            let answers = engines[0].state == "ready" && engines[0].reason.is_empty();
            answers.then(|| assert_eq!(ids(&engines), before))
        })
        .await;
    }
}
