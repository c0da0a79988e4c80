//! A store that is away, and holds that are lost with it.

use weir_core::provision::RefusalCode;

use super::*;

const CONFIG: &str = "[provision]\nhost_ports = \"21500-21599\"\n[services.tv.engines]\ncommand = [\"tv\"]\nmin = 0\n\
                      max = 3\n";

/// A node with one engine that is ready.
async fn with_an_engine(world: &World, node: &Node) {
    sleep(LOOK_INTERVAL).await;
    node.wish("one").await.unwrap();
    let most = seconds(10);
    until("ready", most, || node.engines("ready") == ["tv-1"]).await;
    world.job_done_within(most).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_engines_serve_wishes_are_refused_as_store_away_and_it_heals() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        with_an_engine(&world, &node).await;
        for away in [3, 8, 9, 10, 11, 12, 13, 14, 15, 60] {
            node.store_is_away(true);
            sleep(seconds(away)).await;
            let refused = node.wish("two").await.unwrap_err();
            assert_eq!(refused.code, RefusalCode::StoreAway);
            assert!(refused.message.contains("as the test wished"), "{refused}");
            assert_eq!(node.engines("ready"), ["tv-1"]);
            node.store_is_away(false);
            sleep(seconds(5)).await;
            assert_eq!(node.engines("ready"), ["tv-1"], "away for {away} s");
            assert_eq!(world.held().await, ["hold/engine:tv-1"]);
        }
        assert!(world.machine.stopped().is_empty());
        assert!(!node.wish("two").await.unwrap().already);
        until("two", seconds(10), || node.engines("ready").len() == 2).await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_got_ready_while_the_store_was_away_serves_for_as_long_as_it_is() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        let machine = &world.machine;
        machine.is_sick("tv-1", true);
        node.wish("one").await.unwrap();
        until("started", seconds(10), || !machine.running().is_empty()).await;
        node.store_is_away(true);
        machine.is_sick("tv-1", false);
        until("ready", seconds(10), || node.engines("ready") == ["tv-1"]).await;
        for _ in 0..90 {
            sleep(seconds(1)).await;
            assert_eq!(node.engines("ready"), ["tv-1"]);
        }
        node.store_is_away(false);
        // By now somebody else may have its job: then there is one engine for it again, and no second one.
        world.job_done_within(seconds(60)).await;
        until("one", seconds(60), || node.engines("ready").len() == 1).await;
        assert_eq!(machine.left(), 1);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_whose_slot_somebody_took_meanwhile_is_drained_and_stopped() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        with_an_engine(&world, &node).await;
        node.store_is_away(true);
        sleep(seconds(20)).await;
        let holder = Holder {
            node_id: "b".to_owned(),
            boot_id: "b-1".to_owned(),
        };
        let jobs = world.jobs(98);
        jobs.hold(DEFAULT_QUEUE, "engine:tv-1", holder)
            .await
            .unwrap();
        assert_eq!(node.engines("ready"), ["tv-1"]);
        node.store_is_away(false);
        let machine = &world.machine;
        until("stopped", seconds(5), || machine.running().is_empty()).await;
        sleep(seconds(1)).await;
        assert_eq!(node.inside().await, Inside::default());
        assert_eq!(world.held().await, ["hold/engine:tv-1"], "it is theirs");
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_full_says_so_after_the_store_was_away() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", CONFIG);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        for key in ["one", "two"] {
            node.wish(key).await.unwrap();
        }
        until("two", seconds(10), || node.engines("ready").len() == 2).await;
        node.store_is_away(true);
        sleep(seconds(3)).await;
        assert_eq!(
            node.wish("three").await.unwrap_err().code,
            RefusalCode::StoreAway
        );
        // Now nothing is asked of the store any more.
        node.configure(&CONFIG.replace("max = 3", "max = 2")).await;
        node.store_is_away(false);
        sleep(seconds(3)).await;
        assert_eq!(
            node.wish("three").await.unwrap_err().code,
            RefusalCode::MaxCapacity
        );
    };
    live(&mut [&mut life], test).await;
}

/// The same with containers, which outlive their node.
fn containers() -> String {
    CONFIG.replace(
        "command = [\"tv\"]",
        "driver = \"docker\"\nimage = \"tv:1\"",
    )
}

async fn stop(node: &Node, engine: &str) {
    let stop = StopEngine {
        engine: engine.to_owned(),
        now: true,
        reason: "a test".to_owned(),
    };
    node.handle.stop(stop).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_stops_no_container_that_another_one_has_taken_over() {
    let mut world = World::new();
    world.has_containers = true;
    let (mut life_a, a) = world.node("a", &containers());
    live(&mut [&mut life_a], with_an_engine(&world, &a)).await;
    a.store_is_away(true);
    let (mut life_b, b) = world.node("b", &containers());
    let test = async {
        until("taken over", seconds(40), || b.engines("ready") == ["tv-1"]).await;
        stop(&a, "tv-1").await;
        sleep(seconds(60)).await;
        a.store_is_away(false);
        sleep(seconds(120)).await;
        assert!(world.machine.stopped().is_empty());
        assert_eq!(b.engines("ready"), ["tv-1"]);
        assert_eq!(world.held().await, ["hold/engine:tv-1"]);
    };
    live(&mut [&mut life_a, &mut life_b], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_is_stopped_only_while_its_slot_is_known_to_be_its_nodes() {
    let mut world = World::new();
    world.has_containers = true;
    let (mut life, node) = world.node("a", &containers());
    let test = async {
        with_an_engine(&world, &node).await;
        node.wish("two").await.unwrap();
        until("two", seconds(10), || node.engines("ready").len() == 2).await;
        node.store_is_away(true);
        sleep(seconds(3)).await;
        stop(&node, "tv-1").await;
        sleep(seconds(1)).await;
        assert_eq!(world.machine.running(), ["tv-2"], "the hold lives");
        sleep(seconds(16)).await;
        stop(&node, "tv-2").await;
        sleep(seconds(60)).await;
        assert_eq!(world.machine.running(), ["tv-2"], "another may have it");
        node.store_is_away(false);
        let machine = &world.machine;
        until("stopped", seconds(60), || machine.running().is_empty()).await;
        sleep(seconds(5)).await;
        assert_eq!(node.inside().await, Inside::default());
        // What was given back while the store was away ends by itself.
        sleep(CLAIM_TTL).await;
        assert_eq!(world.held().await, [""; 0]);
    };
    live(&mut [&mut life], test).await;
}
