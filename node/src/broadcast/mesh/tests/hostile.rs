//! Nodes that may not take part, say what cannot be, or change their minds all the time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::sleep;
use weir_broadcast::{Draft, Remote, Since};
use weir_control_plane::governance::secret::SecretRef;
use weir_core::broadcast::{Epoch, Position};

use super::super::Ack;
use super::world::World;
use crate::peers::{PeerKey, WayIn};

#[tokio::test(start_paused = true)]
async fn a_node_without_the_token_of_the_mesh_is_told_nothing_by_the_others() {
    LocalSet::new()
        .run_until(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("token");
            std::fs::write(&path, "of-the-mesh").unwrap();
            let key = || PeerKey::new(Some(&SecretRef::File(path.clone())));
            let keys = BTreeMap::from([("a", key()), ("b", key())]);
            let world = World::with_keys(3, keys).await;
            sleep(Duration::from_secs(5)).await;
            // It asks nobody, so the others reach it; it reaches none of them.
            for (node, live) in [("a", vec!["a", "b", "c"]), ("c", vec!["c"])] {
                assert_eq!(world.nodes[node].mesh.view().live, live);
            }
            let topic = world.topic_of("a", "b");
            let receipt = world.publish("b", &topic, "0", Ack::Replicated).await;
            assert!(receipt.is_replicated);
            assert_eq!(world.nodes["c"].topics.position(&topic), None);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_epoch_is_not_the_latest_begins_a_later_one_when_it_is_told() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            let subscriber = world.subscribe("c", &topic, Since::Now).await;
            let receipt = world.publish("a", &topic, "0", Ack::Owner).await;
            subscriber.has(1).await;
            let later = Position {
                epoch: Epoch(receipt.published.position.epoch.0 + (1 << 40)),
                offset: 1,
            };
            let remote = Remote {
                draft: Draft::new(topic.clone(), "of another life"),
                position: later,
                after: 0,
                published_at: world.nodes["c"].mesh.now(),
            };
            let now = world.nodes["c"].mesh.now();
            assert!(world.nodes["c"].topics.accept(remote, now).unwrap());
            world.publish("a", &topic, "not taken", Ack::Owner).await;
            sleep(Duration::from_secs(1)).await;
            let receipt = world.publish("a", &topic, "1", Ack::Owner).await;
            assert!(receipt.published.position.epoch > later.epoch);
            subscriber.has(3).await;
            assert_eq!(subscriber.texts(), ["0", "of another life", "1"]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn patterns_that_come_and_go_all_the_time_keep_nobody_from_messages() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            for n in 0..200 {
                let topic = weir_core::broadcast::TopicName::new(&format!("old.{n}")).unwrap();
                world.publish("a", &topic, "old", Ack::Owner).await;
            }
            let stays = world.subscribe_pattern("c", "t.*");
            for n in 0..500 {
                drop(world.subscribe_pattern("b", &format!("p{n}.*")));
                sleep(Duration::from_millis(1)).await;
            }
            let late = world.subscribe_pattern("b", "t.>");
            sleep(Duration::from_millis(500)).await;
            for owner in ["a", "b", "a"] {
                let topic = world.topic_of(owner, "c");
                world.publish("a", &topic, owner, Ack::Owner).await;
            }
            for subscriber in [&stays, &late] {
                subscriber.has(3).await;
                assert_eq!(subscriber.gaps(), []);
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_is_sent_away_is_told_of_a_node_that_lives_by_the_way_that_they_came() {
    LocalSet::new()
        .run_until(async {
            let mut world = World::new(2).await;
            let elsewhere = |world: &World, way| world.nodes["a"].mesh.elsewhere(way);
            for (way, address) in [
                (WayIn::Ingress, "b:8080"),
                (WayIn::HttpApi, "b:80"),
                (WayIn::Grpc, "b:1"),
            ] {
                assert_eq!(elsewhere(&world, way), [address]);
            }
            world.kill("b");
            sleep(Duration::from_secs(5)).await;
            assert_eq!(elsewhere(&world, WayIn::Ingress), [""; 0]);
        })
        .await;
}
