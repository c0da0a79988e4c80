//! etcd is killed, frozen, or forgets what the watchers have not read.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tonic::Code;
use weir_control_plane::store::{List, Revision};
use weir_proto::control::v1 as pb;

use crate::api::{Api, Writer, put};
use crate::etcd::Etcd;
use crate::instance::{PATIENCE, Plan, connect};
use crate::node::Node;
use crate::watcher::Shown;
use crate::ways::Wire;

#[tokio::test]
async fn a_store_that_is_killed_breaks_no_stream_and_is_written_to_when_it_is_back() {
    let mut etcd = Etcd::start().await;
    let instance = Plan::new("cp-1", &[etcd.endpoint()]).start().await;
    let api = Api::to(instance.address());
    let nodes = Node::crowd(5, &[instance.address()]);
    api.set(1_001).await;
    for node in &nodes {
        node.at(1_001).await;
    }
    etcd.kill();
    let is_lost = |status: &pb::ControlPlaneStatus| {
        !status.store_healthy && !status.store_problems.is_empty()
    };
    api.until_status("it says that the store is away", is_lost)
        .await;
    let refused = api.put(put("fleet", 1, 1_002)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let late = Node::start("late", &[instance.address()]);
    late.at(1_001).await;
    etcd.start_again().await;
    let revision = api.set(1_003).await;
    assert_eq!(revision, 2, "what was refused was not written");
    for node in nodes.iter().chain([&late]) {
        let seen = node.at(1_003).await;
        assert_eq!((seen.welcomes, seen.mismatches), (1, 0));
    }
    let well = |status: &pb::ControlPlaneStatus| {
        status.store_healthy && status.store_problems.is_empty() && !status.leader.is_empty()
    };
    api.until_status("all is well again", well).await;
}

#[tokio::test]
async fn leases_that_end_while_the_store_is_frozen_are_taken_again_at_once() {
    let etcd = Etcd::start().await;
    let members = [etcd.endpoint()];
    let store = connect(&members).await;
    let first = Plan::new("cp-1", &members).start().await;
    let second = Plan::new("cp-2", &members).start().await;
    let other = Api::to(second.address());
    let node = Node::start("n1", &[first.address()]);
    let is_there = |node: &pb::NodeInfo| node.presence() == pb::Presence::Connected;
    other.until_node("n1", "connected", is_there).await;
    etcd.freeze();
    sleep(Duration::from_secs(3)).await;
    etcd.thaw();
    let presence = Bytes::from_static(b"/weir/v1/default/live/node/n1/presence");
    let lease = async || {
        let found = store.get(presence.clone(), None).await.unwrap();
        found.and_then(|found| found.lease)
    };
    let before = lease().await.expect("it is connected");
    // As etcd does with a lease whose time is over when it wakes up.
    store.revoke(before).await.unwrap();
    let gone = Instant::now();
    while lease().await.is_none_or(|lease| lease == before) {
        assert!(gone.elapsed() < PATIENCE, "it never comes back");
        sleep(Duration::from_millis(10)).await;
    }
    let again = |node: &pb::NodeInfo| is_there(node) && node.instance == "cp-1";
    other.until_node("n1", "connected again", again).await;
    assert!(
        gone.elapsed() < Duration::from_secs(2),
        "{:?}",
        gone.elapsed()
    );
    other.set(1_001).await;
    let seen = node.at(1_001).await;
    assert_eq!(seen.welcomes, 1, "its stream never broke");
    let shown = Shown::by(&other).await;
    other.set(1_002).await;
    node.at(1_002).await;
    shown.never_away();
}

#[tokio::test]
async fn a_store_that_forgets_under_the_watchers_loses_nothing() {
    let etcd = Etcd::start().await;
    let members = [etcd.endpoint()];
    let store = connect(&members).await;
    let place = etcd.endpoint();
    let wire = Wire::to(place.trim_start_matches("http://"), Duration::ZERO).await;
    let way = [format!("http://{}", wire.address)];
    let instance = Plan::new("cp-1", &way).start().await;
    let api = Api::to(instance.address());
    let node = Node::start("n1", &[instance.address()]);
    api.set(1_000).await;
    let forgets = tokio::spawn(async move {
        loop {
            let now = store.status().await.unwrap().revision;
            // Another compaction may have been there.
            let _ = store.compact(now).await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    let mut writer = Writer::new(std::slice::from_ref(&api), "w");
    for value in 1_001..=1_040 {
        writer.write(value).await;
        if value % 10 == 0 {
            // The watch begins anew, at what may be forgotten by then.
            wire.cut();
        }
        sleep(Duration::from_millis(30)).await;
    }
    forgets.abort();
    let seen = node.at(1_040).await;
    assert_eq!((seen.welcomes, seen.mismatches), (1, 0));
    assert!(seen.values.is_sorted(), "{:?}", seen.values);
    let expected: Vec<(u64, u64)> = (1..=41).map(|at| (at, 999 + at)).collect();
    assert_eq!(api.history().await, expected);
}

#[tokio::test]
async fn an_instance_that_never_reached_its_store_says_so_and_lets_nobody_in() {
    let mut etcd = Etcd::start().await;
    let members = [etcd.endpoint()];
    etcd.kill();
    let instance = Plan::new("cp-1", &members).start().await;
    let api = Api::to(instance.address());
    let node = Node::start("n1", &[instance.address()]);
    let listed = api
        .nodes()
        .list_nodes(pb::ListNodesRequest::default())
        .await;
    assert_eq!(listed.unwrap_err().code(), Code::Unavailable);
    let profiles = api
        .profiles()
        .list_profiles(pb::ListProfilesRequest {})
        .await;
    assert_eq!(profiles.unwrap_err().code(), Code::Unavailable);
    assert_eq!(node.now().welcomes, 0);
    etcd.start_again().await;
    node.connected_to("cp-1").await;
    let store = connect(&members).await;
    let list = List {
        prefix: Bytes::from_static(b"/weir/v1/default/cfg/meta/"),
        entries_max: 10,
        ..List::default()
    };
    let page = store.list(list).await.unwrap();
    assert_eq!(page.entries.len(), 1, "one epoch");
    assert!(page.revision > Revision(1));
}
