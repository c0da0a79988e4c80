//! Hosts of a simulated mesh that gives out messages: real nodes with publishers and subscribers.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use turmoil::net::TcpListener;
use weir_node::actors::config_agent::InForce;
use weir_node::actors::config_agent::control_plane::LinkStatus;
use weir_node::broadcast::Broadcast;
use weir_node::config::{Environment, Given};
use weir_node::ports::clock::WallClock;
use weir_node::telemetry::spans::Tracer;
use weir_node::wiring::{Env, wire};
use weir_proto::control::v1::Peer;

use super::client::{self, Pool};
use super::history::Recorder;
use super::{NODES, TOPICS, WALL_CLOCK_START, publisher, topic};
use crate::cluster::{GRPC_PORT, router};
use crate::history::now;
use crate::net::{SimNet, incoming};
use crate::plant::Plant;

/// Seeds of lives of nodes are so far apart; of each life there are fewer.
const LIFE: u64 = 1 << 20;
/// Subscribers of the mesh, and how many a node serves at once.
const CLIENTS: usize = 9;
const SERVED_AT_ONCE: usize = 4;

/// What all nodes are given.
#[derive(Clone)]
pub(crate) struct Common {
    seed: u64,
    plant: Option<Plant>,
    recorder: Recorder,
    pool: Pool,
}

impl Common {
    /// Subscribers wait for the first node.
    pub(crate) fn new(seed: u64, plant: Option<Plant>, recorder: &Recorder) -> Self {
        Self {
            seed,
            plant,
            recorder: recorder.clone(),
            pool: client::pool(CLIENTS),
        }
    }
}

/// Adds a node.
pub(crate) fn add_node(sim: &mut turmoil::Sim<'_>, name: &'static str, common: &Common) {
    let (common, lives) = (common.clone(), Rc::new(Cell::new(0)));
    sim.host(name, move || {
        lives.set(lives.get() + 1);
        let place = NODES.iter().position(|node| *node == name).unwrap_or(0) as u64;
        let life = (common.seed.wrapping_mul(LIFE) + lives.get()) * NODES.len() as u64 + place + 1;
        run_node(name, life, common.clone())
    });
}

async fn run_node(name: &'static str, seed: u64, common: Common) -> turmoil::Result {
    let environment = Environment::new();
    let config = format!(
        "[node]\nname = \"{name}\"\ncores = 1\n\
         [control_plane]\nendpoints = [\"control-plane:7300\"]\n\
         [services.web]\nbackends = [\"origin:8080\"]\n[[routes]]\nservice = \"web\"\n"
    );
    let first = InForce::at_start(&config, &environment, &Given::default())?;
    let clock = WallClock::starting_at(WALL_CLOCK_START + now());
    let env = Env {
        net: Arc::new(SimNet),
        clock,
        engines: weir_node::engine_room::off(clock, seed),
        tracer: Tracer::off(),
        seed,
        environment,
    };
    let mut wired = wire(first, &env).await?;
    let peer = |node: &str| Peer {
        node_id: node.to_owned(),
        grpc_address: format!("{node}:{GRPC_PORT}"),
        ..Peer::default()
    };
    wired.control_plane.publish(LinkStatus {
        peers: NODES.into_iter().map(peer).collect(),
        ..LinkStatus::default()
    });
    let router = router(&wired, &env)?;
    let listener = TcpListener::bind(("0.0.0.0", GRPC_PORT)).await?;
    work(name, &wired.broadcast, seed, common);
    tracing::info!(life = seed, "node ready");
    let served = weir_node::grpc::serve(router, incoming(listener), std::future::pending());
    tokio::select! {
        biased;
        guardian = wired.guardians.join_next() => match guardian {
            Some(ended) => ended?.map_err(Into::into),
            None => Err("the node has no actors".into()),
        },
        served = served => served.map_err(Into::into),
    }
}

/// Publishers and subscribers. The data plane's cores are not there: one of their shards has the subscribers.
fn work(name: &'static str, broadcast: &Broadcast, seed: u64, common: Common) {
    common.recorder.begins(name, broadcast);
    let Some(shard) = broadcast.shard(0) else {
        return;
    };
    let (runs, own) = (broadcast.clone(), Rc::clone(&shard));
    tokio::task::spawn_local(async move { runs.run_shard(Some(own)).await });
    let recorder = common.recorder.clone();
    tokio::task::spawn_local(publisher::publish(name, broadcast.clone(), recorder, seed));
    for at in 0..SERVED_AT_ONCE as u64 {
        let to = (Rc::clone(&common.pool), common.recorder.clone());
        let serves = client::serve(broadcast.clone(), Rc::clone(&shard), to, seed + (at << 40));
        tokio::task::spawn_local(serves);
    }
    if common.plant == Some(Plant::GoOnAnyway) {
        tokio::task::spawn_local(goes_on_anyway(broadcast.clone()));
    }
}

/// The planted bug: whoever becomes the owner of a topic goes on with its epoch, whatever it has.
async fn goes_on_anyway(broadcast: Broadcast) {
    loop {
        for topic in (0..TOPICS).map(topic) {
            if broadcast.mesh().view().is_own(&topic) {
                broadcast.topics().go_on(&topic);
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
}
