//! Streams of nodes, with simulated time: nobody waits for a node, and no node waits for ever.

mod crowds;
mod world;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tonic::Code;
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::control_message::Message;
use weir_proto::control::v1::node_message;

use super::lane::{RESET_AFTER, STALE_AFTER};
use super::resources::ResourceSet;
use crate::view::{NodeRecord, NodeRecords, Standing};
use world::{INSTANCE, STREAM_AGE, World, ack, hello};

/// How exactly deadlines are looked at.
const LOOK: Duration = Duration::from_secs(2);

fn weights(content: u8, version: u64) -> Arc<ResourceSet> {
    let mut set = ResourceSet::default();
    set.put("web", Bytes::from(vec![content]), version);
    Arc::new(set)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A node that the store says to be at an instance.
fn at(instance: &str, boot_id: &str, suspect_since_unix_ms: u64) -> Arc<NodeRecords> {
    let presence = records::Presence {
        node_id: "node-a".to_owned(),
        boot_id: boot_id.to_owned(),
        instance: instance.to_owned(),
        suspect_since_unix_ms,
        ..records::Presence::default()
    };
    let record = NodeRecord {
        presence: Some(Arc::new(presence)),
        status: None,
    };
    Arc::new([("node-a".to_owned(), record)].into())
}

#[tokio::test(start_paused = true)]
async fn who_says_no_hello_is_ended() {
    let world = World::new();
    let since = Instant::now();
    let (status, at) = world.open().await.ended().await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(at - since, secs(10));
    assert_eq!(world.parts.sessions.count().await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_owes_an_answer_is_stale_and_then_ended() {
    let world = World::new();
    world.weights.send_replace(weights(1, 1));
    let mut node = world.let_in(hello("1")).await;
    node.push().await;
    let since = Instant::now();
    sleep(STALE_AFTER - LOOK).await;
    let stale = async || world.parts.sessions.live("node-a").await.unwrap().stale;
    assert!(!stale().await);
    sleep(LOOK * 2).await;
    assert!(stale().await);
    // What changes meanwhile waits, and heartbeats are no answer.
    world.weights.send_replace(weights(2, 2));
    node.say(node_message::Message::Heartbeat(
        pb::NodeHeartbeat::default(),
    ))
    .await;
    let (status, at) = node.ended().await;
    assert_eq!(status.message(), "a push was not answered in time");
    let waited = at - since;
    assert!(
        waited >= RESET_AFTER && waited <= RESET_AFTER + LOOK,
        "{waited:?}"
    );
    sleep(secs(1)).await;
    assert_eq!(world.parts.sessions.count().await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_answers_after_all_is_not_stale_any_more() {
    let world = World::new();
    world.weights.send_replace(weights(1, 1));
    let mut node = world.let_in(hello("1")).await;
    let push = node.push().await;
    sleep(STALE_AFTER + LOOK).await;
    node.say(ack(&push)).await;
    sleep(LOOK).await;
    assert!(!world.parts.sessions.live("node-a").await.unwrap().stale);
    world.weights.send_replace(weights(2, 2));
    let push = node.push().await;
    assert_eq!((push.reset, push.from_version), (false, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_let_in_before_all_of_the_store_was_read() {
    let world = World::new();
    world.weights.send_replace(weights(1, 1));
    world.live.send_replace(Standing::default());
    let refused = world.greet(hello("1")).await.ended().await.0;
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.message(), "the store was not read yet");
    let mut node = world.greet(hello("1")).await;
    sleep(secs(2)).await;
    let read = Standing {
        complete: true,
        ..Standing::default()
    };
    world.live.send_replace(read);
    assert!(matches!(node.next().await, Ok(Message::Welcome(_))));
    node.push().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_node_holds_is_not_sent_again() {
    let world = World::new();
    let there = weights(1, 5);
    world.weights.send_replace(Arc::clone(&there));
    let holding = |epoch: &str, version: u64, hash: [u8; 16]| pb::Hello {
        resume: vec![pb::ResumePoint {
            r#type: pb::ResourceType::Weights as i32,
            epoch: epoch.to_owned(),
            version,
            set_hash: hash.to_vec(),
        }],
        ..hello("1")
    };
    for (epoch, version) in [("epoch", 5), ("epoch", 3), ("other", 99)] {
        let mut node = world
            .let_in(holding(epoch, version, there.set_hash()))
            .await;
        assert!(!node.is_pushed().await, "{epoch} {version}");
    }
    // A node that is ahead may know better, as long as the store does not answer.
    let mut ahead = world.let_in(holding("epoch", 9, [7; 16])).await;
    assert!(!ahead.is_pushed().await);
    // Versions of another epoch say nothing.
    for (epoch, version) in [("other", 4), ("epoch", 0)] {
        let mut node = world.let_in(holding(epoch, version, [7; 16])).await;
        assert!(node.push().await.reset, "{epoch} {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_the_younger_stays() {
    let world = World::new();
    let mut older = world.let_in(hello("1")).await;
    let mut younger = world.let_in(hello("2")).await;
    assert!(older.go_away().await.superseded);
    older.ended().await;
    let mut again = world.greet(hello("1")).await;
    let away = again.go_away().await;
    assert!(away.superseded && away.retry_after_ms > 0, "{away:?}");
    again.ended().await;
    world.weights.send_replace(weights(1, 1));
    younger.push().await;
}

#[tokio::test(start_paused = true)]
async fn a_younger_process_at_another_instance_counts_as_well() {
    let world = World::new();
    let mut node = world.let_in(hello("2")).await;
    // What this instance says itself, and what others say of older ones, changes nothing.
    for records in [at(INSTANCE, "3", 0), at("cp-2", "1", 0), at("cp-2", "2", 0)] {
        world.nodes.send_replace(records);
        sleep(secs(1)).await;
        assert!(world.parts.sessions.has("node-a").await);
    }
    world.nodes.send_replace(at("cp-2", "3", 0));
    assert!(node.go_away().await.superseded);
    node.ended().await;
    assert!(world.greet(hello("2")).await.go_away().await.superseded);
    // It may be dead by now: then the older one is let in.
    world.nodes.send_replace(at("cp-2", "3", 1));
    world.let_in(hello("2")).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stops_sends_its_nodes_elsewhere() {
    let world = World::new();
    let mut node = world.let_in(hello("1")).await;
    world.stop.send_replace(true);
    let away = node.go_away().await;
    assert!(!away.superseded);
    assert_eq!(away.retry_after_ms, 0);
    assert_eq!(node.ended().await.0.code(), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn an_old_stream_is_renewed() {
    let world = World::new();
    let since = Instant::now();
    let mut node = world.let_in(hello("1")).await;
    let mut away = None;
    while away.is_none() {
        away = match node.next().await.unwrap() {
            Message::GoAway(away) => Some(away),
            Message::Push(push) => {
                node.say(ack(&push)).await;
                None
            }
            _ => None,
        };
    }
    assert!(!away.unwrap().superseded);
    let age = since.elapsed();
    assert!(
        age >= STREAM_AGE.mul_f64(0.9) && age <= STREAM_AGE.mul_f64(1.1),
        "{age:?}"
    );
    world.let_in(hello("1")).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_node_says_of_its_profile_is_known_at_once() {
    let world = World::new();
    let state = pb::ProfileState {
        origin: "none".to_owned(),
        ..pb::ProfileState::default()
    };
    let first = pb::Hello {
        profile: Some(state.clone()),
        ..hello("1")
    };
    let node = world.let_in(first).await;
    let known = async || {
        world
            .parts
            .sessions
            .live("node-a")
            .await
            .unwrap()
            .profile
            .clone()
    };
    assert_eq!(known().await, state);
    let next = pb::ProfileState {
        last_attempt: pb::ApplyStatus::Rejected as i32,
        ..state
    };
    node.say(node_message::Message::ProfileState(next.clone()))
        .await;
    let heartbeat = pb::NodeHeartbeat {
        seq: 3,
        ..pb::NodeHeartbeat::default()
    };
    node.say(node_message::Message::Heartbeat(heartbeat)).await;
    sleep(secs(1)).await;
    assert_eq!(known().await, next);
    let live = world.parts.sessions.live("node-a").await.unwrap();
    assert_eq!(live.heartbeat.unwrap().seq, 3);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_ended_for_a_fault_ends_at_once() {
    let world = World::new();
    let node = world.let_in(hello("1")).await;
    let since = Instant::now();
    node.say(node_message::Message::Hello(hello("1"))).await;
    let (status, at) = node.ended().await;
    assert_eq!(
        (status.code(), at - since),
        (Code::InvalidArgument, Duration::ZERO)
    );
    // The next one is let in while the node still counts as one that may come back.
    world.let_in(hello("1")).await;
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_costs_a_push_and_is_ended_all_the_same() {
    let world = World::new();
    let big = |version: u64| {
        let mut set = ResourceSet::default();
        set.put("web", Bytes::from(vec![7; 1 << 20]), version);
        Arc::new(set)
    };
    world.weights.send_replace(big(1));
    let _node = world.greet(hello("1")).await;
    sleep(secs(1)).await;
    assert!(world.parts.sessions.has("node-a").await);
    for version in 2..20 {
        world.weights.send_replace(big(version));
        sleep(secs(1)).await;
    }
    sleep(RESET_AFTER).await;
    assert!(!world.parts.sessions.has("node-a").await);
}
