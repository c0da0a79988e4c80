//! Engines that are not what their service's configuration makes by now.

use super::outside::Start;
use super::*;
use crate::events::{Kind, Wanted};

const SPEC: &str = "weir.spec";
/// Between two replacements.
const COOLDOWN: Duration = Duration::from_secs(60);

/// A service with these engines, whose program is of this version.
pub(super) fn service(version: u32, min: u32, max: u32, more: &str) -> String {
    format!(
        "[provision]\nhost_ports = \"21500-21599\"\nretry_delay = \"5s\"\nretry_delay_max = \"5s\"\n\
         [services.tv.engines]\ncommand = [\"tv\"]\nenv = {{ VERSION = \"{version}\" }}\nmin = {min}\nmax = {max}\n\
         replacement_cooldown = \"60s\"\n{more}\n[services.tv.engines.probe]\ninterval = \"5s\"\n"
    )
}

pub(super) async fn ready(node: &Node, count: usize) {
    node.scale();
    until("ready", seconds(30), || {
        node.engines("ready").len() == count
    })
    .await;
    sleep(seconds(5)).await;
}

pub(super) fn outdated(node: &Node) -> Vec<String> {
    let picture = node.picture();
    let outdated = picture.engines.iter().filter(|engine| engine.outdated);
    outdated.map(|engine| engine.id.clone()).collect()
}

fn reason(node: &Node, engine: &str) -> String {
    let picture = node.picture();
    let found = picture.engines.iter().find(|known| known.id == engine);
    found.unwrap().reason.clone()
}

pub(super) fn stopped(world: &World) -> Vec<String> {
    let stopped = world.machine.stopped().into_iter();
    stopped.map(|(id, _)| id).collect()
}

/// Subjects of events of this kind, oldest first.
pub(super) async fn told(node: &Node, kind: Kind) -> Vec<String> {
    let wanted = Wanted::parse([kind.as_str()]).unwrap();
    let page = node.parts.events.read(None, &wanted, 100).await;
    page.events
        .into_iter()
        .map(|event| event.subject.to_string())
        .collect()
}

/// States of jobs that are not done.
pub(super) async fn not_done(world: &World) -> Vec<State> {
    let jobs = world.all_jobs().await;
    let states = jobs.iter().map(Job::state);
    states.filter(|state| *state != State::Done).collect()
}

/// Waits until no engine is outdated; meanwhile so many serve, and at most so many run.
async fn rolled(node: &Node, world: &World, serve: usize, run: usize, most: Duration) {
    let deadline = Instant::now() + most;
    while !outdated(node).is_empty() || node.engines("ready").len() < serve {
        assert!(Instant::now() < deadline, "{:?}", outdated(node));
        let ready = node.engines("ready").len();
        assert!(ready >= serve, "only {ready} serve");
        assert!(
            world.machine.running().len() <= run,
            "{:?}",
            world.machine.running()
        );
        sleep(LOOK_INTERVAL).await;
    }
}

#[tokio::test(start_paused = true)]
async fn outdated_engines_are_replaced_one_at_a_time_by_successors_the_idle_ones_first() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 3, 6, ""));
    let test = async {
        ready(&node, 3).await;
        node.requests("tv-1", 2);
        sleep(seconds(1)).await;
        let since = Instant::now();
        node.configure(&service(2, 3, 6, "")).await;
        assert_eq!(outdated(&node), ["tv-1", "tv-2", "tv-3"]);
        until("the idle ones are replaced", seconds(200), || {
            outdated(&node) == ["tv-1"]
        })
        .await;
        let [second, third] = &stopped(&world)[..] else {
            panic!("two: {:?}", stopped(&world));
        };
        assert!(*second != *third && *second != "tv-1" && *third != "tv-1");
        assert!(since.elapsed() >= COOLDOWN, "{:?}", since.elapsed());
        until("what runs on it ends first", seconds(100), || {
            node.engines("draining") == ["tv-1"]
        })
        .await;
        assert_eq!(node.engines("ready").len(), 3, "its successor serves");
        node.requests_end("tv-1", 2);
        until("replaced", seconds(2), || outdated(&node).is_empty()).await;
        sleep(seconds(200)).await;
        assert_eq!(world.machine.begun().len(), 6);
        assert_eq!(node.engines("ready").len(), 3);
        let mut told = told(&node, Kind::EngineOutdated).await;
        told.sort();
        assert_eq!(told, ["tv-1", "tv-2", "tv-3"]);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_new_engine_makes_none_outdated() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 3, 6, ""));
    let test = async {
        ready(&node, 3).await;
        let more = "stop_timeout = \"3s\"\nuses_max = 1000\nlabels = { a = \"b\" }";
        let text = service(1, 3, 7, more).replace("\"5s\"\n", "\"6s\"\n");
        node.configure(&text).await;
        sleep(seconds(100)).await;
        assert!(outdated(&node).is_empty() && stopped(&world).is_empty());
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_does_not_get_ready_stops_it_and_another_configuration_goes_on() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 3, 6, ""));
    let test = async {
        ready(&node, 3).await;
        world.machine.starts(Start::Fails(seconds(1)));
        node.configure(&service(2, 3, 6, "")).await;
        sleep(seconds(3_600)).await;
        assert_eq!(node.engines("ready"), ["tv-1", "tv-2", "tv-3"]);
        assert_eq!(outdated(&node).len(), 3);
        assert_eq!(world.machine.begun().len(), 3 + 3, "the tries of one job");
        let why = reason(&node, "tv-2");
        assert!(
            why.contains("no other one got ready: ") && why.contains("as the test wished"),
            "{why}"
        );
        assert_eq!(told(&node, Kind::ReplacementStopped).await, ["tv"]);
        assert_eq!(node.picture().breaker, "closed", "others may start");
        assert_eq!(not_done(&world).await, [State::Dead]);

        world.machine.starts(Start::Runs(seconds(1)));
        node.configure(&service(3, 3, 6, "")).await;
        rolled(&node, &world, 3, 4, seconds(300)).await;
        assert_eq!(reason(&node, &node.engines("ready")[0]), "");
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_gets_ready_after_all_lets_it_go_on() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 3, 6, ""));
    let test = async {
        ready(&node, 3).await;
        world.machine.starts(Start::Fails(seconds(1)));
        node.configure(&service(2, 3, 6, "")).await;
        sleep(seconds(600)).await;
        assert_eq!(outdated(&node).len(), 3);
        world.machine.starts(Start::Runs(seconds(1)));
        sleep(seconds(600)).await;
        assert_eq!(outdated(&node).len(), 3, "nobody knows that it would work");
        let stop = StopEngine {
            engine: "tv-3".to_owned(),
            now: false,
            reason: "to be started anew".to_owned(),
        };
        node.handle.stop(stop).await.unwrap().unwrap();
        until("all are replaced", seconds(300), || {
            outdated(&node).is_empty() && node.engines("ready").len() == 3
        })
        .await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn going_back_to_what_runs_cancels_a_successor_and_ends_nothing() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 3, 6, ""));
    let test = async {
        ready(&node, 3).await;
        world.machine.starts(Start::Runs(seconds(20)));
        node.configure(&service(2, 3, 6, "")).await;
        until("one starts", seconds(10), || {
            world.machine.begun().len() == 4
        })
        .await;
        node.configure(&service(1, 3, 6, "")).await;
        assert!(outdated(&node).is_empty());
        sleep(seconds(60)).await;
        assert_eq!(node.engines("ready"), ["tv-1", "tv-2", "tv-3"]);
        let ended = stopped(&world);
        assert!(ended.iter().all(|engine| engine == "tv-4"), "{ended:?}");
        assert_eq!((world.machine.left(), world.held().await.len()), (3, 3));

        // The next change waits for nothing.
        world.machine.starts(Start::Runs(seconds(1)));
        node.configure(&service(3, 3, 6, "")).await;
        until("the next one starts", seconds(10), || {
            world.machine.begun().len() == 5
        })
        .await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_place_for_one_more_each_makes_way_once_the_one_before_is_replaced() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 3, 3, ""));
    let test = async {
        ready(&node, 3).await;
        node.configure(&service(2, 3, 3, "")).await;
        rolled_in_place(&node, &world).await;
        assert_eq!(world.machine.begun().len(), 6);

        world.machine.starts(Start::Fails(seconds(1)));
        node.configure(&service(3, 3, 3, "")).await;
        sleep(seconds(3_600)).await;
        assert_eq!(
            outdated(&node).len(),
            2,
            "one was lost, and no other one is"
        );
        assert_eq!(node.engines("ready"), outdated(&node));
        world.machine.starts(Start::Runs(seconds(1)));
        until("all are replaced", seconds(1_200), || {
            outdated(&node).is_empty() && node.engines("ready").len() == 3
        })
        .await;
    };
    live(&mut [&mut life], test).await;
}

async fn rolled_in_place(node: &Node, world: &World) {
    let deadline = Instant::now() + seconds(400);
    while !outdated(node).is_empty() || node.engines("ready").len() < 3 {
        assert!(Instant::now() < deadline, "{:?}", outdated(node));
        assert!(world.machine.running().len() >= 2, "one at a time");
        sleep(LOOK_INTERVAL).await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_it_is_switched_off_it_is_only_shown() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 2, 6, ""));
    let test = async {
        ready(&node, 2).await;
        let off = "replace_outdated = false";
        node.configure(&service(2, 2, 6, off)).await;
        sleep(seconds(600)).await;
        assert_eq!(outdated(&node), ["tv-1", "tv-2"]);
        assert_eq!(
            reason(&node, "tv-1"),
            "outdated, and replace_outdated is off"
        );
        assert!(stopped(&world).is_empty());
        node.configure(&service(2, 2, 6, "")).await;
        rolled(&node, &world, 2, 3, seconds(200)).await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn what_an_engine_is_made_of_is_known_after_a_panic_and_to_the_next_life_of_a_node() {
    let mut world = World::new();
    world.has_containers = true;
    let image = |tag: u32| {
        let text = service(tag, 2, 4, "labels = { a = \"b\" }");
        text.replace("command = [\"tv\"]", &format!("image = \"tv:{tag}\""))
    };
    let (mut life, node) = world.node("a", &image(1));
    let test = async {
        ready(&node, 2).await;
        node.configure(&image(2)).await;
        assert_eq!(outdated(&node).len(), 2);
        node.crash.offer(Crash).unwrap();
        until("they are back", seconds(5), || outdated(&node).len() == 2).await;
        let picture = node.picture();
        assert!(picture.engines.iter().all(|engine| engine.image == "tv:1"));
        assert!(world.machine.label("tv-1", SPEC).is_some());
    };
    live(&mut [&mut life], test).await;
    drop(life);
    let (mut life, node) = world.node("a", &image(2));
    let test = async {
        node.scale();
        until("all are replaced", seconds(400), || {
            outdated(&node).is_empty() && node.engines("ready").len() == 2
        })
        .await;
        let picture = node.picture();
        assert!(picture.engines.iter().all(|engine| engine.image == "tv:2"));
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn one_of_an_older_version_is_replaced_only_if_it_is_seen_that_it_is_another_one() {
    let mut world = World::new();
    let text = service(1, 2, 4, "");
    let (mut life, node) = world.node("a", &text);
    live(&mut [&mut life], ready(&node, 2)).await;
    world.machine.were_not_labelled(SPEC);
    drop((life, node));
    // What its environment is nobody tells.
    let (mut life, node) = world.node("a", &service(2, 2, 4, ""));
    let test = async {
        node.scale();
        until("taken over", seconds(60), || {
            node.engines("ready").len() == 2
        })
        .await;
        sleep(seconds(100)).await;
        assert!(outdated(&node).is_empty() && stopped(&world).is_empty());
        let other = text.replace("[\"tv\"]", "[\"tv\", \"--{id}\"]");
        node.configure(&other).await;
        rolled(&node, &world, 2, 3, seconds(300)).await;
        let engine = node.engines("ready").remove(0);
        assert_eq!(
            world.machine.command(&engine),
            ["tv", &format!("--{engine}")]
        );
    };
    live(&mut [&mut life], test).await;
}
