//! Nodes that die between any two steps of a job, and what the next life makes of it.

use weir_control_plane::jobs::{Limits, NewJob, Spec};
use weir_core::port_cache::{Counters, Port, State as PortState};
use weir_core::vpn;

use super::*;
use crate::actors::port_cache::VpnView;
use crate::config::PortCacheSettings;

/// The service has one slot, so a slot that is not given back is missed.
pub(super) const ONE: &str = "[provision]\nhost_ports = \"21100-21199\"\n[services.tv.engines]\n\
                   command = [\"tv\"]\nmin = 0\nmax = 1\n";
pub(super) const SEVERAL: &str = "[provision]\nhost_ports = \"21100-21199\"\n[services.tv.engines]\n\
                   command = [\"tv\"]\nmin = 0\nmax = 5\n";
/// More points than a job passes.
pub(super) const POINTS_MAX: u64 = 200;
/// Until what was left of the first life was looked into by the second, and its ports are believed to be free.
pub(super) const SETTLED: Duration = Duration::from_secs(75);

pub(super) fn behind_a_vpn(config: &str) -> String {
    format!(
        "{config}vpns = [\"v\"]\n[vpns.v]\ncontrol_url = \"http://127.0.0.1:1\"\nports = \"21200-21299\"\n"
    )
}

/// A VPN that is up and forwards port 50,505.
pub(super) fn vpn_with_a_port(config: &str) -> Table {
    vpn_that_is(config, |_| {})
}

/// The same, but for this.
pub(super) fn vpn_that_is(config: &str, change: impl FnOnce(&mut VpnView)) -> Table {
    let port = Port::new(50_505).unwrap();
    let now = Instant::now();
    let mut view = VpnView {
        name: "v".to_owned(),
        port_state: PortState::Ready(port),
        good: Some((port, now)),
        settled: Some(port),
        calm_at: None,
        asked_at: Some((now, now)),
        epoch: 0,
        incarnation: 0,
        health: vpn::State::Stable,
        owner: "a".to_owned(),
        public_ip: None,
        alarms: Vec::new(),
        network: None,
        networks: 0,
        tunnels: 0,
        counters: Counters::default(),
        counts: Arc::default(),
    };
    change(&mut view);
    let limits = PortCacheSettings {
        ttl: seconds(3_600),
        ..parsed(config, &Given::default()).port_cache
    };
    Table::of([view].into_iter(), &limits)
}

pub(super) fn ports(config: &str) -> Table {
    match config.contains("[vpns.v]") {
        true => vpn_with_a_port(config),
        false => Table::default(),
    }
}

pub(super) fn job(key: &str) -> NewJob {
    NewJob {
        queue: DEFAULT_QUEUE.to_owned(),
        idempotency_key: key.to_owned(),
        spec: Spec {
            service: "tv".to_owned(),
            ..Spec::default()
        },
        limits: Limits::default(),
        ..NewJob::default()
    }
}

/// Lets a node die at a point of its way to the outside; says whether it came that far. The next life of the node finds
/// engines as they were, or ended with it.
async fn killed_at(point: u64, config: &str, engines_live_on: bool) -> bool {
    let mut world = World::new();
    let way = Way::cut_at(point);
    world.jobs(99).enqueue(job("one")).await.unwrap();
    let (mut life, node) = world.node_by("a", config, &way, ports(config));
    let first_life = async {
        tokio::select! {
            biased;
            () = until("cut", seconds(60), || way.is_cut()) => true,
            _ = world.job_done_within(seconds(60)) => false,
        }
    };
    if !live(&mut [&mut life], first_life).await {
        return false;
    }
    drop((life, node));
    if !engines_live_on {
        world.machine.everything_ends();
    }
    let (mut life, node) = world.node_by("a", config, &Way::open(), ports(config));
    let test = async {
        let job = world.job_done_within(CLAIM_TTL + NEW_LIFE).await;
        sleep(SETTLED).await;
        one_engine_is_left(&world, &node, &job).await;
    };
    live(&mut [&mut life], test).await;
    true
}

/// One engine runs, in traffic, with what it needs and no more.
pub(super) async fn one_engine_is_left(world: &World, node: &Node, job: &Job) {
    assert_eq!(world.machine.running(), [job.result.as_str()], "{job:?}");
    assert_eq!(world.machine.left(), 1);
    assert_eq!(node.engines("ready"), [job.result.as_str()]);
    let inside = Inside {
        engines: 1,
        ports: 1,
        ..Inside::default()
    };
    assert_eq!(node.inside().await, inside);
    let mut held = vec![format!("hold/engine:{}", job.result)];
    let label = |name: &str| world.machine.label(&job.result, name);
    if let Some(vpn) = label("weir.vpn").filter(|vpn| !vpn.is_empty()) {
        assert_eq!(label("weir.p2p_port").unwrap(), "50505");
        held.push(format!("hold/forwarded:{vpn}"));
        for port in [label("weir.port").unwrap(), "50505".to_owned()] {
            held.push(format!("hold/port:{vpn}:{port}"));
        }
        let place = label("weir.vpn_place").unwrap();
        held.push(format!("hold/vpn:{vpn}:{place}"));
    }
    assert_eq!(world.held().await, held);
}

/// Kills a node at every point that a job passes.
async fn killed_everywhere(config: &str, engines_live_on: bool) {
    let mut points = 0;
    while killed_at(points + 1, config, engines_live_on).await {
        points += 1;
        assert!(points < POINTS_MAX);
    }
    // Claim, slot, start, probe and completion, each on the way there and back, at the least.
    assert!(points >= 10, "{points}");
}

#[tokio::test(start_paused = true)]
async fn a_node_killed_between_any_two_steps_leaves_one_engine_to_its_next_life() {
    killed_everywhere(ONE, true).await;
}

#[tokio::test(start_paused = true)]
async fn so_it_does_when_there_are_other_slots() {
    killed_everywhere(SEVERAL, true).await;
}

#[tokio::test(start_paused = true)]
async fn so_it_does_when_engines_die_with_it() {
    killed_everywhere(ONE, false).await;
}

#[tokio::test(start_paused = true)]
async fn so_it_does_behind_a_vpn_where_the_engine_has_the_forwarded_port() {
    killed_everywhere(&behind_a_vpn(ONE), true).await;
    killed_everywhere(&behind_a_vpn(SEVERAL), true).await;
}
