//! What subscribers by pattern are told of topics of other nodes that begin late.

use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::sleep;
use weir_core::broadcast::TopicName;

use super::super::Ack;
use super::numbers;
use super::world::World;

/// Publishes messages `from..to`, so fast that no node hears of the first before the last is there: the history has
/// the last 100.
async fn publish(world: &World, topic: &TopicName, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let text = number.to_string();
        world.publish("a", topic, &text, Ack::Owner).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_of_a_new_topic_is_told_to_whom_a_pattern_gives_it_on_another_node() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let subscriber = world.subscribe_pattern("c", "t.*");
            sleep(Duration::from_millis(500)).await;
            publish(&world, &world.topic_of("a", "b"), 0..150).await;
            subscriber.has(100).await;
            assert_eq!(subscriber.texts(), numbers(50..150));
            assert_eq!(subscriber.gaps(), [(1, 50)]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_of_a_topic_that_came_up_while_a_node_was_cut_off_is_told_when_it_is_back() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let subscriber = world.subscribe_pattern("c", "t.*");
            sleep(Duration::from_millis(500)).await;
            let topic = world.topic_of("a", "b");
            world.cut("c");
            sleep(Duration::from_secs(6)).await;
            publish(&world, &topic, 0..150).await;
            sleep(Duration::from_secs(1)).await;
            world.heal("c");
            subscriber.has(100).await;
            assert_eq!(subscriber.gaps(), [(1, 50)]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_pattern_is_told_of_no_gap_in_what_was_before_it() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            publish(&world, &topic, 0..150).await;
            sleep(Duration::from_millis(500)).await;
            let subscriber = world.subscribe_pattern("c", "t.*");
            sleep(Duration::from_millis(500)).await;
            publish(&world, &topic, 150..151).await;
            subscriber.has(1).await;
            assert_eq!(subscriber.texts(), numbers(150..151));
            assert_eq!(subscriber.gaps(), []);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_pattern_is_told_of_no_gap_either_while_the_topic_goes_on() {
    LocalSet::new()
        .run_until(async {
            let world = World::new(3).await;
            let topic = world.topic_of("a", "b");
            publish(&world, &topic, 0..150).await;
            sleep(Duration::from_millis(500)).await;
            let subscriber = world.subscribe_pattern("c", "t.*");
            for number in 150..250 {
                publish(&world, &topic, number..number + 1).await;
                sleep(Duration::from_millis(2)).await;
            }
            sleep(Duration::from_secs(1)).await;
            assert_eq!(subscriber.texts().last().map(String::as_str), Some("249"));
            assert_eq!(subscriber.gaps(), []);
        })
        .await;
}
