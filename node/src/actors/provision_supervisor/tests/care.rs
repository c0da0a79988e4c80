//! Engines that end, are unwell, or have served enough.

use super::*;

const CONFIG: &str = "[provision]\nhost_ports = \"21600-21699\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 3\n\
                      max = 6\nreplacement_cooldown = \"60s\"\nuses_max = 100\nidle_grace = \"30s\"\n\
                      [services.tv.engines.probe]\ninterval = \"5s\"\nfailures = 3\ngrace = \"20s\"\n";

/// A node that scales its service, once all engines are ready.
async fn three_ready(node: &Node) {
    node.scale();
    until("ready", seconds(30), || node.engines("ready").len() == 3).await;
    sleep(seconds(5)).await;
}

fn stopped_of<'a>(world: &World, engines: impl IntoIterator<Item = &'a str>) -> Vec<Instant> {
    let stopped = world.machine.stopped();
    let when = |id: &str| stopped.iter().find(|(of, _)| of == id).map(|(_, at)| *at);
    engines.into_iter().filter_map(when).collect()
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_ends_by_itself_is_removed_and_another_one_takes_its_place() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        three_ready(&node).await;
        world.machine.ends("tv-2");
        sleep(Duration::from_millis(10)).await;
        assert_eq!(node.engines("ready"), ["tv-1", "tv-3"]);
        until("replaced", seconds(10), || node.engines("ready").len() == 3).await;
        sleep(seconds(10)).await;
        let inside = Inside {
            engines: 3,
            ports: 3,
            ..Inside::default()
        };
        assert_eq!(node.inside().await, inside);
        assert_eq!(world.held().await.len(), 3);
        assert_eq!(world.machine.left(), 3, "nothing is left of it");
        assert_eq!(world.machine.begun().len(), 4);
        let picture = node.picture();
        let again = picture.engines.iter().find(|engine| engine.id == "tv-2");
        assert_eq!(again.unwrap().restarts, 1);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn unwell_engines_leave_traffic_after_3_probes_and_are_replaced_one_at_a_time_after_their_grace()
 {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        three_ready(&node).await;
        for engine in ["tv-1", "tv-2"] {
            world.machine.is_sick(engine, true);
        }
        let since = Instant::now();
        sleep(seconds(9)).await;
        assert_eq!(node.engines("ready").len(), 3, "two failures say nothing");
        until("unwell", seconds(7), || {
            node.engines("unhealthy").len() == 2
        })
        .await;
        let graces_end = Instant::now() + seconds(20);
        assert!(since.elapsed() >= seconds(10));
        sleep(seconds(150)).await;
        let stopped = stopped_of(&world, ["tv-1", "tv-2"]);
        let [first, second] = [stopped[0].min(stopped[1]), stopped[0].max(stopped[1])];
        assert!(first + seconds(1) >= graces_end && first < graces_end + seconds(3));
        assert!(second - first >= seconds(60), "{:?}", second - first);
        assert_eq!(node.engines("ready").len(), 3);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_well_again_within_its_grace_stays() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        three_ready(&node).await;
        world.machine.is_sick("tv-1", true);
        until("unwell", seconds(30), || {
            node.engines("unhealthy") == ["tv-1"]
        })
        .await;
        world.machine.is_sick("tv-1", false);
        until("well", seconds(6), || node.engines("ready").len() >= 3).await;
        sleep(seconds(60)).await;
        assert!(stopped_of(&world, ["tv-1"]).is_empty());
        assert_eq!(node.engines("ready").len(), 3);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_served_as_often_as_it_may_is_replaced_when_what_runs_on_it_has_ended() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        three_ready(&node).await;
        node.requests("tv-3", 100);
        sleep(seconds(10)).await;
        assert_eq!(node.engines("draining"), ["tv-3"]);
        assert_eq!(
            world.machine.running().len(),
            4,
            "another one is there before it goes"
        );
        node.requests_end("tv-3", 100);
        until("stopped", seconds(2), || {
            !stopped_of(&world, ["tv-3"]).is_empty()
        })
        .await;
        sleep(seconds(60)).await;
        assert_eq!(node.engines("ready").len(), 3);
        assert_eq!(world.machine.begun().len(), 4);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_has_its_engines_back_in_traffic_in_a_moment_and_none_ends() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        three_ready(&node).await;
        let held = world.held().await;
        for _ in 0..2 {
            node.crash.offer(Crash).unwrap();
            sleep(Duration::from_millis(500)).await;
            assert_eq!(node.engines("ready").len(), 3);
            sleep(seconds(60)).await;
        }
        assert_eq!(node.engines("ready").len(), 3);
        assert!(world.machine.stopped().is_empty());
        assert_eq!(world.machine.begun().len(), 3);
        assert_eq!(world.held().await, held);
        // What is given back is not kept any longer.
        let (engine, reason) = ("tv-1".to_owned(), String::new());
        let stop = StopEngine {
            engine,
            now: true,
            reason,
        };
        node.handle.stop(stop).await.unwrap().unwrap();
        sleep(seconds(30)).await;
        assert_eq!(world.held().await.len(), 3);
        assert_eq!(node.engines("ready").len(), 3);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_while_an_engine_starts_gets_it_from_its_job() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        node.scale();
        let engines = ["tv-1", "tv-2", "tv-3"];
        for engine in engines {
            world.machine.is_sick(engine, true);
        }
        let started = || world.machine.running().len() == 3;
        until("started", seconds(10), started).await;
        node.crash.offer(Crash).unwrap();
        sleep(seconds(1)).await;
        for engine in engines {
            world.machine.is_sick(engine, false);
        }
        until("ready", seconds(10), || node.engines("ready").len() == 3).await;
        sleep(seconds(60)).await;
        assert_eq!(world.machine.begun().len(), 3);
        assert_eq!(
            node.inside().await,
            Inside {
                engines: 3,
                ports: 3,
                ..Inside::default()
            }
        );
    };
    live(&mut [&mut life], test).await;
}

/// A service with so many engines.
fn few(min: u32, max: u32) -> String {
    let with_min = CONFIG.replace("min = 3", &format!("min = {min}"));
    with_min.replace("max = 6\n", &format!("max = {max}\n"))
}

/// Its first engine has served as often as it may.
async fn used_up(node: &Node) {
    node.scale();
    until("ready", seconds(30), || node.engines("ready") == ["tv-1"]).await;
    sleep(seconds(5)).await;
    node.requests("tv-1", 100);
    node.requests_end("tv-1", 100);
}

#[tokio::test(start_paused = true)]
async fn a_sole_engine_that_is_used_up_serves_until_its_successor_does() {
    for is_sick in [false, true] {
        let mut world = World::new();
        // The first successor is never ready.
        world.machine.is_sick("tv-2", is_sick);
        let (mut life, node) = world.node("a", &few(1, 2));
        let test = async {
            used_up(&node).await;
            let deadline = Instant::now() + seconds(900);
            while node.engines("ready") != ["tv-2"] {
                assert!(!node.engines("ready").is_empty(), "nobody serves");
                assert!(Instant::now() < deadline, "it is not replaced");
                sleep(LOOK_INTERVAL).await;
            }
            sleep(seconds(300)).await;
            assert_eq!(node.engines("ready"), ["tv-2"]);
            let starts = 2 + usize::from(is_sick);
            assert_eq!(world.machine.begun().len(), starts);
            assert_eq!(world.held().await, ["hold/engine:tv-2"]);
        };
        live(&mut [&mut life], test).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_used_up_makes_way_first_where_there_may_be_no_more() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &few(1, 1));
    let test = async {
        used_up(&node).await;
        until("stopped", seconds(10), || {
            !stopped_of(&world, ["tv-1"]).is_empty()
        })
        .await;
        until("ready", seconds(30), || node.engines("ready") == ["tv-1"]).await;
        assert_eq!(world.machine.begun().len(), 2);
    };
    live(&mut [&mut life], test).await;
}
