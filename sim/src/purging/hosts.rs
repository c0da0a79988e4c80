//! Hosts of a simulated mesh that purges: real nodes, each with a clock of its own.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use turmoil::net::TcpListener;
use weir_node::actors::config_agent::InForce;
use weir_node::actors::config_agent::control_plane::LinkStatus;
use weir_node::config::{Environment, Given};
use weir_node::ports::clock::WallClock;
use weir_node::telemetry::spans::Tracer;
use weir_node::wiring::{Env, Wired, wire};
use weir_proto::control::v1::Peer;

use super::history::Recorder;
use super::planted::Planted;
use super::serving::{self, Parts, Serving};
use super::world::World;
use super::{NODES, WALL_CLOCK_START, work};
use crate::cluster::{GRPC_PORT, router};
use crate::history::now;
use crate::net::{SimNet, incoming};
use crate::plant::Plant;

/// Seeds of lives of nodes are so far apart; of each life there are fewer.
const LIFE: u64 = 1 << 20;

/// What all nodes are given.
#[derive(Clone)]
pub(crate) struct Common {
    /// Seeds everything random.
    pub(crate) seed: u64,
    /// A bug to plant.
    pub(crate) plant: Option<Plant>,
    /// Whether a node asks the one that owns a key.
    pub(crate) asks_owners: bool,
    /// Where the history goes.
    pub(crate) recorder: Recorder,
    /// What nodes ask.
    pub(crate) world: World,
}

/// Adds a node whose clock is ahead by so much.
pub(crate) fn add_node(
    sim: &mut turmoil::Sim<'_>,
    name: &'static str,
    ahead: Duration,
    common: &Common,
) {
    let (common, lives) = (common.clone(), Rc::new(Cell::new(0)));
    sim.host(name, move || {
        lives.set(lives.get() + 1);
        let place = NODES.iter().position(|node| *node == name).unwrap_or(0) as u64;
        // What a process purges is told apart by its seed.
        let life = (common.seed.wrapping_mul(LIFE) + lives.get()) * NODES.len() as u64 + place + 1;
        run_node(name, ahead, life, common.clone())
    });
}

async fn run_node(
    name: &'static str,
    ahead: Duration,
    seed: u64,
    common: Common,
) -> turmoil::Result {
    let environment = Environment::new();
    let config = format!(
        "[node]\nname = \"{name}\"\ncores = 1\n\
         [control_plane]\nendpoints = [\"control-plane:7300\"]\n\
         [services.web]\nbackends = [\"origin:8080\"]\n[[routes]]\nservice = \"web\"\n"
    );
    let first = InForce::at_start(&config, &environment, &Given::default())?;
    let clock = WallClock::starting_at(WALL_CLOCK_START + now() + ahead);
    let env = Env {
        net: Arc::new(SimNet),
        clock,
        engines: weir_node::engine_room::off(clock, seed),
        tracer: Tracer::off(),
        seed,
        environment,
    };
    let mut wired = wire(first, &env).await?;
    meet(&wired);
    let serving = Rc::new(Serving::new(Parts {
        node: name,
        tier: wired.cache_tier.clone(),
        recorder: common.recorder,
        world: common.world.clone(),
        clock,
        asks_owners: common.asks_owners,
        planted: Planted::new(common.plant),
        seed,
    }));
    let router = router(&wired, &env)?;
    let grpc = TcpListener::bind(("0.0.0.0", GRPC_PORT)).await?;
    let ingress = TcpListener::bind(("0.0.0.0", serving::PORT)).await?;
    tracing::info!(origin = seed, ?ahead, "node ready");
    common.world.begins(name, Rc::clone(&serving));
    tokio::task::spawn_local(answer_nodes(ingress, Rc::clone(&serving)));
    tokio::task::spawn_local(work::purge(Rc::clone(&serving), seed));
    tokio::task::spawn_local(work::read(serving, seed));
    let served = weir_node::grpc::serve(router, incoming(grpc), std::future::pending());
    tokio::select! {
        biased;
        guardian = wired.guardians.join_next() => match guardian {
            Some(ended) => ended?.map_err(Into::into),
            None => Err("the node has no actors".into()),
        },
        served = served => served.map_err(Into::into),
    }
}

/// The node knows the others, as the control plane would tell it.
fn meet(wired: &Wired) {
    let peer = |node: &str| Peer {
        node_id: node.to_owned(),
        grpc_address: format!("{node}:{GRPC_PORT}"),
        ..Peer::default()
    };
    wired.control_plane.publish(LinkStatus {
        peers: NODES.into_iter().map(peer).collect(),
        ..LinkStatus::default()
    });
}

async fn answer_nodes(ingress: TcpListener, serving: Rc<Serving>) {
    while let Ok((stream, _)) = ingress.accept().await {
        let serving = Rc::clone(&serving);
        // A node that leaves early is its own business.
        tokio::task::spawn_local(async { drop(serving.hop(stream).await) });
    }
}
