//! How many jobs may be open.

use std::sync::atomic::AtomicUsize;

use weir_core::provision::RefusalCode;

use super::outside::Start;
use super::*;
use crate::events::Limit;

const CONFIG: &str = "[provision]\nhost_ports = \"22000-22099\"\nqueue_max = 3\n\
                      [services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\nmax = 100\n";

fn with_queue_max(queue_max: u32) -> String {
    CONFIG.replace("queue_max = 3", &format!("queue_max = {queue_max}"))
}

fn times_limited(node: &Node) -> u64 {
    let mut limits = node.parts.events.limits();
    limits
        .find(|(limit, _)| *limit == Limit::Queue)
        .map(|(_, times)| times)
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_wish_more_than_jobs_may_be_open_is_refused_and_the_bound_holds_as_it_is_configured_now()
 {
    let mut world = World::new();
    world.machine.starts(Start::Hangs);
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        for key in ["one", "two", "three"] {
            node.wish(key).await.unwrap();
        }
        let refused = node.wish("four").await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::QueueFull);
        let told = "provision.queue_max: 3 jobs are open, and 3 may be";
        assert_eq!(refused.message, told);
        assert_eq!(refused.recovery_eta, Some(Duration::from_millis(500)));
        assert!(refused.can_retry() && refused.should_wait());
        assert!(node.wish("two").await.unwrap().already, "it has its job");
        node.configure(&with_queue_max(4)).await;
        node.wish("four").await.unwrap();
        node.configure(&with_queue_max(2)).await;
        let refused = node.wish("five").await.unwrap_err();
        let bound = refused.wrong.unwrap();
        assert_eq!((&*bound.value, &*bound.bound), ("4", "less than 2"));
        // What was taken is done all the same.
        let machine = &world.machine;
        until("begun", seconds(10), || machine.begun().len() == 4).await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_wish_at_once_open_no_more_jobs_than_there_may_be() {
    let mut world = World::new();
    world.machine.starts(Start::Hangs);
    let config = with_queue_max(10);
    let (mut life_a, a) = world.node("a", &config);
    let (mut life_b, b) = world.node("b", &config);
    let (mut life_c, c) = world.node("c", &config);
    let (taken, full) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let test = async {
        sleep(LOOK_INTERVAL).await;
        let wishes = (0..60).map(async |number| {
            let node = [&a, &b, &c][number % 3];
            match node.wish(&format!("wish-{number}")).await {
                Ok(_) => &taken,
                Err(refused) => {
                    assert_eq!(refused.code, RefusalCode::QueueFull, "{refused}");
                    &full
                }
            }
            .fetch_add(1, Ordering::Relaxed);
        });
        futures::future::join_all(wishes).await;
        assert_eq!(taken.load(Ordering::Relaxed), 10);
        assert_eq!(full.load(Ordering::Relaxed), 50);
        assert_eq!(world.all_jobs().await.len(), 10);
    };
    live(&mut [&mut life_a, &mut life_b, &mut life_c], test).await;
}

#[tokio::test(start_paused = true)]
async fn engines_that_are_missing_wait_for_a_place_in_the_queue_and_that_is_told() {
    let mut world = World::new();
    let config = with_queue_max(1).replace("min = 0", "min = 3");
    let (mut life, node) = world.node("a", &config);
    world.machine.starts(Start::Runs(seconds(5)));
    let test = async {
        sleep(LOOK_INTERVAL).await;
        node.scale();
        until("limited", seconds(10), || times_limited(&node) > 0).await;
        until("three", seconds(60), || node.engines("ready").len() == 3).await;
        assert_eq!(world.all_jobs().await.len(), 3);
    };
    live(&mut [&mut life], test).await;
}
