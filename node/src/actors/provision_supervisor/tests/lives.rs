//! Lives of the actor, and the end of its node.

use super::killed::job;
use super::*;

const CONFIG: &str = "[provision]\nhost_ports = \"21700-21799\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\n\
                      max = 3\n";

#[tokio::test(start_paused = true)]
async fn an_actor_that_panicked_looks_at_what_runs_as_often_as_before() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        sleep(seconds(60)).await;
        let (before, lists) = (world.machine.lists(), seconds(100));
        sleep(lists).await;
        let once = world.machine.lists() - before;
        for _ in 0..4 {
            node.crash.offer(Crash).unwrap();
            sleep(seconds(20)).await;
        }
        let before = world.machine.lists();
        sleep(lists).await;
        let after_panics = world.machine.lists() - before;
        assert!(after_panics <= once + 2, "{after_panics} for {once}");
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_asked_for_before_a_panic_is_given_back_at_once() {
    let mut world = World::new();
    let jobs = world.jobs(99);
    for key in ["one", "two", "three"] {
        jobs.enqueue(job(key)).await.unwrap();
    }
    // With one that waits two may be in hand.
    let config = CONFIG.replace("[provision]\n", "[provision]\nconcurrent_max = 1\n");
    let (mut life, node) = world.node_by("a", &config, &Way::slow(), Table::default());
    let test = async {
        // The store has made the claim, and the answer is on its way.
        while world.held().await.is_empty() {
            sleep(LOOK_INTERVAL).await;
        }
        node.crash.offer(Crash).unwrap();
        sleep(seconds(90)).await;
        for done in world.all_jobs().await {
            let is_done = (done.state(), done.attempt);
            assert_eq!(is_done, (State::Done, 1), "no claim ended by itself");
        }
        let held = ["tv-1", "tv-2", "tv-3"].map(|id| format!("hold/engine:{id}"));
        assert_eq!(world.held().await, held);
        assert_eq!(node.inside().await.in_hand, 0);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_gives_its_jobs_back_without_counting_the_attempt() {
    let mut world = World::new();
    let jobs = world.jobs(99);
    jobs.enqueue(job("one")).await.unwrap();
    world.machine.is_sick("tv-1", true);
    let (mut life, node) = world.node("a", CONFIG);
    let stop = async {
        until("started", seconds(5), || {
            !world.machine.running().is_empty()
        })
        .await;
        node.handle.leave().await;
    };
    live(&mut [&mut life], stop).await;
    drop((life, node));
    let [left] = &world.all_jobs().await[..] else {
        panic!("one job");
    };
    assert_eq!((left.state(), left.attempt), (State::Ready, 0), "{left:?}");
    assert_eq!(world.held().await, [""; 0]);
    assert_eq!(world.machine.left(), 0);

    world.machine.is_sick("tv-1", false);
    let (mut life, _node) = world.node("b", CONFIG);
    let done = live(&mut [&mut life], world.job_done_within(seconds(5))).await;
    assert_eq!(done.attempt, 1);
}
