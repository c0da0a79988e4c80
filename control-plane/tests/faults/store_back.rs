//! etcd is put back to an older state.

use std::time::Duration;

use tokio::time::Instant;
use weir_proto::control::v1 as pb;

use crate::api::Api;
use crate::etcd::Etcd;
use crate::instance::Plan;
use crate::node::{Node, Seen};

#[tokio::test]
async fn nodes_end_on_what_a_store_that_was_put_back_says_under_a_new_epoch() {
    let mut etcd = Etcd::start().await;
    let members = [etcd.endpoint()];
    let first = Plan::new("cp-1", &members).start().await;
    let second = Plan::new("cp-2", &members).start().await;
    let (one, two) = (Api::to(first.address()), Api::to(second.address()));
    one.set(1_001).await;
    let early = Node::start("early", &[first.address()]);
    early.at(1_001).await;
    let kept = |node: &pb::NodeInfo| {
        node.profile
            .as_ref()
            .is_some_and(|p| !p.effective_hash.is_empty())
    };
    two.until_node("early", "its state is kept", kept).await;
    let snapshot = etcd.save();
    let late = Node::start("late", &[second.address()]);
    two.set(1_002).await;
    one.set(1_003).await;
    for node in [&early, &late] {
        node.at(1_003).await;
    }
    let before = one.status().await.unwrap().epoch;
    etcd.restore(&snapshot).await;
    let restored = Instant::now();
    for node in [&early, &late] {
        node.at(1_001).await;
    }
    let is_new = |status: &pb::ControlPlaneStatus| status.epoch != before;
    let epoch = one.until_status("a new epoch", is_new).await.epoch;
    two.until_status("the same epoch", |status| status.epoch == epoch)
        .await;
    // What came after the snapshot is gone; who is connected is not.
    for (id, at) in [("early", "cp-1"), ("late", "cp-2")] {
        let is_back = |node: &pb::NodeInfo| {
            let reported = node.profile.clone().unwrap_or_default().effective_hash;
            node.presence() == pb::Presence::Connected
                && node.instance == at
                && reported == node.wanted_hash
        };
        one.until_node(id, "shown by cp-1", is_back).await;
        two.until_node(id, "shown by cp-2", is_back).await;
    }
    // Sooner than leases are renewed or presences audited.
    assert!(
        restored.elapsed() < Duration::from_secs(4),
        "{:?}",
        restored.elapsed()
    );
    let revision = two.set(1_004).await;
    assert_eq!(revision, 2, "the second of the restored history");
    for node in [&early, &late] {
        let seen = node.at(1_004).await;
        assert_eq!(profile_epoch(&seen), epoch);
        assert_eq!(seen.welcomes, 1, "streams go on");
        assert_eq!(seen.mismatches, 0);
    }
    // An instance that starts now tells the same.
    let third = Plan::new("cp-3", &members).start().await;
    let moved = Node::start("moved", &[third.address()]);
    assert_eq!(moved.at(1_004).await.epoch, epoch);
}

fn profile_epoch(seen: &Seen) -> String {
    let held = &seen.held[&(pb::ResourceType::Profile as i32)];
    held.point.epoch.clone()
}
