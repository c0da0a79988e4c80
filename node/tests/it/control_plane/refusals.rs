//! A profile that does not go with a node's file is refused by that node alone, and everybody can see why.

use weir_proto::control::v1 as pb;

use super::plane::{ControlPlane, is_connected};
use super::{Node, service};
use crate::steered::Steered;

const WINDOWS: &str = "h2_stream_window = \"8MiB\"\nh2_connection_window = \"9MiB\"\n";

#[tokio::test]
async fn a_refusal_is_told_by_path_value_and_bound_and_heals_when_the_file_is_mended() {
    let mut plane = ControlPlane::start().await;
    let backend = Steered::start("one").await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let config = service(&[backend.address]);
    let mut refusing = Node::start_with("node-a", WINDOWS, &keys, &config).await;
    let _taking = Node::start("node-b", &plane, &[backend.address]).await;
    plane.sees_connected("node-a").await;
    plane.sees_connected("node-b").await;
    plane.tune(&[("ingress.header_timeout", "7s")]).await;
    let good = plane.sees_in_sync("node-a").await.wanted_hash;

    let set = [
        "profile",
        "set",
        "ingress.h2_connection_window=1MiB",
        "ingress.header_timeout=9s",
    ];
    let out = plane.weir(&set).await;
    assert_ne!(out.code, 0);
    let refusal = "node-a refused: ingress.h2_connection_window: `1MiB`";
    assert!(out.out.contains(refusal), "{}{}", out.out, out.err);
    assert!(
        out.out.contains("h2_stream_window (8388608)"),
        "the bound: {}",
        out.out
    );
    assert!(out.out.contains("in force on 1 of 2 nodes"), "{}", out.out);
    assert!(
        out.err.contains("written, but refused by node-a"),
        "{}",
        out.err
    );
    plane.sees_in_sync("node-b").await;
    is_refused(&plane, &good).await;
    let value =
        async |node: &Node| node.effective(&plane, "ingress.header_timeout").await["value"].clone();
    assert_eq!(value(&refusing).await, "7s", "what was in force stays");

    // Weights that come while it refuses are kept on disk all the same, and so is the refusal, elsewhere.
    let id = backend.address.to_string();
    plane.weigh("web", &[(&id, 5)]).await;
    let weighs = async |node: &Node| node.backend(&id).await["weight"] == 5;
    crate::operator::wait_until(&refusing, "it weighs 5", async || weighs(&refusing).await).await;
    refusing.stop().await;
    plane.stop().await;
    refusing.start_again().await;
    assert!(weighs(&refusing).await, "{}", refusing.log());
    refusing.stop().await;
    plane.start_again().await;
    is_refused(&plane, &good).await;
    refusing.start_again().await;
    plane
        .sees("node-a", "refuses again", |node| {
            is_connected(node) && has_refused(node)
        })
        .await;
    is_refused(&plane, &good).await;

    refusing.mend(
        "h2_stream_window = \"8MiB\"",
        "h2_stream_window = \"512KiB\"",
    );
    plane.sees_in_sync("node-a").await;
    let value = refusing.effective(&plane, "ingress.header_timeout").await["value"].clone();
    assert_eq!(value, "9s");
    let out = plane
        .weir(&["nodes", "list", "--rejected", "-o", "json"])
        .await
        .json();
    assert_eq!(out, serde_json::json!([]));
}

fn has_refused(node: &pb::NodeInfo) -> bool {
    let profile = node.profile.as_ref();
    profile.is_some_and(|profile| profile.last_attempt() == pb::ApplyStatus::Rejected)
}

/// What the commands say of the node that refused.
async fn is_refused(plane: &ControlPlane, effective: &[u8]) {
    let effective: String = effective.iter().map(|byte| format!("{byte:02x}")).collect();
    let out = plane
        .weir(&["nodes", "list", "--rejected", "-o", "json"])
        .await
        .json();
    let nodes = out.as_array().unwrap();
    assert_eq!(nodes.len(), 1, "{out}");
    assert_eq!(nodes[0]["node"], "node-a");
    let profile = &nodes[0]["profile"];
    assert_eq!(
        (&profile["state"], &profile["last_attempt"]),
        (&"refused".into(), &"rejected".into())
    );
    assert_eq!(profile["effective"], effective);
    let error = &profile["errors"][0];
    assert_eq!(error["path"], "ingress.h2_connection_window");
    assert_eq!(error["value"], "1MiB");
    assert_eq!(error["code"], "infeasible");
}

#[tokio::test]
async fn what_no_node_could_take_is_not_written() {
    let plane = ControlPlane::start().await;
    let out = plane
        .weir(&[
            "profile",
            "set",
            "ingress.header_timeout=9d",
            "no.such_knob=1",
        ])
        .await;
    assert_ne!(out.code, 0);
    for told in ["ingress.header_timeout", "9d", "no.such_knob"] {
        assert!(out.err.contains(told), "{}", out.err);
    }
    let out = plane.weir(&["profile", "list", "-o", "json"]).await.json();
    assert_eq!(out, serde_json::json!([]));
}
