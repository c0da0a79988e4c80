//! How many engines there are over time.

use super::*;
use crate::events::Wanted;

const CONFIG: &str = "[provision]\nhost_ports = \"21700-21799\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 1\n\
                      max = 6\nfree = 1\nstreams_max = 10\nidle_grace = \"30s\"\ndown_cooldown = \"120s\"\n\
                      [services.tv.engines.probe]\ninterval = \"5s\"\n";

#[tokio::test(start_paused = true)]
async fn engines_beyond_the_minimum_are_stopped_when_idle_for_long_and_never_below_it() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        node.scale();
        until("the minimum", seconds(10), || {
            node.engines("ready").len() == 1
        })
        .await;
        for key in ["a", "b", "c"] {
            node.wish(key).await.unwrap();
        }
        until("four", seconds(20), || node.engines("ready").len() == 4).await;
        let four = Instant::now();
        until("one", seconds(300), || world.machine.running().len() == 1).await;
        let first = world.machine.stopped()[0].1 - four;
        assert!(first >= seconds(29), "{first:?}");
        sleep(seconds(600)).await;
        assert_eq!(node.engines("ready").len(), 1);
        assert_eq!(world.machine.begun().len(), 4, "none came back");
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn work_that_comes_and_goes_faster_than_the_grace_starts_and_stops_no_engine() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        node.scale();
        until("the minimum", seconds(10), || {
            node.engines("ready").len() == 1
        })
        .await;
        node.requests("tv-1", 3);
        // One is in use and one more is to be free.
        until("two", seconds(20), || node.engines("ready").len() == 2).await;
        node.requests_end("tv-1", 3);
        for _ in 0..60 {
            sleep(seconds(10)).await;
            node.requests("tv-1", 1);
            sleep(seconds(10)).await;
            node.requests_end("tv-1", 1);
        }
        assert_eq!(world.machine.begun().len(), 2);
        assert!(world.machine.stopped().is_empty());
        sleep(seconds(200)).await;
        assert_eq!(node.engines("ready").len(), 1);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_that_wait_for_others_of_the_mesh_are_told_as_a_limit_and_not_each_second() {
    const BOUNDED: &str = "[provision]\nhost_ports = \"21800-21899\"\nfleet_concurrent_max = 1\n\
                           [services.tv.engines]\ncommand = [\"tv\"]\nmin = 3\nmax = 3\n";
    let mut world = World::new();
    let (mut life, node) = world.node("a", BOUNDED);
    world.machine.starts(outside::Start::Runs(seconds(10)));
    let test = async {
        node.scale();
        until("ready", seconds(60), || node.engines("ready").len() == 3).await;
        let wanted = Wanted::parse(["provision.limited"]).unwrap();
        let page = node.parts.events.read(None, &wanted, 100).await;
        let limits = page.events.iter().map(|event| event.attributes[0].clone());
        let limits: Vec<_> = limits.collect();
        assert!((1..=3).contains(&limits.len()), "{limits:?}");
        assert!(
            limits
                .iter()
                .all(|limit| *limit == ("limit", "fleet".to_owned()))
        );
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_are_listed_once_in_a_second_however_many_services_there_are() {
    let services = (0..20).map(|number| {
        format!("[services.tv-{number}.engines]\ncommand = [\"tv\"]\nmin = 0\nmax = 1\n")
    });
    let mut world = World::new();
    let (mut life, node) = world.node("a", &services.collect::<String>());
    let test = async {
        node.scale();
        sleep(seconds(30)).await;
        let pages = node.pages_listed.load(Ordering::Relaxed);
        assert!((1..=31).contains(&pages), "{pages} pages");
    };
    live(&mut [&mut life], test).await;
}

const ASLEEP: &str = "[provision]\nhost_ports = \"21900-21999\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\n\
                      max = 6\nstreams_max = 10\nidle_grace = \"30s\"\ndown_cooldown = \"40s\"\n";

/// So many requests more, or less, wait for the service.
fn wait_more(node: &Node, by: i32) {
    let routing = node.parts.routing.load();
    let metrics = &routing.service(&"tv".into()).unwrap().metrics;
    for _ in 0..by.abs() {
        match by > 0 {
            true => metrics.core(0).waiting.increment(),
            false => metrics.core(0).waiting.decrement(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_get_one_engine_from_none_and_one_that_is_idle_goes_again() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", ASLEEP);
    world.machine.starts(outside::Start::Runs(seconds(2)));
    let test = async {
        node.scale();
        sleep(seconds(60)).await;
        assert!(world.machine.begun().is_empty(), "nobody needs one");
        wait_more(&node, 3);
        until("one", seconds(10), || node.engines("ready").len() == 1).await;
        // They go on, and are so short that no look sees one of them run.
        wait_more(&node, -3);
        let last = Instant::now() + seconds(300);
        while Instant::now() < last {
            sleep(seconds(7)).await;
            node.requests("tv-1", 1);
            node.requests_end("tv-1", 1);
        }
        assert_eq!(world.machine.begun().len(), 1);
        assert!(world.machine.stopped().is_empty(), "it is used");
        until("none", seconds(35), || world.machine.running().is_empty()).await;
        assert!(last.elapsed() >= seconds(29), "{:?}", last.elapsed());
        sleep(seconds(300)).await;
        assert_eq!(world.machine.begun().len(), 1);
        let wanted = Wanted::parse(["service.waits"]).unwrap();
        let page = node.parts.events.read(None, &wanted, 100).await;
        assert_eq!(page.events.len(), 1);
        assert_eq!(page.events[0].attributes, [("waiting", "3".to_owned())]);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_waits_gets_engines_by_what_one_takes_and_not_more() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", ASLEEP);
    world.machine.starts(outside::Start::Runs(seconds(2)));
    let test = async {
        node.scale();
        until("told of the service", seconds(5), || {
            node.parts.routing.load().service(&"tv".into()).is_some()
        })
        .await;
        wait_more(&node, 25);
        until("three", seconds(60), || node.engines("ready").len() == 3).await;
        sleep(seconds(20)).await;
        assert_eq!(world.machine.begun().len(), 3);
        wait_more(&node, -25);
        until("none", seconds(90), || world.machine.running().is_empty()).await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_begin_to_wait_for_a_service_that_sleeps_have_its_engine_started_at_once() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", ASLEEP);
    let test = async {
        node.scale();
        // Between ticks of everybody.
        sleep(Duration::from_millis(60_330)).await;
        for round in 1..=3 {
            let began = Instant::now();
            wait_more(&node, 1);
            node.wait_signal.give();
            until("begun", seconds(10), || {
                world.machine.begun().len() == round
            })
            .await;
            let after = world.machine.begun()[round - 1].at - began;
            assert!(after <= Duration::from_millis(10), "{after:?}");
            sleep(seconds(3)).await;
            wait_more(&node, -1);
            until("none", seconds(90), || world.machine.running().is_empty()).await;
            sleep(Duration::from_millis(5_370)).await;
        }
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn clients_that_come_and_leave_all_the_time_make_no_decision_come_more_than_four_times_a_second()
 {
    let mut world = World::new();
    let (mut life, node) = world.node("a", ASLEEP);
    world.machine.starts(outside::Start::Hangs);
    let test = async {
        node.scale();
        until("told of the service", seconds(5), || {
            node.parts.routing.load().service(&"tv".into()).is_some()
        })
        .await;
        wait_more(&node, 1);
        for _ in 0..3_000 {
            node.wait_signal.give();
            sleep(Duration::from_millis(10)).await;
        }
        let pages = node.pages_listed.load(Ordering::Relaxed);
        assert!((100..=160).contains(&pages), "{pages} pages in 35 s");
    };
    live(&mut [&mut life], test).await;
}
