//! Limits that a profile changes while jobs wait.

use std::time::Duration;

use tokio::time::sleep;
use weir_proto::node::v1::provision_response::Outcome;

use super::{begun, by_grpc, by_http, json, ports, provisioning, shell};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;
use crate::operator::wait_until;

/// So long nothing is seen of what must not happen.
const QUIET: Duration = Duration::from_millis(1_500);

/// A node whose engines write down when they began, and never get ready.
async fn node(plane: &ControlPlane) -> (Node, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("begun");
    let script = format!("date +%s%N >> {}; exec sleep 1000", file.display());
    let config = format!(
        "[provision]\nhost_ports = \"{}\"\n[services.tv.engines]\nmin = 0\nmax = 15\n{}\
         [services.tv.engines.probe]\nready_timeout = \"10m\"\n[[routes]]\nservice = \"tv\"\n",
        ports(),
        shell(&script),
    );
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let node = Node::start_as("node-a", &keys, &config).await;
    plane.sees_connected(&node.id).await;
    (node, folder)
}

/// Sets knobs of the fleet, and waits until the node has them.
async fn tune(plane: &ControlPlane, node: &Node, settings: &[(&str, &str)]) {
    plane.tune(settings).await;
    plane.sees_in_sync(&node.id).await;
}

/// Waits until so many starts are under way and so many wait at the gate.
async fn are(node: &Node, in_flight: u64, waiting: u64) {
    let what = format!("{in_flight} under way, {waiting} wait");
    wait_until(node, &what, async || {
        let told = provisioning(node).await;
        (&told["in_flight"], &told["waiting"]) == (&in_flight.into(), &waiting.into())
    })
    .await;
}

/// The same, and it stays so.
async fn stay(node: &Node, in_flight: u64, waiting: u64) {
    are(node, in_flight, waiting).await;
    sleep(QUIET).await;
    are(node, in_flight, waiting).await;
}

#[tokio::test]
async fn a_profile_s_concurrency_and_spacing_apply_to_jobs_that_wait_at_once() {
    let plane = ControlPlane::start().await;
    let (node, folder) = node(&plane).await;
    let (permits, spacing) = ("provision.concurrent_max", "provision.interval_min");
    tune(&plane, &node, &[(permits, "1"), (spacing, "0s")]).await;
    for _ in 0..4 {
        assert_eq!(by_http(&node, "tv").await.status, 202);
    }
    // One more than may start is claimed ahead.
    stay(&node, 1, 1).await;
    let (code, text) = node.command(&["engines", "list"]).await;
    let told = "node-a: starts that wait: 1; 1 are under way, and 1 may be";
    assert!(code == 0 && text.contains(told), "{text}");
    tune(&plane, &node, &[(permits, "3")]).await;
    stay(&node, 3, 1).await;
    tune(&plane, &node, &[(spacing, "1m"), (permits, "8")]).await;
    for _ in 0..2 {
        assert_eq!(by_http(&node, "tv").await.status, 202);
    }
    stay(&node, 3, 3).await;
    tune(&plane, &node, &[(spacing, "400ms")]).await;
    are(&node, 6, 0).await;
    let file = folder.path().join("begun");
    wait_until(&node, "six began", async || begun(&file).len() == 6).await;
    let last = &begun(&file)[3..];
    let gaps: Vec<u64> = last
        .windows(2)
        .map(|two| (two[1] - two[0]) / 1_000_000)
        .collect();
    // Between the driver and the clock of a shell there is some of the machine's time: one that is late is nearer to
    // the next.
    assert!(gaps.iter().all(|gap| (50..5_000).contains(gap)), "{gaps:?}");
}

#[tokio::test]
async fn a_profile_bounds_how_many_jobs_are_open_and_one_more_wish_is_refused_for_programs() {
    let plane = ControlPlane::start().await;
    let (node, _folder) = node(&plane).await;
    let bound = "provision.queue_max";
    tune(
        &plane,
        &node,
        &[(bound, "2"), ("provision.interval_min", "2s")],
    )
    .await;
    for _ in 0..2 {
        assert_eq!(by_http(&node, "tv").await.status, 202);
    }
    let full = by_http(&node, "tv").await;
    let message = "provision.queue_max: 2 jobs are open, and 2 may be";
    let expected = serde_json::json!({
        "error": "provisioning_blocked",
        "code": "queue_full",
        "message": message,
        "recovery_eta_seconds": 2,
        "can_retry": true,
        "should_wait": true,
        "field": bound,
        "value": "2",
        "bound": "less than 2",
    });
    assert_eq!((full.status, full.header("retry-after")), (503, Some("2")));
    assert_eq!(json(&full), expected);
    let Outcome::Refusal(refusal) = by_grpc(&node, "tv").await else {
        panic!("it is refused");
    };
    assert_eq!((&*refusal.code, &*refusal.message), ("queue_full", message));
    assert_eq!(
        (&*refusal.field, &*refusal.value, &*refusal.bound),
        (bound, "2", "less than 2")
    );
    let (code, text) = node.command(&["engines", "provision", "tv"]).await;
    assert!(code == 1 && text.contains(message), "{code}: {text}");
    let name = "weir_provision_limited_total{limit=\"queue\"}";
    node.wait_for_metric(name, |count| count > 2.9).await;
    let (_, events) = node
        .get_api("/api/events?kind=provision.limited")
        .await
        .unwrap();
    assert!(events.contains(message), "{events}");
    tune(&plane, &node, &[(bound, "3")]).await;
    assert_eq!(by_http(&node, "tv").await.status, 202);
    assert_eq!(by_http(&node, "tv").await.status, 503);
}
