//! Engines that serve until somebody takes their place, whatever keeps that one from coming.

use weir_control_plane::jobs::Want;
use weir_core::vpn;

use super::super::EngineView;
use super::killed::{job, vpn_that_is};
use super::outdated::{not_done, outdated, ready, service, stopped, told};
use super::outside::Start;
use super::*;
use crate::actors::port_cache::VpnView;
use crate::events::Kind;

/// A VPN whose control server nobody answers for.
const DEAD_VPN: &str =
    "\n[vpns.v]\ncontrol_url = \"http://127.0.0.1:1\"\nports = \"21200-21299\"\n";

fn holder_of(node: &str) -> Holder {
    Holder {
        node_id: node.to_owned(),
        boot_id: format!("boot-{node}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_outdated_engine_serves_on_while_no_other_one_could_be_started() {
    for max in [1, 3] {
        let mut world = World::new();
        let (mut life, node) = world.node("a", &service(1, 1, max, ""));
        let test = async {
            ready(&node, 1).await;
            let behind = service(1, 1, max, "vpns = [\"v\"]");
            node.configure(&format!("{behind}{DEAD_VPN}")).await;
            sleep(seconds(600)).await;
            assert_eq!(node.engines("ready"), ["tv-1"], "of {max}");
            assert!(stopped(&world).is_empty());
            assert_eq!(outdated(&node), ["tv-1"]);
            // The next change waits for nothing.
            node.configure(&service(2, 1, max, "")).await;
            until("replaced", seconds(40), || {
                outdated(&node).is_empty() && node.engines("ready").len() == 1
            })
            .await;
        };
        live(&mut [&mut life], test).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_place_for_one_more_one_node_at_a_time_ends_an_outdated_engine_of_a_service() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 3, 3, ""));
    let test = async {
        ready(&node, 3).await;
        let jobs = world.jobs(99);
        let hold = jobs
            .hold(DEFAULT_QUEUE, "rolling:tv", holder_of("b"))
            .await
            .unwrap();
        node.configure(&service(2, 3, 3, "")).await;
        for _ in 0..20 {
            sleep(seconds(5)).await;
            jobs.extend_hold(&hold).await.unwrap();
            assert!(stopped(&world).is_empty(), "another node's is missing");
        }
        jobs.release_hold(&hold).await.unwrap();
        until("one makes way", seconds(8), || {
            node.engines("ready").len() == 2
        })
        .await;
        let held = world.held().await;
        assert!(held.contains(&"hold/rolling:tv".to_owned()), "{held:?}");
        until("all are replaced", seconds(400), || {
            outdated(&node).is_empty() && node.engines("ready").len() == 3
        })
        .await;
        sleep(seconds(5)).await;
        assert_eq!(world.held().await.len(), 3, "{:?}", world.held().await);
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_nobody_began_says_nothing_of_the_configuration() {
    let mut world = World::new();
    let limited = |version| {
        let text = service(version, 1, 3, "");
        text.replacen(
            "[provision]\n",
            "[provision]\nfleet_concurrent_max = 1\n",
            1,
        )
    };
    let (mut life, node) = world.node("a", &limited(1));
    let test = async {
        ready(&node, 1).await;
        let jobs = world.jobs(99);
        let mut elsewhere = job("elsewhere");
        elsewhere.spec.service = "other".to_owned();
        jobs.enqueue(elsewhere).await.unwrap();
        let want = Want {
            queue: DEFAULT_QUEUE.to_owned(),
            holder: holder_of("b"),
            services: vec!["other".to_owned()],
            fleet_concurrent_max: 1,
            fleet_interval_min: Duration::ZERO,
        };
        let claim = jobs.claim(want).await.unwrap().unwrap();
        node.configure(&limited(2)).await;
        for _ in 0..70 {
            sleep(seconds(5)).await;
            jobs.extend(&claim.ticket).await.unwrap();
        }
        assert_eq!(outdated(&node), ["tv-1"]);
        assert_eq!(node.engines("ready"), ["tv-1"]);
        assert_eq!(told(&node, Kind::ReplacementStopped).await, [""; 0]);
        jobs.complete(&claim.ticket, "other-1".to_owned())
            .await
            .unwrap();
        until("replaced", seconds(100), || {
            outdated(&node).is_empty() && node.engines("ready").len() == 1
        })
        .await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_an_engine_that_stays_after_all_keeps_nobody_waiting() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 0, 6, "uses_max = 100"));
    let test = async {
        sleep(LOOK_INTERVAL).await;
        for key in ["one", "two"] {
            node.wish(key).await.unwrap();
        }
        until("ready", seconds(30), || node.engines("ready").len() == 2).await;
        sleep(seconds(5)).await;
        world.machine.starts(Start::Runs(seconds(20)));
        node.requests("tv-1", 100);
        node.requests_end("tv-1", 100);
        let begun = || world.machine.begun().len();
        until("its successor starts", seconds(10), || begun() == 3).await;
        node.configure(&service(1, 0, 6, "uses_max = 1000")).await;
        sleep(seconds(30)).await;
        assert_eq!(node.engines("ready").len(), 3, "it may be used on");
        node.requests("tv-2", 1_000);
        node.requests_end("tv-2", 1_000);
        until("the next one's turn", seconds(10), || begun() == 4).await;
    };
    live(&mut [&mut life], test).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_comes_after_an_engine_that_was_stopped_while_its_successor_was_on_the_way() {
    for now in [true, false] {
        let mut world = World::new();
        let (mut life, node) = world.node("a", &service(1, 0, 6, ""));
        let test = async {
            sleep(LOOK_INTERVAL).await;
            node.wish("one").await.unwrap();
            until("ready", seconds(30), || node.engines("ready").len() == 1).await;
            sleep(seconds(5)).await;
            world.machine.starts(Start::Runs(seconds(20)));
            node.configure(&service(2, 0, 6, "")).await;
            let begun = || world.machine.begun().len();
            until("its successor starts", seconds(10), || begun() == 2).await;
            let (engine, reason) = ("tv-1".to_owned(), String::new());
            let stop = StopEngine {
                engine,
                now,
                reason,
            };
            node.handle.stop(stop).await.unwrap().unwrap();
            sleep(seconds(100)).await;
            assert_eq!(world.machine.running(), [""; 0]);
            assert_eq!(not_done(&world).await, [State::Cancelled]);
            assert_eq!(world.held().await, [""; 0]);
        };
        live(&mut [&mut life], test).await;
    }
}

#[tokio::test(start_paused = true)]
async fn engines_that_are_found_outdated_need_not_answer_as_the_next_ones() {
    let mut world = World::new();
    let (mut life, node) = world.node("a", &service(1, 2, 4, ""));
    live(&mut [&mut life], ready(&node, 2)).await;
    drop((life, node));
    // Nothing here answers such a probe.
    let (mut life, node) = world.node("a", &format!("{}check = \"http\"\n", service(2, 2, 4, "")));
    let test = async {
        until("taken over", seconds(60), || {
            node.engines("ready").len() == 2
        })
        .await;
        sleep(seconds(600)).await;
        assert_eq!(node.engines("ready"), ["tv-1", "tv-2"]);
        assert_eq!(outdated(&node), ["tv-1", "tv-2"]);
    };
    live(&mut [&mut life], test).await;
}

/// Two VPNs without forwarded ports, `w` in good health.
fn two_vpns(config: &str, health_of_v: vpn::State) -> Table {
    let one = vpn_that_is(config, |view| {
        (view.good, view.settled) = (None, None);
    });
    let w = VpnView {
        name: "w".to_owned(),
        ..VpnView::clone(one.vpn("v").unwrap())
    };
    let v = VpnView {
        name: "v".to_owned(),
        health: health_of_v,
        ..w.clone()
    };
    Table::of(
        [v, w].into_iter(),
        &parsed(config, &Given::default()).port_cache,
    )
}

#[tokio::test(start_paused = true)]
async fn an_outdated_engine_that_is_hidden_keeps_none_in_traffic_from_being_replaced() {
    let config = |version| {
        let text = service(version, 0, 4, "vpns = [\"v\", \"w\"]");
        let vpn = |name: &str, ports: &str| {
            format!(
                "[vpns.{name}]\ncontrol_url = \"http://127.0.0.1:1\"\nforwards_port = false\n\
                 ports = \"{ports}\"\n"
            )
        };
        let vpns = [vpn("v", "21200-21249"), vpn("w", "21250-21299")].concat();
        format!("{text}grace = \"1h\"\n{vpns}")
    };
    let mut world = World::new();
    let up = two_vpns(&config(1), vpn::State::Stable);
    let (mut life, node) = world.node_by("a", &config(1), &Way::open(), up);
    let test = async {
        sleep(LOOK_INTERVAL).await;
        for key in ["one", "two"] {
            node.wish(key).await.unwrap();
        }
        until("ready", seconds(30), || node.engines("ready").len() == 2).await;
        sleep(seconds(5)).await;
        // The idle one would be the first.
        let there = node.picture();
        let behind_w = |engine: &&EngineView| engine.vpn.as_deref() == Some("w");
        let busy = there.engines.iter().find(behind_w).unwrap();
        node.requests(&busy.id, 1);
        node.vpns
            .publish(two_vpns(&config(1), vpn::State::Unhealthy));
        until("hidden", seconds(5), || node.engines("hidden").len() == 1).await;
        node.configure(&config(2)).await;
        until("the other one leaves", seconds(20), || {
            node.engines("draining") == [busy.id.clone()]
        })
        .await;
        assert_eq!(node.engines("ready").len(), 1, "its successor serves");
    };
    live(&mut [&mut life], test).await;
}
