//! etcd has no space left.

use bytes::Bytes;
use tonic::Code;
use weir_control_plane::store::{Error, Op, Store, Txn};
use weir_proto::control::v1 as pb;

use crate::api::{Api, put};
use crate::etcd::Etcd;
use crate::instance::{Plan, connect};
use crate::node::Node;

const QUOTA_BYTES: u64 = 4 << 20;

/// Writes until there is no space.
async fn fill(store: &dyn Store) {
    let value = Bytes::from(vec![0; 200 << 10]);
    for _ in 0..100 {
        let then = vec![Op::Put {
            key: Bytes::from_static(b"filler"),
            value: value.clone(),
            lease: None,
        }];
        let filled = Txn {
            then,
            ..Txn::default()
        };
        match store.txn(filled).await {
            Ok(_) => {}
            Err(Error::Full) => return,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it never is full");
}

#[tokio::test]
async fn a_full_store_is_read_and_says_so_and_takes_writes_when_there_is_room() {
    let etcd = Etcd::start_with(Some(QUOTA_BYTES)).await;
    let members = [etcd.endpoint()];
    let store = connect(&members).await;
    let first = Plan::new("cp-1", &members).start().await;
    let second = Plan::new("cp-2", &members).start().await;
    let (one, two) = (Api::to(first.address()), Api::to(second.address()));
    let node = Node::start("n1", &[first.address()]);
    one.set(1_001).await;
    node.at(1_001).await;
    fill(&*store).await;
    let refused = one.put(put("fleet", 1, 1_002)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("no space left"), "{refused}");
    let weights = pb::SetWeightsRequest {
        service: "web".to_owned(),
        set: [("a".to_owned(), 1)].into(),
        write_id: "weights".to_owned(),
        ..pb::SetWeightsRequest::default()
    };
    let weights = two.weights().set_weights(weights).await.unwrap_err();
    assert_eq!(weights.code(), Code::ResourceExhausted, "{weights}");
    let says = |status: &pb::ControlPlaneStatus| {
        let problems = &status.store_problems;
        !status.store_healthy && problems.iter().any(|problem| problem.contains("NOSPACE"))
    };
    one.until_status("it says so", says).await;
    assert_eq!(two.newest().await.unwrap(), 1, "it can be read");
    let late = Node::start("late", &[second.address()]);
    late.at(1_001).await;
    etcd.make_room(store.status().await.unwrap().revision.0);
    let revision = two.set(1_003).await;
    assert_eq!(revision, 2);
    for node in [&node, &late] {
        let seen = node.at(1_003).await;
        assert_eq!(seen.welcomes, 1);
    }
    // What could not be written then is written now.
    let is_there = |node: &pb::NodeInfo| {
        let profile = node.profile.clone().unwrap_or_default();
        node.presence() == pb::Presence::Connected && profile.effective_hash == node.wanted_hash
    };
    one.until_node("late", "shown by the other", is_there).await;
    one.until_status("all is well", |status| status.store_healthy)
        .await;
}
