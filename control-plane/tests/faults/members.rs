//! One of three members of etcd dies.

use weir_proto::control::v1 as pb;

use crate::api::{Api, Writer};
use crate::cluster::{Cluster, MEMBERS};
use crate::instance::Plan;
use crate::node::Node;

#[tokio::test]
async fn a_member_that_dies_costs_no_write_and_no_stream() {
    let mut cluster = Cluster::start();
    let members = cluster.endpoints();
    let first = Plan::new("cp-1", &members).start().await;
    let second = Plan::new("cp-2", &members).start().await;
    let ways = [Api::to(first.address()), Api::to(second.address())];
    let nodes = [
        Node::start("n1", &[first.address()]),
        Node::start("n2", &[second.address()]),
    ];
    let mut writer = Writer::new(&ways, "w");
    let mut acknowledged = Vec::new();
    let mut value = 1_000;
    for member in 0..MEMBERS {
        for is_killed in [true, false] {
            match is_killed {
                true => cluster.kill(member),
                false => cluster.start_again(member),
            }
            for _ in 0..2 {
                value += 1;
                acknowledged.push((writer.write(value).await, value));
            }
            for node in &nodes {
                node.at(value).await;
            }
        }
        if member == 0 {
            let well = |status: &pb::ControlPlaneStatus| status.store_healthy;
            ways[0].until_status("the cluster is well", well).await;
        }
    }
    assert_eq!(ways[0].history().await, acknowledged);
    for node in &nodes {
        let seen = node.now();
        assert_eq!((seen.welcomes, seen.mismatches), (1, 0));
        assert!(seen.values.is_sorted(), "{:?}", seen.values);
    }
}
