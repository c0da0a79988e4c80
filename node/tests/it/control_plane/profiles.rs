//! Profiles and orders reach the nodes that they concern.

use serde_json::Value;
use weir_proto::control::v1 as pb;

use super::plane::{ControlPlane, is_connected};
use super::{Node, service, three};
use crate::steered::Steered;

#[tokio::test]
async fn a_profile_is_in_force_on_every_node_and_says_where_it_comes_from() {
    let plane = ControlPlane::start().await;
    let backend = Steered::start("one").await;
    let nodes = three(&plane, &[backend.address]).await;
    let set = [
        "profile",
        "set",
        "ingress.header_timeout=7s",
        "-m",
        "as measured",
    ];
    let out = plane.weir(&set).await.done();
    assert!(out.contains("in force on 3 of 3 nodes"), "{out}");
    plane
        .tune_scope("node/node-b", &[("ingress.header_timeout", "8s")])
        .await;
    plane.sees_in_sync("node-b").await;
    for (node, value, layer) in [
        (&nodes[0], "7s", "fleet@1"),
        (&nodes[1], "8s", "node/node-b@1"),
        (&nodes[2], "7s", "fleet@1"),
    ] {
        let knob = node.effective(&plane, "ingress.header_timeout").await;
        assert_eq!(
            (&knob["value"], &knob["source"]),
            (&value.into(), &layer.into()),
            "{knob}"
        );
        let told = plane.node(&node.id).await.profile.unwrap();
        assert_eq!(told.origin, "control-plane");
        assert_eq!(told.errors, []);
    }
    // What no part of this version reads is told by name; the rest is in force.
    let set = [
        "profile",
        "set",
        "host.swappiness=9",
        "ingress.header_timeout=6s",
    ];
    let out = plane.weir(&set).await.done();
    let refused = "in force on 2 of 3 nodes; 1 knob refused as not supported:\n  \
         host.swappiness: refused as not \
                   supported by node-a, node-b, node-c; it is not in force there\n";
    assert!(out.contains(refused), "{out}");
    let told = plane.sees_in_sync("node-a").await.profile.unwrap();
    assert_eq!(told.unsupported[0].path, "host.swappiness");
    let out = plane.weir(&["nodes", "get", "node-a"]).await.done();
    assert!(out.contains("1 knob refused as not supported"), "{out}");
    let refused = "\nrefused: host.swappiness: not supported by this node\n";
    assert!(out.contains(refused), "{out}");
    let knob = nodes[0].effective(&plane, "host.swappiness").await;
    assert_eq!(
        (&knob["value"], &knob["source"]),
        (&Value::Null, &Value::Null)
    );
    let note = "refused: not supported by this node; fleet@2 gives 9";
    assert_eq!(knob["note"], note);
    let knob = nodes[0].effective(&plane, "ingress.header_timeout").await;
    assert_eq!(knob["value"], "6s");
}

#[tokio::test]
async fn threads_wait_for_the_next_start_and_are_told_as_pending() {
    let plane = ControlPlane::start().await;
    let mut node = Node::start("node-a", &plane, &[]).await;
    plane.sees_connected("node-a").await;
    let set = ["profile", "set", "ingress.workers=1"];
    let out = plane.weir(&set).await.done();
    assert!(
        out.contains("node-a: pending restart: ingress.workers"),
        "{out}"
    );
    let told = plane.sees_in_sync("node-a").await.profile.unwrap();
    assert_eq!(told.last_attempt(), pb::ApplyStatus::Deferred);
    node.stop().await;
    plane
        .sees("node-a", "has left in order", |node| {
            node.presence() == pb::Presence::Away
        })
        .await;
    node.start_again().await;
    let told = plane
        .sees("node-a", "has no restart pending", |node| {
            let profile = node.profile.clone().unwrap_or_default();
            is_connected(node) && profile.pending_restart.is_empty()
        })
        .await;
    assert_eq!(told.profile.unwrap().origin, "last-known-good");
}

#[tokio::test]
async fn an_override_wins_while_it_holds_and_ends_by_itself() {
    let plane = ControlPlane::start().await;
    let node = Node::start("node-a", &plane, &[]).await;
    plane.sees_connected("node-a").await;
    plane.tune(&[("ingress.header_timeout", "7s")]).await;
    let set = [
        "profile",
        "set",
        "ingress.header_timeout=3s",
        "--override",
        "--for",
        "2s",
    ];
    plane.weir(&set).await.done();
    let value = async || node.effective(&plane, "ingress.header_timeout").await["value"].clone();
    assert_eq!(value().await, "3s");
    crate::operator::wait_until(&node, "the override has ended", async || {
        value().await == "7s"
    })
    .await;
    plane.sees_in_sync("node-a").await;
}

#[tokio::test]
async fn operators_cordon_and_drain_a_node_from_afar() {
    let plane = ControlPlane::start().await;
    let backend = Steered::start("one").await;
    let mut node = Node::start("node-a", &plane, &[backend.address]).await;
    plane.sees_connected("node-a").await;
    for (order, state) in [
        ("cordon", "cordoned"),
        ("drain", "draining"),
        ("undrain", "cordoned"),
        ("uncordon", "ready"),
        ("drain", "draining"),
        ("undrain", "ready"),
    ] {
        let out = plane
            .weir(&["nodes", order, "node-a", "-m", "new kernel"])
            .await
            .done();
        assert!(out.starts_with("node-a connected"), "{out}");
        is_in_state(&node, state).await;
        let answer = node.get("/").await;
        assert!(answer.ends_with("one"), "{answer}");
    }
    // An order holds over a restart of the node.
    plane.weir(&["nodes", "drain", "node-a"]).await.done();
    is_in_state(&node, "draining").await;
    node.crash().await;
    node.start_again().await;
    is_in_state(&node, "draining").await;
    let out = plane.weir(&["nodes"]).await.done();
    assert!(out.contains("draining"), "{out}");
    let unknown = plane.weir(&["nodes", "cordon", "node-z"]).await;
    assert_ne!(unknown.code, 0);
    assert!(unknown.err.contains("node-z"), "{}", unknown.err);
}

async fn is_in_state(node: &Node, state: &str) {
    crate::operator::wait_until(node, &format!("it is {state}"), async || {
        let (_, text) = node.get_api("/api/status").await.unwrap();
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        status["state"] == state
    })
    .await;
}

#[tokio::test]
async fn a_group_is_known_by_its_labels() {
    let plane = ControlPlane::start().await;
    let keys = format!(
        "endpoints = [\"{}\"]\n[node.labels]\nzone = \"east\"\n",
        plane.address
    );
    let east = Node::start_as("node-a", &keys, &service(&[])).await;
    let west = Node::start("node-b", &plane, &[]).await;
    let is_east = |node: &pb::NodeInfo| node.labels.get("zone").is_some_and(|zone| zone == "east");
    plane.sees("node-a", "is in the east", is_east).await;
    plane.sees_connected("node-b").await;
    let set = [
        "profile",
        "set",
        "ingress.header_timeout=5s",
        "--group",
        "east",
        "--selector",
        "zone=east",
    ];
    let out = plane.weir(&set).await.done();
    assert!(out.contains("in force on 1 of 1 node"), "{out}");
    let value =
        async |node: &Node| node.effective(&plane, "ingress.header_timeout").await["value"].clone();
    assert_eq!(value(&east).await, "5s");
    assert_eq!(value(&west).await, "10s");
}
