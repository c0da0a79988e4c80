//! Keys that the nodes of one mesh share out.

use std::time::Duration;

use futures::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::origin::Origin;
use crate::client::Client;
use crate::common::PATIENCE;
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

const NAMES: [&str; 3] = ["node-a", "node-b", "node-c"];
const CROWD: usize = 20;

pub async fn mesh(origin: &Origin) -> (ControlPlane, Vec<Node>) {
    mesh_with(origin, "").await
}

async fn mesh_with(origin: &Origin, more: &str) -> (ControlPlane, Vec<Node>) {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let config = format!(
        "[services.web]\nbackends = [\"{}\"]\n[[routes]]\nname = \"shop\"\nservice = \"web\"\ncache = true\n{more}",
        origin.address
    );
    let nodes = join_all(NAMES.map(|id| Node::start_as(id, &keys, &config))).await;
    (plane, nodes)
}

async fn here() -> Origin {
    Origin::start(|mut asked| async move {
        asked
            .answer("200 OK", "cache-control: max-age=600\r\n", "here")
            .await;
        asked
    })
    .await
}

async fn get(node: &Node, path: &str) -> (String, String) {
    let answer = Client::connect(node.ingress).await.get(path).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.head);
    let status = answer.header("cache-status").expect(&answer.head);
    (answer.text(), status.to_owned())
}

/// Waits until each node asks others for what they own.
pub async fn know_each_other(nodes: &[Node]) {
    let deadline = Instant::now() + PATIENCE;
    for (at, node) in nodes.iter().enumerate() {
        for number in 0.. {
            let (_, status) = get(node, &format!("/probe/{at}/{number}")).await;
            if status.contains("detail=peer") {
                break;
            }
            assert!(Instant::now() < deadline, "{status}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_crowd_over_all_nodes_on_cold_keys_is_one_fetch_for_each_key() {
    let origin = Origin::start(|mut asked| async move {
        let body = format!("answer {}", asked.number);
        if asked.head.contains("/crowd/") {
            asked.wait().await;
        }
        asked
            .answer("200 OK", "cache-control: max-age=600\r\n", &body)
            .await;
        asked
    })
    .await;
    let (_plane, nodes) = mesh(&origin).await;
    know_each_other(&nodes).await;
    let before = origin.asked();
    for key in 0..3 {
        let mut crowd = JoinSet::new();
        for node in &nodes {
            for _ in 0..CROWD {
                let mut client = Client::connect(node.ingress).await;
                crowd.spawn(async move {
                    let path = format!("/crowd/{key}");
                    client.get(&path).await.unwrap().text()
                });
            }
        }
        origin.asked_at_least(before + key + 1).await;
        // Whoever would fetch a second time has done so by now, or finds what the first one brings.
        sleep(Duration::from_millis(300)).await;
        origin.release(CROWD);
        let answers = crowd.join_all().await;
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:?}"
        );
        assert_eq!(origin.asked(), before + key + 1);
        while origin.take_back() {}
    }
}

#[tokio::test]
async fn what_was_purged_softly_is_stale_on_the_way_to_other_nodes_too() {
    let origin = Origin::start(|mut asked| async move {
        let fields = "cache-control: max-age=600, stale-while-revalidate=600\r\n";
        asked.answer("200 OK", fields, "here").await;
        asked
    })
    .await;
    let (_plane, nodes) = mesh(&origin).await;
    know_each_other(&nodes).await;
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        assert!(Instant::now() < deadline, "no node asks another one");
        // A path that the second node owns, and the third one has not been asked for.
        let path = format!("/soft/{number}");
        let (_, of_first) = get(&nodes[0], &path).await;
        let (_, of_second) = get(&nodes[1], &path).await;
        if !of_first.contains("detail=peer") || of_second.contains("detail=peer") {
            continue;
        }
        purge_softly(&nodes[1], &path).await;
        let (_, status) = get(&nodes[2], &path).await;
        // An owner that took too long is not waited for.
        if status.contains("detail=peer") {
            assert!(status.contains("; hit; ttl=0; detail=peer"), "{status}");
            return;
        }
    }
}

/// Makes what is kept of a path stale on all nodes.
async fn purge_softly(node: &Node, path: &str) {
    let purge = json!({ "url": format!("http://test{path}"), "soft": true, "wait": "all" });
    let (body, length) = (purge.to_string(), purge.to_string().len());
    let request = format!(
        "POST /api/cache/purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let purged = Client::connect(node.api).await.ask(&request).await.unwrap();
    assert_eq!(purged.status, 200, "{}", purged.text());
}

#[tokio::test]
async fn keys_of_a_node_that_was_killed_are_fetched_by_the_others() {
    let origin = here().await;
    let (_plane, mut nodes) = mesh(&origin).await;
    know_each_other(&nodes).await;
    nodes[2].crash().await;
    for number in 0..30 {
        for node in &nodes[..2] {
            let (body, status) = get(node, &format!("/after/{number}")).await;
            assert_eq!(body, "here", "{status}");
        }
    }
}

#[tokio::test]
async fn an_owner_without_engines_is_not_waited_for_and_is_asked_for_other_keys() {
    let origin = here().await;
    let lazy = "[[routes]]\nname = \"lazy\"\npath = \"/lazy\"\nservice = \"lazy\"\ncache = true\n\
                [services.lazy.engines]\ncommand = [\"sleep\", \"1000\"]\nmin = 0\nmax = 1\n\
                wait_timeout = \"2s\"\n";
    let (_plane, nodes) = mesh_with(&origin, lazy).await;
    know_each_other(&nodes).await;
    let (since, asked) = (Instant::now(), &nodes[0]);
    let waited = join_all((0..24).map(|number| async move {
        let mut client = Client::connect(asked.ingress).await;
        let answer = client.get(&format!("/lazy/{number}")).await.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.head);
        assert_eq!(answer.header("x-weir-reason"), Some("engine_not_ready"));
    }));
    waited.await;
    let elapsed = since.elapsed();
    assert!(
        elapsed < Duration::from_millis(3_500),
        "waited twice: {elapsed:?}"
    );
    let mut from_peers = 0;
    for number in 0..30 {
        let (_, status) = get(asked, &format!("/after/{number}")).await;
        from_peers += usize::from(status.contains("detail=peer"));
    }
    assert!(from_peers > 0, "owners that answer are let alone");
}

#[tokio::test]
async fn what_clients_have_over_tls_is_fetched_once_for_all_nodes_too() {
    let origin = Origin::start(|mut asked| async move {
        let scheme = match asked.head.contains("x-forwarded-proto: https") {
            true => "https",
            false => "http",
        };
        asked
            .answer("200 OK", "cache-control: max-age=600\r\n", scheme)
            .await;
        asked
    })
    .await;
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let config = format!(
        "[services.web]\nbackends = [\"{}\"]\n[[routes]]\nservice = \"web\"\ncache = true\n",
        origin.address
    );
    let trusted = "trusted_proxies = [\"127.0.0.1/32\"]\n";
    let nodes = NAMES.map(|id| Node::start_with(id, trusted, &keys, &config));
    let nodes = join_all(nodes).await;
    know_each_other(&nodes).await;
    let before = origin.asked();
    let mut from_peers = 0;
    for number in 0..8 {
        for node in &nodes {
            let request = format!(
                "GET /tls/{number} HTTP/1.1\r\nHost: test\r\nX-Forwarded-Proto: https\r\n\r\n"
            );
            let answer = Client::connect(node.ingress).await.ask(&request).await;
            let answer = answer.unwrap();
            assert_eq!(answer.text(), "https");
            let status = answer.header("cache-status").unwrap();
            from_peers += usize::from(status.contains("detail=peer"));
        }
    }
    assert_eq!(origin.asked(), before + 8);
    assert!(from_peers >= 8, "{from_peers}");
}

#[tokio::test]
async fn an_owner_that_hangs_is_asked_once_by_those_who_ask_one_after_the_other() {
    let origin = here().await;
    let (_plane, nodes) = mesh(&origin).await;
    know_each_other(&nodes).await;
    nodes[1].signal(Signal::STOP);
    for number in 0..30 {
        get(&nodes[0], &format!("/hangs/{number}")).await;
    }
    nodes[1].signal(Signal::CONT);
    let request = "GET /api/cache HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = Client::connect(nodes[0].api).await.ask(request).await;
    let stats: Value = serde_json::from_str(&answer.unwrap().text()).unwrap();
    assert_eq!(stats["peers_failed_by"]["no_answer"], 1, "{stats}");
}
