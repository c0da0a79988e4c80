//! What is said at one instance is known at the other.

use weir_proto::control::v1 as pb;

use crate::api::Api;
use crate::etcd::Etcd;
use crate::instance::Plan;
use crate::node::{KNOB, Manner};

#[tokio::test]
async fn a_refusal_at_one_instance_is_shown_by_the_other_and_orders_reach_across() {
    let etcd = Etcd::start().await;
    let members = [etcd.endpoint()];
    let first = Plan::new("cp-1", &members).start().await;
    let second = Plan::new("cp-2", &members).start().await;
    let two = Api::to(second.address());
    let manner = Manner {
        value_max: 2_000,
        ..Manner::new("n1", &[first.address()])
    };
    let node = manner.start();
    two.set(1_001).await;
    node.at(1_001).await;
    two.set(3_000).await;
    node.at(3_000).await;
    let has_refused = |node: &pb::NodeInfo| {
        let profile = node.profile.clone().unwrap_or_default();
        profile.last_attempt() == pb::ApplyStatus::Rejected
            && profile.errors.iter().any(|error| error.path == KNOB)
            && profile.offered_hash == node.wanted_hash
            && profile.effective_hash != node.wanted_hash
    };
    two.until_node("n1", "shown as refused", has_refused).await;
    let rejected = pb::ListNodesRequest {
        rejected: true,
        ..pb::ListNodesRequest::default()
    };
    let listed = two.nodes().list_nodes(rejected).await.unwrap().into_inner();
    assert_eq!(listed.nodes.len(), 1);
    let rollout = two.profiles().rollout(pb::RolloutRequest::default()).await;
    assert_eq!(rollout.unwrap().into_inner().nodes_rejected, 1);
    let order = |cordoned, draining| pb::OrderRequest {
        node_id: "n1".to_owned(),
        cordoned,
        draining,
        author: "test".to_owned(),
        ..pb::OrderRequest::default()
    };
    let given = two.nodes().order(order(None, Some(true))).await.unwrap();
    let drained = pb::NodeOrders {
        cordoned: false,
        draining: true,
    };
    assert_eq!(given.into_inner().orders, Some(drained));
    node.until("drained", |seen| seen.orders == Some(drained))
        .await;
    two.nodes().order(order(Some(false), None)).await.unwrap();
    let none = pb::NodeOrders::default();
    let seen = node
        .until("free again", |seen| seen.orders == Some(none))
        .await;
    assert_eq!(seen.pushes_of(pb::ResourceType::Orders), 3);
    two.set(1_500).await;
    node.at(1_500).await;
    let is_well = |node: &pb::NodeInfo| {
        let profile = node.profile.clone().unwrap_or_default();
        profile.last_attempt() == pb::ApplyStatus::Applied
    };
    two.until_node("n1", "shown as well again", is_well).await;
}
