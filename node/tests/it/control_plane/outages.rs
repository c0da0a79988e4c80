//! The control plane may be away, crash or hang: nodes serve on, and come back by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;
use weir_proto::control::v1 as pb;

use super::plane::{ControlPlane, is_in_sync};
use super::{Node, three};
use crate::client::Load;
use crate::operator::wait_until;
use crate::steered::Steered;

/// Registers a backend that nobody has to hear for a while.
async fn register(plane: &ControlPlane, id: &str, backend: &Steered) {
    let endpoint = pb::Endpoint {
        service: "web".to_owned(),
        backend_id: id.to_owned(),
        address: backend.address.to_string(),
        weight: 1,
        ..pb::Endpoint::default()
    };
    let request = pb::RegisterRequest {
        endpoint: Some(endpoint),
        ttl_ms: 600_000,
    };
    plane.registry().register(request).await.unwrap();
}

#[tokio::test]
async fn a_node_starts_with_its_last_known_good_and_the_control_plane_returns_unaided() {
    let mut plane = ControlPlane::start().await;
    let [one, extra] = Steered::start_all(["one", "extra"]).await;
    let mut node = Node::untuned("node-a", &plane, &[one.address]).await;
    let id = one.address.to_string();
    plane.weigh("web", &[(&id, 3)]).await;
    register(&plane, "extra", &extra).await;
    plane.tune(&[("balancer.policy", "random")]).await;
    let is_all_there = async |node: &Node| {
        let weight = node.backend(&id).await["weight"].clone();
        weight == 3 && node.backend("extra").await.is_object() && node.policy().await == "random"
    };
    wait_until(&node, "all is there", async || is_all_there(&node).await).await;
    // A node acknowledges what its disk has taken: this comes after all that came before.
    plane.tune(&[("ingress.header_timeout", "7s")]).await;
    plane.sees_in_sync("node-a").await;

    plane.crash().await;
    node.crash().await;
    node.start_again().await;
    assert!(is_all_there(&node).await, "{}", node.log());
    let load = Load::start(node.ingress, 2);
    wait_until(&node, "both get work", async || {
        one.requests() > 0 && extra.requests() > 0
    })
    .await;

    plane.start_again().await;
    let told = plane.sees_in_sync("node-a").await.profile.unwrap();
    assert_eq!(told.origin, "last-known-good");
    plane.tune(&[("balancer.policy", "peak_ewma")]).await;
    let told = plane.sees_in_sync("node-a").await.profile.unwrap();
    assert_eq!(told.origin, "control-plane");
    assert_eq!(node.policy().await, "peak_ewma");
    assert_eq!(node.backend(&id).await["weight"], 3);
    assert_eq!(load.stop().await.bad, [""; 0]);
}

#[tokio::test]
async fn a_control_plane_that_has_just_started_takes_nothing_away() {
    let mut plane = ControlPlane::start().await;
    let [one, extra] = Steered::start_all(["one", "extra"]).await;
    let node = Node::untuned("node-a", &plane, &[one.address]).await;
    register(&plane, "extra", &extra).await;
    plane.tune(&[("balancer.policy", "random")]).await;
    plane.sees_in_sync("node-a").await;
    wait_until(&node, "it is there", async || {
        node.backend("extra").await.is_object()
    })
    .await;
    let revision = async || {
        let (_, text) = node.get_api("/api/status").await.unwrap();
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        status["config_revision"].as_u64().unwrap()
    };
    let before = revision().await;
    for _ in 0..2 {
        plane.crash().await;
        plane.start_again().await;
        plane.sees_in_sync("node-a").await;
    }
    // Whatever was taken away and given back would have made a new configuration.
    assert_eq!(revision().await, before, "{}", node.log());
    assert_eq!(node.policy().await, "random");
}

#[tokio::test]
async fn a_control_plane_killed_in_the_middle_of_pushes_loses_no_acknowledged_write() {
    let mut plane = ControlPlane::start().await;
    let backend = Steered::start("one").await;
    let nodes = three(&plane, &[backend.address]).await;
    let load = Load::start(nodes[0].ingress, 2);
    let mut written = 0;
    for round in 0..3 {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let writing = async {
            for change in 1.. {
                let timeout = format!("{}ms", 5_000 + round * 1_000 + change);
                let tuned = plane
                    .try_tune("fleet", &[("ingress.header_timeout", &timeout)])
                    .await;
                match tuned {
                    Ok(tuned) => {
                        acknowledged.store(tuned.profile.unwrap().revision, Ordering::Relaxed)
                    }
                    Err(_) if stop.load(Ordering::Relaxed) => return,
                    Err(status) => panic!("{status}"),
                }
            }
        };
        let killing = async {
            while acknowledged.load(Ordering::Relaxed) < written + 8 {
                sleep(Duration::from_millis(1)).await;
            }
            stop.store(true, Ordering::Relaxed);
            plane.signal(Signal::KILL);
        };
        tokio::join!(writing, killing);
        written = acknowledged.load(Ordering::Relaxed);
        plane.crash().await;
        plane.start_again().await;
        let head = plane.weir(&["profile", "get", "-o", "json"]).await.json();
        assert!(
            head["revision"].as_u64().unwrap() >= written,
            "{head} after {written}"
        );
        written = head["revision"].as_u64().unwrap();
    }
    let head = plane.weir(&["profile", "get", "-o", "json"]).await.json();
    for node in &nodes {
        plane.sees_in_sync(&node.id).await;
        let knob = node.effective(&plane, "ingress.header_timeout").await;
        assert_eq!(knob["source"], format!("fleet@{written}"), "{head}");
        assert_eq!(knob["value"], knob["layer"]["value"]);
    }
    assert_eq!(load.stop().await.bad, [""; 0]);
}

#[tokio::test]
async fn a_control_plane_that_hangs_stops_no_traffic_and_goes_on_where_it_was() {
    let plane = ControlPlane::start().await;
    let backend = Steered::start("one").await;
    let mut node = Node::start("node-a", &plane, &[backend.address]).await;
    plane.sees_connected("node-a").await;
    let load = Load::start(node.ingress, 2);
    plane.signal(Signal::STOP);
    load.passes(100).await;
    // A node that starts meanwhile serves as well.
    node.weir.get("/").await;
    let mut other = Node::start("node-b", &plane, &[backend.address]).await;
    assert!(other.get("/").await.ends_with("one"));
    load.passes(100).await;
    // One that leaves does not wait for it for long.
    other.stop().await;
    plane.signal(Signal::CONT);
    plane.tune(&[("ingress.header_timeout", "7s")]).await;
    plane
        .sees("node-a", "has it in force", |node| {
            is_in_sync(node)
                && node
                    .profile
                    .as_ref()
                    .is_some_and(|p| !p.effective_hash.is_empty())
        })
        .await;
    assert_eq!(
        node.effective(&plane, "ingress.header_timeout").await["value"],
        "7s"
    );
    assert_eq!(load.stop().await.bad, [""; 0]);
    node.stop().await;
}
