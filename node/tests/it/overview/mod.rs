//! All nodes at a glance: one picture, whoever is asked, and what the API says of itself is so.

pub mod openapi;

use std::io::Read as _;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::{Weir, web};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;
use crate::operator::wait_until;
use crate::steered::Steered;

const MESH: &str = "/api/overview?mesh=true";
/// Samples that come soon, and pictures that are never old.
const FAST: &str = "[telemetry]\nmetric_interval = \"100ms\"\nstatus_cache_ttl = \"50ms\"\n";

async fn json(node: &Weir, path: &str) -> Value {
    let (status, text) = node.get_api(path).await.unwrap();
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn names<'a>(all: &'a Value, field: &str) -> Vec<&'a str> {
    let all = all[field].as_array().unwrap().iter();
    all.map(|one| one["node"].as_str().unwrap()).collect()
}

/// All that a series counted; a gap counts nothing.
fn counted(overview: &Value, name: &str, label: &str) -> u64 {
    let series = overview["history"]["series"].as_array().unwrap();
    let is_it = |one: &&Value| {
        let labels = one["labels"].as_object().unwrap();
        one["name"] == name && labels.values().any(|value| value == label)
    };
    let values = series.iter().find(is_it).unwrap()["values"]
        .as_array()
        .unwrap();
    values.iter().filter_map(Value::as_u64).sum()
}

/// How a backend stands on each node, and why.
fn standings<'a>(overview: &'a Value, id: &str) -> Vec<(&'a str, &'a str, &'a str)> {
    let backends = overview["services"][0]["backends"].as_array().unwrap();
    let found = backends.iter().find(|backend| backend["id"] == id).unwrap();
    let nodes = found["nodes"].as_array().unwrap().iter();
    let text = |on: &'a Value, field: &str| on[field].as_str().unwrap();
    nodes
        .map(|on| (text(on, "node"), text(on, "standing"), text(on, "reason")))
        .collect()
}

/// Head and body of an answer.
async fn raw(node: &Weir, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(node.api).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.to_ascii_lowercase(), answer.split_off(end + 4))
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim_start_matches(": ")
}

#[tokio::test]
async fn all_nodes_are_one_picture_whatever_becomes_of_them() {
    let plane = ControlPlane::start().await;
    let backends = Steered::start_all(["one", "two"]).await;
    let addresses = [backends[0].address, backends[1].address];
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let checks = "health = { check = \"http\", path = \"/health\", interval = \"30ms\" }";
    let config = format!("{}{FAST}", web(&addresses, checks));
    let mut nodes = Vec::new();
    for id in ["node-a", "node-b", "node-c"] {
        nodes.push(Node::start_as(id, &keys, &config).await);
    }
    for (node, requests) in nodes.iter().zip([4, 3, 2]) {
        for _ in 0..requests {
            node.get("/").await;
        }
    }
    let asked = &nodes[2];
    wait_until(asked, "all nodes are in one picture", async || {
        let overview = json(asked, MESH).await;
        names(&overview, "nodes") == ["node-a", "node-b", "node-c"]
            && counted(&overview, "requests", "2xx") == 9
            && overview["services"][0]["requests"] == 9
    })
    .await;
    let overview = json(asked, MESH).await;
    assert_eq!(overview["unmerged_nodes"], Value::Array(Vec::new()));
    assert_eq!(overview["cut"]["nodes"], 0);
    let one = json(asked, "/api/overview?node=node-a").await;
    assert_eq!(
        (&*names(&one, "nodes"), counted(&one, "requests", "2xx")),
        (&["node-a"][..], 4)
    );
    let (code, text) = asked.command(&["status", "--mesh"]).await;
    assert!(code == 0 && text.contains("node-b  ready"), "{text}");

    openapi::answers_are_as_told(asked).await;
    polls_are_cheap(asked, &overview).await;

    let (id, other) = (addresses[1].to_string(), addresses[0].to_string());
    backends[1].set_health(503);
    wait_until(asked, "the backend is out everywhere", async || {
        let overview = json(asked, MESH).await;
        let standings = standings(&overview, &id);
        standings.len() == 3
            && standings
                .iter()
                .all(|(_, standing, reason)| *standing == "unhealthy" && !reason.is_empty())
    })
    .await;
    let overview = json(asked, MESH).await;
    assert_eq!(overview["services"][0]["healthy"], 1);
    assert!(
        standings(&overview, &other)
            .iter()
            .all(|(_, standing, _)| *standing == "in")
    );

    let mut killed = nodes.remove(0);
    killed.crash().await;
    let asked = &nodes[1];
    wait_until(asked, "the killed node is told of", async || {
        let overview = json(asked, MESH).await;
        let unreachable = overview["unreachable_nodes"][0].clone();
        names(&overview, "nodes") == ["node-b", "node-c"]
            && unreachable["node"] == "node-a"
            && !unreachable["why"].as_str().unwrap_or_default().is_empty()
    })
    .await;
}

/// What is known is not told again, and what is told is small.
async fn polls_are_cheap(node: &Weir, overview: &Value) {
    let next = &overview["history"]["next_slot"];
    let path = format!("{MESH}&since={next}");
    let (head, body) = raw(node, &path, "Accept-Encoding: gzip\r\n").await;
    assert_eq!(header(&head, "content-encoding"), "gzip", "{head}");
    let mut text = String::new();
    let mut gzip = flate2::read::GzDecoder::new(&*body);
    gzip.read_to_string(&mut text).unwrap();
    let told: Value = serde_json::from_str(&text).unwrap();
    assert!(
        told["history"]["first_slot"].as_u64() >= next.as_u64(),
        "{text}"
    );
    let etag = header(&head, "etag");
    let tags = format!("If-None-Match: {etag}\r\n");
    let (head, body) = raw(node, &path, &tags).await;
    // A new picture has another one.
    let is_same = header(&head, "etag") == etag;
    assert_eq!(is_same, head.starts_with("http/1.1 304"), "{head}");
    assert_eq!(is_same, body.is_empty(), "{head}");
}

#[tokio::test]
async fn a_question_that_makes_no_sense_names_the_field() {
    let node = Weir::start(&web(&[], "")).await;
    for (path, status, said) in [
        ("/api/overview?samples=3601", 400, "samples_max: 3601"),
        ("/api/overview?mesh=true&node=a", 400, "node: `a`"),
        ("/api/overview?node=nobody", 404, "node: `nobody`"),
    ] {
        let (told, text) = node.get_api(path).await.unwrap();
        assert!(
            told == status && text.contains(said),
            "{path}: {told} {text}"
        );
    }
}
