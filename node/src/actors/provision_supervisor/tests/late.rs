//! Attempts that take too long.

use super::outside::Start;
use super::*;
use crate::events::Wanted;

const SOFT: Duration = Duration::from_secs(20);
const HARD: Duration = Duration::from_secs(30);
const CONFIG: &str = "[provision]\nhost_ports = \"22200-22299\"\nsoft_limit = \"20s\"\nhard_limit = \"30s\"\n\
                      retry_delay = \"10s\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\nmax = 9\n\
                      [services.tv.engines.probe]\nready_timeout = \"10m\"\n";

/// Nothing of it is left but engines that are ready.
async fn holds_nothing(world: &World, node: &Node) {
    assert_eq!(node.inside().await, Inside::default());
    assert_eq!(world.held().await, [""; 0]);
    assert_eq!(world.machine.left(), 0);
}

/// The only job.
async fn job(world: &World) -> Job {
    let [job] = &world.all_jobs().await[..] else {
        panic!("one job")
    };
    job.clone()
}

/// Reasons of the events of this kind.
async fn why(node: &Node, kind: &'static str) -> Vec<String> {
    let wanted = Wanted::parse([kind]).unwrap();
    let page = node.parts.events.read(None, &wanted, 100).await;
    let attributes = page
        .events
        .into_iter()
        .flat_map(|event| event.attributes.clone());
    attributes
        .filter(|(name, _)| *name == "why")
        .map(|(_, why)| why)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn at_the_soft_limit_an_engine_that_is_not_ready_is_stopped_and_its_job_tried_again() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    world.machine.is_sick("tv-1", true);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        node.wish("one").await.unwrap();
        let machine = &world.machine;
        until("stopped", seconds(60), || !machine.stopped().is_empty()).await;
        let took = machine.stopped()[0].1 - machine.begun()[0].at;
        assert!((SOFT - seconds(2)..=SOFT).contains(&took), "{took:?}");
        sleep(seconds(1)).await;
        let failed = job(&world).await;
        assert_eq!((failed.state(), failed.attempt), (State::Waiting, 1));
        let told = "took longer than the soft limit of 20s, and ended as it was asked to";
        assert_eq!(failed.last_error, told);
        assert_eq!(why(&node, "job.failed").await, [told]);
        holds_nothing(&world, &node).await;
        // The next one of that name is well.
        let done = world.job_done_within(seconds(30)).await;
        assert_eq!(done.attempt, 2);
        assert_eq!(node.engines("ready"), ["tv-1"]);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_is_not_interrupted_at_the_soft_limit_and_what_it_started_late_is_stopped() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let starts = [SOFT + seconds(5), seconds(1)].map(Start::Runs);
    world.machine.next_starts(starts);
    world.machine.is_sick("tv-1", true);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        node.wish("one").await.unwrap();
        let machine = &world.machine;
        until("stopped", seconds(60), || !machine.stopped().is_empty()).await;
        let took = machine.stopped()[0].1 - machine.begun()[0].at;
        let started = SOFT + seconds(5);
        assert!((started..=started + seconds(1)).contains(&took), "{took:?}");
        sleep(seconds(1)).await;
        assert!(why(&node, "job.failed").await[0].contains("soft limit"));
        holds_nothing(&world, &node).await;
        assert_eq!(world.job_done_within(seconds(30)).await.attempt, 2);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn at_the_hard_limit_a_driver_that_hangs_is_interrupted_and_its_job_tried_again() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    world.machine.next_starts([Start::Hangs]);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        node.wish("one").await.unwrap();
        let began = Instant::now();
        sleep(HARD - seconds(1)).await;
        assert_eq!(job(&world).await.state(), State::Claimed);
        assert_eq!(node.picture().in_flight, 1);
        until("over", seconds(5), || node.picture().in_flight == 0).await;
        let took = began.elapsed();
        assert!((HARD..=HARD + seconds(2)).contains(&took), "{took:?}");
        let told = "took longer than the hard limit of 30s";
        let failed = job(&world).await;
        assert_eq!((failed.state(), failed.attempt), (State::Waiting, 1));
        assert_eq!(
            (&*failed.last_error, failed.last_error.len()),
            (told, told.len())
        );
        assert_eq!(why(&node, "job.failed").await, [told]);
        holds_nothing(&world, &node).await;
        assert_eq!(world.job_done_within(seconds(30)).await.attempt, 2);
    };
    live(&mut [&mut life], test).await;
}

/// Two wishes, the second of which does not get its turn before the soft limit.
async fn second_is_too_late(limits: &str, first: Start) {
    let mut world = World::new();
    let limits = format!("[provision]\n{limits}\n");
    let (mut life, node) = world.node("a", &CONFIG.replacen("[provision]\n", &limits, 1));
    world.machine.next_starts([first]);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        node.wish("one").await.unwrap();
        let machine = &world.machine;
        until("begun", seconds(5), || machine.begun().len() == 1).await;
        node.wish("two").await.unwrap();
        sleep(SOFT + seconds(2)).await;
        assert_eq!(machine.begun().len(), 1);
        let told = "its turn did not come before the soft limit of 20s";
        assert_eq!(why(&node, "job.released").await, [told]);
        let is_failed = |job: &Job| !job.last_error.is_empty();
        assert!(!world.all_jobs().await.iter().any(is_failed));
        // It is done all the same, and as often as it is given back none of its tries is used up.
        until("both", seconds(300), || node.engines("ready").len() == 2).await;
        sleep(seconds(1)).await;
        let jobs = world.all_jobs().await;
        let second = jobs
            .iter()
            .find(|job| job.idempotency_key == "two")
            .unwrap();
        assert_eq!((second.state(), second.attempt), (State::Done, 1));
        assert_eq!(node.inside().await.in_hand, 0);
        assert_eq!(world.held().await, ["hold/engine:tv-1", "hold/engine:tv-2"]);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_gets_no_permit_before_the_soft_limit_is_given_back_and_did_not_fail() {
    second_is_too_late("concurrent_max = 1", Start::Hangs).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_turn_is_further_away_than_the_soft_limit_is_given_back_and_did_not_fail() {
    let at_once = Start::Runs(Duration::ZERO);
    second_is_too_late("interval_min = \"50s\"", at_once).await;
}
