//! The instance that leads is killed, or frozen for longer than its lease.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_proto::control::v1 as pb;

use super::etcd::Etcd;
use super::mesh::Node;
use super::processes::{Api, Instance, set};
use crate::common::PATIENCE;

/// Waits until this instance says who leads.
async fn leads(api: &Api, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = api.status().await;
        if status.is_ok_and(|status| status.leader == name) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} does not lead");
        sleep(Duration::from_millis(50)).await;
    }
}

fn is_at(name: &str) -> impl Fn(&pb::NodeInfo) -> bool {
    move |node| node.presence() == pb::Presence::Connected && node.instance == name
}

/// Whether any node was shown as away, until the watch ends.
fn sees_away(
    mut lists: tonic::Streaming<pb::ListNodesResponse>,
) -> tokio::task::JoinHandle<Vec<pb::NodeInfo>> {
    tokio::spawn(async move {
        let mut away = Vec::new();
        while let Ok(Some(list)) = lists.message().await {
            let is_away = |node: &pb::NodeInfo| node.presence() == pb::Presence::Away;
            away.extend(list.nodes.into_iter().filter(is_away));
        }
        away
    })
}

#[tokio::test]
async fn nodes_of_an_instance_that_is_killed_go_on_at_the_other_and_carry_everything() {
    let etcd = Etcd::start().await;
    let members = [etcd.endpoint()];
    let mut first = Instance::start("cp-1", &members).await;
    let mut second = Instance::start("cp-2", &members).await;
    let mover = Node::start("mover", &[&first, &second]).await;
    let stayer = Node::start("stayer", &[&second]).await;
    second
        .api
        .until_node("stayer", "there", is_at("cp-2"))
        .await;
    let is_there = |node: &pb::NodeInfo| node.presence() == pb::Presence::Connected;
    let mut acknowledged = Vec::new();
    acknowledged.push((set(&[&first.api, &second.api], "fleet", 50, 0).await, 50));
    let at = second
        .api
        .until_node("mover", "there", is_there)
        .await
        .instance;
    let since = second.api.node("stayer").await.unwrap().since_unix_ms;
    // The one that the mover has not chosen is the one that goes on.
    let (dying, living) = match at.as_str() {
        "cp-1" => (&mut first, &mut second),
        _ => (&mut second, &mut first),
    };
    let watched = sees_away(living.api.watch().await);
    dying.kill().await;
    let killed = Instant::now();
    for value in 51..=60 {
        let revision = set(&[&dying.api, &living.api], "fleet", value, 0).await;
        acknowledged.push((revision, value));
    }
    living
        .api
        .until_node("mover", "moved", is_at(&living.name))
        .await;
    let moved_in = killed.elapsed();
    assert!(moved_in < Duration::from_secs(5), "{moved_in:?}");
    mover.has_newest(&living.api).await;
    if living.name == "cp-2" {
        let stays = living.api.node("stayer").await.unwrap();
        assert_eq!(stays.since_unix_ms, since, "it noticed");
    }
    assert_eq!(living.api.history().await, acknowledged);
    leads(&living.api, &living.name).await;
    dying.start_again().await;
    let revision = set(&[&dying.api], "fleet", 61, 0).await;
    assert_eq!(revision, 12);
    stayer.has_newest(&dying.api).await;
    mover.has_newest(&dying.api).await;
    living.kill().await;
    let away = watched.await.unwrap();
    assert!(away.iter().all(|node| node.node_id == "stayer"), "{away:?}");
    mover.carried_everything().await;
    stayer.carried_everything().await;
}

#[tokio::test]
async fn an_instance_that_was_frozen_comes_back_as_a_follower_and_its_nodes_catch_up() {
    let etcd = Etcd::start().await;
    let members = [etcd.endpoint()];
    let frozen = Instance::start("cp-1", &members).await;
    let other = Instance::start("cp-2", &members).await;
    let of_frozen = Node::start("n1", &[&frozen]).await;
    let of_other = Node::start("n2", &[&other]).await;
    other.api.until_node("n1", "there", is_at("cp-1")).await;
    other.api.until_node("n2", "there", is_at("cp-2")).await;
    let watched = sees_away(other.api.watch().await);
    frozen.freeze();
    let mut revisions = vec![set(&[&other.api], "fleet", 50, 0).await];
    of_other.has_newest(&other.api).await;
    leads(&other.api, "cp-2").await;
    revisions.push(set(&[&frozen.api, &other.api], "fleet", 51, 0).await);
    frozen.thaw();
    leads(&frozen.api, "cp-2").await;
    revisions.push(set(&[&frozen.api, &other.api], "fleet", 52, 0).await);
    assert_eq!(revisions, [1, 2, 3]);
    of_frozen.has_newest(&other.api).await;
    of_other.has_newest(&other.api).await;
    other.api.until_node("n1", "there", is_at("cp-1")).await;
    drop(other);
    let away = watched.await.unwrap();
    assert!(away.is_empty(), "{away:?}");
    of_frozen.carried_everything().await;
    of_other.carried_everything().await;
}

#[tokio::test]
async fn a_name_belongs_to_one_instance_and_is_free_again_soon_after_it_was_killed() {
    let etcd = Etcd::start().await;
    let mut first = Instance::start("cp-1", &[etcd.endpoint()]).await;
    let (code, log) = first.start_twin().await;
    assert_eq!(code, Some(1), "{log}");
    let refused = format!(
        "weir: an instance called `cp-1` runs on this store already and listens at {}; give this one another name \
         (--name), or end that one",
        first.address
    );
    assert_eq!(log.lines().last(), Some(&*refused), "{log}");
    assert!(first.api.status().await.is_ok(), "the first one serves on");
    first.kill().await;
    let killed = Instant::now();
    first.start_again().await;
    let away = killed.elapsed();
    assert!(away < Duration::from_secs(14), "{away:?}");
    assert!(
        first.log().contains("waiting for the name"),
        "{}",
        first.log()
    );
}

#[tokio::test]
async fn an_instance_is_not_called_ready_while_its_etcd_is_away() {
    let mut etcd = Etcd::start().await;
    etcd.kill();
    let instance = Instance::spawn("cp-1", &[etcd.endpoint()]);
    instance
        .says("control plane listens, and is not ready")
        .await;
    assert!(!instance.log().contains("control plane ready"));
    etcd.start_again().await;
    instance.says("control plane ready").await;
}
