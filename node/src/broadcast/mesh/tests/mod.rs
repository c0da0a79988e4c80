//! Three nodes, what is lost on the way between them, and what subscribers are told of it.

mod hostile;
mod patterns;
mod world;

use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};
use weir_broadcast::{Draft, Since};
use weir_core::broadcast::Class;

use self::world::World;
use super::Ack;

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_to_subscribers_of_every_node_once_and_in_order() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            let early = world.subscribe("c", &topic, Since::Now).await;
            for n in 0..20 {
                let from = ["a", "b", "c"][n % 3];
                let receipt = world
                    .publish(from, &topic, &n.to_string(), Ack::Owner)
                    .await;
                assert_eq!(receipt.published.position.offset, n as u64 + 1);
            }
            let late = world.subscribe("b", &topic, Since::Start).await;
            let beside = world.subscribe("a", &topic, Since::Start).await;
            for subscriber in [&early, &late, &beside] {
                subscriber.has(20).await;
                assert_eq!(subscriber.texts(), numbers(0..20));
                assert_eq!((subscriber.restarts(), subscriber.gaps().len()), (0, 0));
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_pattern_takes_the_first_message_of_a_topic_that_another_node_makes() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let subscriber = world.subscribe_pattern("c", "t.*");
            sleep(Duration::from_millis(50)).await;
            for (n, owner) in ["a", "b", "a"].into_iter().enumerate() {
                let topic = world.topic_of(owner, "c");
                world.publish("b", &topic, &n.to_string(), Ack::Owner).await;
                subscriber.has(n + 1).await;
            }
            assert_eq!(subscriber.texts(), numbers(0..3));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_owner_loses_nothing_that_was_acknowledged_or_seen_and_its_epoch_goes_on() {
    LocalSet::new()
        .run_until(async {
            let mut world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            let subscriber = world.subscribe("c", &topic, Since::Now).await;
            let mut epoch = None;
            for n in 0..10 {
                let receipt = world
                    .publish("c", &topic, &n.to_string(), Ack::Replicated)
                    .await;
                assert!(receipt.is_replicated, "{n}");
                epoch = Some(receipt.published.position.epoch);
            }
            world.kill("a");
            for n in 10..20 {
                let receipt = world.publish("c", &topic, &n.to_string(), Ack::Owner).await;
                assert_eq!(Some(receipt.published.position.epoch), epoch);
                assert_eq!(receipt.published.position.offset, n + 1);
            }
            subscriber.has(20).await;
            assert_eq!(subscriber.texts(), numbers(0..20));
            assert_eq!((subscriber.restarts(), subscriber.gaps().len()), (0, 0));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_numbered_before_its_owner_was_killed_is_not_numbered_again() {
    LocalSet::new()
        .run_until(async {
            let mut world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            world.publish("c", &topic, "0", Ack::Replicated).await;
            let draft = |text: &str| Draft {
                idempotency_key: Some("once".into()),
                ..Draft::new(topic.clone(), text.to_owned())
            };
            let first = world.nodes["c"]
                .mesh
                .publish(draft("1"), Ack::Replicated)
                .await
                .unwrap();
            assert!(first.is_replicated);
            world.kill("a");
            let second = world.nodes["c"]
                .mesh
                .publish(draft("1"), Ack::Owner)
                .await
                .unwrap();
            assert!(second.published.is_duplicate);
            assert_eq!(second.published.position, first.published.position);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_cut_off_and_comes_back_skips_nothing_without_a_word() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            let there = world.subscribe("a", &topic, Since::Now).await;
            let here = world.subscribe("c", &topic, Since::Now).await;
            world.publish("c", &topic, "0", Ack::Replicated).await;
            world.cut("a");
            sleep(Duration::from_secs(6)).await;
            assert_eq!(world.nodes["c"].mesh.view().live, ["b", "c"]);
            world.publish("c", &topic, "1", Ack::Owner).await;
            world.publish("a", &topic, "alone", Ack::Owner).await;
            here.has(2).await;
            assert_eq!((here.texts(), here.restarts()), (numbers(0..2), 1));
            world.heal("a");
            sleep(Duration::from_secs(10)).await;
            for node in world.nodes.values() {
                assert_eq!(node.mesh.view().live, ["a", "b", "c"]);
            }
            world.publish("b", &topic, "2", Ack::Replicated).await;
            here.has(3).await;
            there.has(3).await;
            assert_eq!(here.texts(), numbers(0..3));
            assert_eq!(there.texts(), ["0", "alone", "2"]);
            // Each new life was told.
            assert!(here.restarts() >= 2 && there.restarts() >= 1);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_gets_what_it_missed_from_where_it_is() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            let subscriber = world.subscribe("c", &topic, Since::Now).await;
            world.publish("a", &topic, "0", Ack::Replicated).await;
            subscriber.has(1).await;
            world.cut("c");
            for n in 1..50 {
                world
                    .publish("a", &topic, &n.to_string(), Ack::Replicated)
                    .await;
            }
            world.heal("c");
            subscriber.has(50).await;
            assert_eq!(subscriber.texts(), numbers(0..50));
            world.cut("c");
            for n in 50..250 {
                world.publish("a", &topic, &n.to_string(), Ack::Owner).await;
            }
            sleep(Duration::from_millis(100)).await;
            world.heal("c");
            subscriber.has(150).await;
            assert_eq!(subscriber.gaps(), [(51, 150)]);
            assert_eq!(subscriber.restarts(), 0);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_cut_off_holds_messages_up_for_a_moment_only() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            let subscriber = world.subscribe("a", &topic, Since::Now).await;
            assert!(
                world
                    .publish("a", &topic, "0", Ack::Replicated)
                    .await
                    .is_replicated
            );
            world.cut("b");
            let began = Instant::now();
            assert!(
                !world
                    .publish("a", &topic, "1", Ack::Replicated)
                    .await
                    .is_replicated
            );
            subscriber.has(2).await;
            assert!(
                began.elapsed() <= Duration::from_millis(2_100),
                "{:?}",
                began.elapsed()
            );
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_hands_its_topics_over_in_their_epoch() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            let subscriber = world.subscribe("c", &topic, Since::Now).await;
            world.publish("c", &topic, "0", Ack::Replicated).await;
            let (leaving, publishes) = (world.nodes["a"].mesh.leave(), async {
                for n in 1..20 {
                    world.publish("a", &topic, &n.to_string(), Ack::Owner).await;
                }
            });
            futures::future::join(leaving, publishes).await;
            subscriber.has(20).await;
            assert_eq!(subscriber.texts(), numbers(0..20));
            assert_eq!((subscriber.restarts(), subscriber.gaps().len()), (0, 0));
            assert_eq!(world.nodes["c"].mesh.view().owner(&topic), "b");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_holds_up_nothing_of_which_it_was_the_replica() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(2).await;
            let topic = world.topic_of("b", "a");
            let subscriber = world.subscribe("b", &topic, Since::Now).await;
            let receipt = world.publish("b", &topic, "0", Ack::Replicated).await;
            assert!(receipt.is_replicated);
            world.nodes["a"].mesh.leave().await;
            let began = Instant::now();
            for n in 1..20 {
                world.publish("b", &topic, &n.to_string(), Ack::Owner).await;
                subscriber.has(n + 1).await;
            }
            let took = began.elapsed();
            assert!(took < Duration::from_secs(1), "{took:?}");
            assert_eq!(subscriber.texts(), numbers(0..20));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_number_comes_too_and_interest_ends_after_a_while() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            let draft = || Draft {
                class: Class::Ephemeral,
                ..Draft::new(topic.clone(), "now")
            };
            let subscriber = world.subscribe("c", &topic, Since::Now).await;
            world.nodes["b"]
                .mesh
                .publish(draft(), Ack::Owner)
                .await
                .unwrap();
            subscriber.has(1).await;
            drop(subscriber);
            sleep(Duration::from_secs(31)).await;
            let before = world.nodes["c"].topics.published();
            world.nodes["b"]
                .mesh
                .publish(draft(), Ack::Owner)
                .await
                .unwrap();
            sleep(Duration::from_millis(100)).await;
            let canaries = 1;
            assert!(world.nodes["c"].topics.published() <= before + canaries);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_messages_do_not_come_is_told_of() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            sleep(Duration::from_secs(5)).await;
            let status = world.nodes["b"].mesh.canary();
            assert_eq!(status.from.as_deref(), Some("a"));
            assert!(
                status.received >= 3 && status.lost == 0 && !status.is_silent,
                "{status:?}"
            );
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_nobody_wants_is_forgotten_on_its_replica_too() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(2).await;
            let topic = world.topic_of("a", "b");
            world.publish("a", &topic, "0", Ack::Replicated).await;
            for _ in 0..450 {
                sleep(Duration::from_secs(1)).await;
                for node in world.nodes.values() {
                    node.topics.sweep(node.mesh.now());
                }
            }
            for node in world.nodes.values() {
                assert_eq!(node.topics.position(&topic), None);
            }
            let receipt = world.publish("b", &topic, "1", Ack::Replicated).await;
            assert!(receipt.is_replicated);
        })
        .await;
}
