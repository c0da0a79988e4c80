//! One request is one tree through the tiers of the cache and over nodes, told without a collector.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::Instant;

use super::origin::Origin;
use super::peers::{know_each_other, mesh};
use crate::client::Client;
use crate::common::PATIENCE;
use crate::control_plane::Node;

async fn told(node: &Node, id: &str) -> Option<Value> {
    let (status, text) = node
        .weir
        .get_api(&format!("/api/traces/{id}"))
        .await
        .unwrap();
    (status == 200).then(|| serde_json::from_str(&text).unwrap())
}

/// Asks with traces of its own until another node has the key: the trace's id.
async fn through_a_peer(node: &Node) -> String {
    let mut client = Client::connect(node.weir.ingress).await;
    for number in 1..200 {
        let id = format!("{number:032x}");
        let request = format!(
            "GET /traced/{number} HTTP/1.1\r\nHost: t\r\nx-request-id: mine-{number}\r\n\
             traceparent: 00-{id}-00f067aa0ba902b7-01\r\n\r\n"
        );
        let answer = client.ask(&request).await.unwrap();
        if answer
            .header("cache-status")
            .unwrap()
            .contains("detail=peer")
        {
            return id;
        }
    }
    panic!("no key belongs to another node");
}

#[tokio::test]
async fn one_request_is_one_tree_through_the_cache_and_the_node_that_owns_the_key_to_the_origin() {
    let origin = Origin::start(|mut asked| async move {
        let head = "cache-control: max-age=600\r\n";
        asked.answer("200 OK", head, "here").await;
        asked
    })
    .await;
    let (_plane, nodes) = mesh(&origin).await;
    know_each_other(&nodes).await;
    let id = through_a_peer(&nodes[0]).await;

    // The tree is whole when the fetch has read its body to the end; asked of a node that may have had no part.
    let deadline = Instant::now() + PATIENCE;
    let trace = loop {
        match told(&nodes[2], &id).await {
            Some(trace) if trace["spans"].as_array().unwrap().len() >= 14 => break trace,
            trace => assert!(Instant::now() < deadline, "{trace:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let spans = trace["spans"].as_array().unwrap();
    let by_id: BTreeMap<&str, &Value> = spans
        .iter()
        .map(|span| (span["span_id"].as_str().unwrap(), span))
        .collect();
    let way = |span: &Value| {
        let mut names = vec![span["name"].as_str().unwrap().to_owned()];
        let mut above = span["parent_span_id"].as_str().unwrap().to_owned();
        while let Some(span) = by_id.get(&*above) {
            names.push(span["name"].as_str().unwrap().to_owned());
            above = span["parent_span_id"].as_str().unwrap().to_owned();
        }
        assert_eq!(above, "00f067aa0ba902b7", "the client's span is above all");
        names
    };
    let deepest = spans.iter().map(way).max_by_key(Vec::len).unwrap();
    assert_eq!(
        deepest[1..],
        [
            "cache.origin",
            "cache.fetch",
            "ingress",
            "upstream",
            "cache.peer",
            "cache.fetch",
            "ingress"
        ],
        "{trace:#}"
    );
    let of_nodes = |name: &str| {
        let named = spans.iter().filter(|span| span["name"] == name);
        let mut nodes: Vec<_> = named.map(|span| span["node"].as_str().unwrap()).collect();
        nodes.dedup();
        nodes.len()
    };
    assert_eq!(of_nodes("ingress"), 2);
    let cache = spans
        .iter()
        .find(|span| span["name"] == "cache" && span["node"] == "node-a");
    assert!(cache.unwrap()["attributes"]["weir.cache.outcome"].is_string());

    // What the client called it is known where it came in, and found from everywhere.
    let number = u32::from_str_radix(&id, 16).unwrap();
    let named = told(&nodes[1], &format!("mine-{number}")).await.unwrap();
    assert_eq!(named["trace_id"], *id);
    assert_eq!(named["spans"].as_array().unwrap().len(), spans.len());
    assert!(told(&nodes[1], &"f".repeat(32)).await.is_none());
}
