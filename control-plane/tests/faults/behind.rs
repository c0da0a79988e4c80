//! An instance that has read less than another one told a node.

use std::time::Duration;

use tokio::time::Instant;
use weir_control_plane::sync::CATCH_UP_LIMIT;
use weir_proto::control::v1 as pb;

use crate::api::Api;
use crate::etcd::Etcd;
use crate::instance::{Instance, Plan};
use crate::node::{Node, Seen};
use crate::ways::Lag;

/// A node that knows more than the instance that is left, when it was welcomed there, and when that reads on.
struct Ahead {
    _etcd: Etcd,
    _behind: Instance,
    node: Node,
    lag: Lag,
    since: Instant,
}

impl Ahead {
    async fn start() -> Self {
        let etcd = Etcd::start().await;
        let members = [etcd.endpoint()];
        let lag = Lag::default();
        let mut first = Plan::new("cp-1", &members).start().await;
        let behind = Plan {
            way: Some(lag.way()),
            ..Plan::new("cp-2", &members)
        };
        let behind = behind.start().await;
        let (one, two) = (Api::to(first.address()), Api::to(behind.address()));
        let node = Node::start("n1", &[first.address(), behind.address()]);
        one.set(1_001).await;
        node.at(1_001).await;
        let weights = |weight| pb::SetWeightsRequest {
            service: "web".to_owned(),
            set: [("a".to_owned(), weight)].into(),
            author: "test".to_owned(),
            write_id: format!("weights-{weight}"),
            ..pb::SetWeightsRequest::default()
        };
        one.weights().set_weights(weights(1)).await.unwrap();
        let is_read = |node: &pb::NodeInfo| node.presence() == pb::Presence::Connected;
        two.until_node("n1", "cp-2 reads", is_read).await;
        lag.set(true);
        one.set(1_002).await;
        one.weights().set_weights(weights(2)).await.unwrap();
        let order = pb::OrderRequest {
            node_id: "n1".to_owned(),
            cordoned: Some(true),
            author: "test".to_owned(),
            ..pb::OrderRequest::default()
        };
        one.nodes().order(order).await.unwrap();
        let is_ahead = |seen: &Seen| seen.value() == 1_002 && is_cordoned(seen);
        node.until("it is ahead", is_ahead).await;
        let is_told = |seen: &Seen| seen.pushes_of(pb::ResourceType::Weights) >= 2;
        node.until("its weights too", is_told).await;
        first.kill();
        node.connected_to("cp-2").await;
        Self {
            _etcd: etcd,
            _behind: behind,
            node,
            lag,
            since: Instant::now(),
        }
    }
}

fn is_cordoned(seen: &Seen) -> bool {
    seen.orders.is_some_and(|orders| orders.cordoned)
}

#[tokio::test]
async fn a_node_does_not_go_back_in_time_at_an_instance_that_lags() {
    let ahead = Ahead::start().await;
    let before = ahead.node.now();
    ahead.lag.set(false);
    // What is not ahead is not held back: told when it changes.
    let seen = ahead
        .node
        .until("it is settled", |_| ahead.since.elapsed() > Duration::ZERO)
        .await;
    assert!(is_cordoned(&seen));
    tokio::time::sleep(CATCH_UP_LIMIT + Duration::from_millis(500)).await;
    let after = ahead.node.now();
    assert_eq!(after.values, before.values, "the profile never changed");
    for kind in [
        pb::ResourceType::Profile,
        pb::ResourceType::Weights,
        pb::ResourceType::Orders,
    ] {
        assert_eq!(after.pushes_of(kind), before.pushes_of(kind), "{kind:?}");
    }
    assert!(is_cordoned(&after));
}

#[tokio::test]
async fn an_instance_that_does_not_catch_up_tells_what_it_has() {
    let ahead = Ahead::start().await;
    ahead.node.at(1_001).await;
    let waited = ahead.since.elapsed();
    assert!(waited > CATCH_UP_LIMIT / 2, "{waited:?}");
    ahead
        .node
        .until("orders too", |seen| !is_cordoned(seen))
        .await;
    ahead.lag.set(false);
    let seen = ahead.node.at(1_002).await;
    assert_eq!(seen.mismatches, 0);
    ahead.node.until("and forward again", is_cordoned).await;
}

#[tokio::test]
async fn nobody_is_told_that_there_is_nothing_by_an_instance_that_has_not_read_all() {
    let etcd = Etcd::start().await;
    let members = [etcd.endpoint()];
    let mut first = Plan::new("cp-1", &members).start().await;
    let lag = Lag::default();
    lag.set_live(true);
    let plan = Plan {
        way: Some(lag.way()),
        ..Plan::new("cp-2", &members)
    };
    let places = [first.address(), plan.address];
    let nodes = Node::crowd(2, &places);
    let knows_both = |seen: &Seen| seen.names(pb::ResourceType::Peers).len() == 2;
    for node in &nodes {
        node.until("it knows both", knows_both).await;
    }
    let before: Vec<Seen> = nodes.iter().map(Node::now).collect();
    first.kill();
    let second = plan.start().await;
    let two = Api::to(second.address());
    two.until_status("it serves", |status| !status.epoch.is_empty())
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(nodes.iter().all(|node| node.now().instance.is_none()));
    lag.set_live(false);
    for (node, before) in nodes.iter().zip(&before) {
        node.connected_to("cp-2").await;
        two.set(1_001).await;
        let seen = node.at(1_001).await;
        for kind in [pb::ResourceType::Peers, pb::ResourceType::Endpoints] {
            assert_eq!(seen.pushes_of(kind), before.pushes_of(kind), "{kind:?}");
        }
    }
}
