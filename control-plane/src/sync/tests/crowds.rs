//! Many nodes at once, too many, and sets that are too large.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::control_message::Message;

use super::world::{Node, World, ack, hello};
use crate::quota::Bounds;
use crate::store::memory::{MemoryStore, Options};
use crate::sync::resources::{ResourceSet, SET_BYTES_MAX};
use crate::view::Census;

const CROWD: usize = 200;

fn called(id: &str, kind: pb::ResourceType) -> pb::Hello {
    pb::Hello {
        node_id: id.to_owned(),
        subscribe: vec![kind as i32],
        ..hello("1")
    }
}

/// Answers every push, and counts pushes and the resources in them.
fn obey(mut node: Node) -> watch::Receiver<(usize, usize)> {
    let (tell, told) = watch::channel((0, 0));
    tokio::spawn(async move {
        while let Ok(message) = node.next().await {
            if let Message::Push(push) = message {
                tell.send_modify(|(pushes, resources)| {
                    *pushes += 1;
                    *resources += push.resources.len();
                });
                node.say(ack(&push)).await;
            }
        }
    });
    told
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_joins_within_a_second_is_told_to_each_node_in_a_few_pushes() {
    let world = World::following(Arc::new(MemoryStore::start(Options::new(1))));
    let peers = pb::ResourceType::Peers;
    let first = obey(world.let_in(called("first", peers)).await);
    // The store is read, and the first node is alone for a while.
    sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    let mut crowd = vec![first.clone()];
    for at in 0..CROWD {
        crowd.push(obey(world.let_in(called(&format!("n{at}"), peers)).await));
        sleep(Duration::from_millis(5)).await;
    }
    assert!(
        begun.elapsed() < Duration::from_millis(1_100),
        "{:?}",
        begun.elapsed()
    );
    sleep(Duration::from_secs(5)).await;
    for told in &crowd {
        let (pushes, resources) = *told.borrow();
        assert!((1..=4).contains(&pushes), "{pushes} pushes");
        assert!(
            resources <= CROWD + 2,
            "{resources} resources: one was told twice"
        );
    }
    assert_eq!(first.borrow().1, CROWD + 1, "it knows all");
    assert_eq!(world.parts.view.nodes_census.borrow().len(), CROWD + 1);
}

#[tokio::test(start_paused = true)]
async fn one_node_that_joins_is_told_to_others_at_once() {
    let world = World::following(Arc::new(MemoryStore::start(Options::new(1))));
    let peers = pb::ResourceType::Peers;
    let mut first = obey(world.let_in(called("first", peers)).await);
    sleep(Duration::from_secs(5)).await;
    let joined = Instant::now();
    let _second = obey(world.let_in(called("second", peers)).await);
    first
        .wait_for(|(_, resources)| *resources == 2)
        .await
        .unwrap();
    assert!(
        joined.elapsed() < Duration::from_millis(50),
        "{:?}",
        joined.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_too_many_is_turned_away_with_the_bound_and_known_ones_are_not() {
    let world = World::with(Bounds {
        nodes_max: 1,
        ..Bounds::default()
    });
    let weights = pb::ResourceType::Weights;
    let one = world.let_in(called("one", weights)).await;
    let mut two = world.greet(called("two", weights)).await;
    let away = two.go_away().await;
    let told = "the namespace has 1 nodes, which is the most (--nodes-max)";
    assert_eq!((&*away.reason, away.superseded), (told, false));
    assert!(away.retry_after_ms > 0);
    drop(one);
    world.let_in(called("one", weights)).await;
    // The store knows it by now, and then somebody forgets it.
    let mut known = Census::default();
    known.put("one", "");
    world.census.send_replace(Arc::new(known));
    sleep(Duration::from_secs(60)).await;
    world.greet(called("two", weights)).await.go_away().await;
    world.census.send_replace(Arc::default());
    world.let_in(called("two", weights)).await;
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_too_large_is_not_pushed_and_holds_up_no_other() {
    let world = World::new();
    let mut large = ResourceSet::default();
    large.put("a", Bytes::from(vec![0; SET_BYTES_MAX]), 1);
    world.endpoints.send_replace(Arc::new(large.clone()));
    let mut weights = ResourceSet::default();
    weights.put("web", Bytes::from(vec![1]), 1);
    world.weights.send_replace(Arc::new(weights));
    let subscribe = [pb::ResourceType::Endpoints, pb::ResourceType::Weights];
    let subscribe = subscribe.map(|kind| kind as i32).to_vec();
    let hello = pb::Hello {
        subscribe,
        ..hello("1")
    };
    let mut node = world.let_in(hello).await;
    let push = node.push().await;
    assert_eq!(push.r#type(), pb::ResourceType::Weights);
    node.say(ack(&push)).await;
    assert!(!node.is_pushed().await);
    let told = world.parts.view.oversized();
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    let bytes = SET_BYTES_MAX + 41;
    let expected = format!(
        "registered backends have {bytes} bytes, and one push at most {SET_BYTES_MAX}: \
         nodes keep what they hold of them"
    );
    assert_eq!(told, [expected]);
    large.remove("a", 2);
    large.put("b", Bytes::from(vec![1]), 2);
    world.endpoints.send_replace(Arc::new(large));
    assert_eq!(node.push().await.r#type(), pb::ResourceType::Endpoints);
}
