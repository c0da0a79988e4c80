//! etcd is far away.

use std::time::Duration;

use weir_proto::control::v1 as pb;

use crate::api::{Api, Writer};
use crate::etcd::Etcd;
use crate::instance::Plan;
use crate::node::Node;
use crate::ways::Wire;

#[tokio::test]
async fn a_slow_store_makes_everything_late_and_nothing_wrong() {
    let etcd = Etcd::start().await;
    let endpoint = etcd.endpoint();
    let place = endpoint.strip_prefix("http://").unwrap();
    let wire = Wire::to(place, Duration::from_millis(250)).await;
    let members = [format!("http://{}", wire.address)];
    let first = Plan::new("cp-1", &members).start().await;
    let second = Plan::new("cp-2", &members).start().await;
    let ways = [Api::to(first.address()), Api::to(second.address())];
    let nodes = Node::crowd(10, &[first.address(), second.address()]);
    let mut writer = Writer::new(&ways, "w");
    let mut acknowledged = Vec::new();
    for value in 1_001..=1_003 {
        acknowledged.push((writer.write(value).await, value));
    }
    for node in &nodes {
        let seen = node.at(1_003).await;
        assert_eq!(seen.mismatches, 0);
        assert!(seen.values.is_sorted(), "{:?}", seen.values);
    }
    assert_eq!(ways[1].history().await, acknowledged);
    let is_there = |node: &pb::NodeInfo| node.presence() == pb::Presence::Connected;
    for at in 0..nodes.len() {
        ways[1]
            .until_node(&format!("sim-{at}"), "connected", is_there)
            .await;
    }
    let leads = |status: &pb::ControlPlaneStatus| !status.leader.is_empty();
    let leader = ways[0].until_status("somebody leads", leads).await.leader;
    ways[1]
        .until_status("the same leads", |status| status.leader == leader)
        .await;
}
