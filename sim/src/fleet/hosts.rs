//! Hosts of a simulated fleet: the store, instances of the control plane, and nodes.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use turmoil::net::TcpListener;
use weir_control_plane::clock::WallClock as ControlClock;
use weir_control_plane::election::Standing;
use weir_control_plane::governance::guard::Access;
use weir_control_plane::keys::DEFAULT_NAMESPACE;
use weir_control_plane::server::{ControlPlane, Limits, Options};
use weir_control_plane::store::memory::{self, MemoryStore};
use weir_control_plane::store::{Op, Revision, Store, Txn, Watch, Watched};
use weir_node::actors::config_agent::InForce;
use weir_node::config::{Config, Environment, Given};
use weir_node::control_link::ControlLink;
use weir_node::ports::clock::WallClock;
use weir_node::telemetry::spans::Tracer;
use weir_node::wiring::{Env, Wired, wire};

use super::history::{Inside, Recorder};
use super::wire::{Way, Wire};
use super::{BACKENDS, INSTANCES, SERVICE, WALL_CLOCK_START, is_grouped};
use crate::history::now;
use crate::net::{SimNet, incoming};
use crate::plant::Plant;

/// Where every instance listens.
pub(crate) const PORT: u16 = 7300;
/// Where every leader writes its term.
pub(crate) const DUTY_KEY: &str = "sim/duty";

const DUTY_EVERY: Duration = Duration::from_millis(700);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// No wait is longer than this before the store is there.
const STORE_WAIT: Duration = Duration::from_millis(10);

/// The store, once its host runs.
pub(crate) type SharedStore = Rc<OnceCell<Arc<MemoryStore>>>;

/// What all hosts are given.
#[derive(Clone)]
pub(crate) struct Common {
    /// Seeds everything random.
    pub(crate) seed: u64,
    /// A bug to plant.
    pub(crate) plant: Option<Plant>,
    /// Where the history goes.
    pub(crate) recorder: Recorder,
    /// The store.
    pub(crate) store: SharedStore,
}

fn unix_now() -> Duration {
    WALL_CLOCK_START + now()
}

/// Adds the host that the store lives on, and that sees all that it takes.
pub(crate) fn add_store(sim: &mut turmoil::Sim<'_>, common: &Common) {
    let common = common.clone();
    sim.host("store", move || run_store(common.clone()));
}

async fn run_store(common: Common) -> turmoil::Result {
    let store = Arc::new(MemoryStore::start(memory::Options::new(common.seed)));
    let all = Watch {
        prefix: bytes::Bytes::new(),
        from: Revision(2),
    };
    let mut all = store.watch(all).await?;
    if common.store.set(store).is_err() {
        return Err("the store's host started twice".into());
    }
    while let Some(item) = all.next().await {
        if let Watched::Changed { revision, events } = item? {
            for event in events {
                common.recorder.stored(revision, event);
            }
        }
    }
    Err("the store ended".into())
}

/// Adds an instance of the control plane; its way to the store is as `way` says.
pub(crate) fn add_instance(
    sim: &mut turmoil::Sim<'_>,
    name: &'static str,
    way: &watch::Receiver<Way>,
    common: &Common,
) {
    let (way, common, starts) = (way.clone(), common.clone(), Rc::new(Cell::new(0)));
    sim.host(name, move || {
        starts.set(starts.get() + 1);
        let seed = common.seed.wrapping_mul(31).wrapping_add(starts.get());
        let seed = name.bytes().fold(seed, |seed, byte| {
            seed.wrapping_mul(257).wrapping_add(u64::from(byte))
        });
        run_instance(name, seed, way.clone(), common.clone())
    });
}

async fn run_instance(
    name: &'static str,
    seed: u64,
    way: watch::Receiver<Way>,
    common: Common,
) -> turmoil::Result {
    let store = loop {
        match common.store.get() {
            Some(store) => break Arc::clone(store),
            None => sleep(STORE_WAIT).await,
        }
    };
    let store: Arc<dyn Store> = Arc::new(Wire::new(store, way, seed, common.plant));
    let options = Options {
        instance: name.to_owned(),
        address: format!("{name}:{PORT}"),
        namespace: DEFAULT_NAMESPACE.to_owned(),
        access: Access::OpenLoopback,
        tls: None,
        limits: Limits::default(),
        clock: ControlClock::starting_at(unix_now()),
        seed,
    };
    let instance = ControlPlane::start(Arc::clone(&store), options).await?;
    let standing = instance.standing();
    tokio::task::spawn_local(watch_standing(name, standing.clone(), common.recorder));
    tokio::task::spawn_local(do_duty(store, standing, common.plant));
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    tracing::info!("instance ready");
    let served = instance.serve_with(incoming(listener), std::future::pending());
    served.await.map_err(Into::into)
}

async fn watch_standing(
    name: &'static str,
    mut standing: watch::Receiver<Standing>,
    recorder: Recorder,
) {
    let mut believed = None;
    loop {
        let fence = standing.borrow_and_update().is_self.clone();
        let term = fence.map(|fence| fence.term());
        if believed != term {
            recorder.believes(name, term);
            believed = term;
        }
        if standing.changed().await.is_err() {
            return;
        }
    }
}

/// What only a leader may do, time and again.
async fn do_duty(store: Arc<dyn Store>, standing: watch::Receiver<Standing>, plant: Option<Plant>) {
    loop {
        sleep(DUTY_EVERY).await;
        let Some(fence) = standing.borrow().is_self.clone() else {
            continue;
        };
        let mut duty = Txn {
            when: vec![fence.guard()],
            then: vec![Op::Put {
                key: DUTY_KEY.into(),
                value: fence.term().to_string().into(),
                lease: None,
            }],
            or_else: Vec::new(),
        };
        if plant == Some(Plant::NoFence) {
            duty.when.clear();
        }
        if let Err(error) = store.txn(duty).await {
            tracing::trace!(%error, "a duty was not done");
        }
    }
}

/// Adds a node that the control plane steers. Its data plane is not there: that has threads.
pub(crate) fn add_node(sim: &mut turmoil::Sim<'_>, name: &'static str, common: &Common) {
    let common = common.clone();
    sim.host(name, move || run_node(name, common.clone()));
}

async fn run_node(name: &'static str, common: Common) -> turmoil::Result {
    let environment = Environment::new();
    let text = config(name);
    let file = Config::parse(&text, &environment, &Given::default())?;
    let clock = WallClock::starting_at(unix_now());
    let link = ControlLink::prepare(&file, clock)?;
    let first = InForce::at_start(&text, &environment, link.given())?;
    let seed = name.bytes().fold(common.seed, |seed, byte| {
        seed.wrapping_mul(263).wrapping_add(u64::from(byte))
    });
    let env = Env {
        net: Arc::new(SimNet),
        clock,
        engines: weir_node::engine_room::off(clock, seed),
        tracer: Tracer::off(),
        seed,
        environment,
    };
    let mut wired = wire(first.clone(), &env).await?;
    let decoy = match common.plant {
        Some(Plant::HollowAck) if name == super::NODES[0] => Some(wire(first, &env).await?),
        _ => None,
    };
    let steered = decoy.as_ref().unwrap_or(&wired);
    // Ends the stream when it is dropped.
    let _linked = link.start(steered, &env);
    let status = steered.control_plane.clone();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        tokio::select! {
            biased;
            ended = wired.guardians.join_next() => match ended {
                Some(ended) => ended??,
                None => return Err("the node has no actors".into()),
            },
            _ = look.tick() => {
                let inside = inside(&wired, &status.load());
                if seen.as_ref() != Some(&inside) {
                    common.recorder.saw(name, inside.clone());
                    seen = Some(inside);
                }
            }
        }
    }
}

fn inside(
    wired: &Wired,
    link: &weir_node::actors::config_agent::control_plane::LinkStatus,
) -> Inside {
    let in_force = wired.config.in_force();
    let given = in_force.config.given();
    let knobs = given.profile.iter();
    let weights = given.weights.values().flatten();
    Inside {
        profile: knobs
            .map(|(path, value)| (path.to_owned(), value.to_string()))
            .collect(),
        weights: weights
            .map(|(backend, weight)| (backend.to_string(), *weight))
            .collect::<BTreeMap<String, u32>>(),
        effective_hash: link.profile.effective_hash.clone(),
        instance: link.connected.then(|| link.instance.to_string()),
    }
}

fn config(name: &str) -> String {
    let backends = BACKENDS.map(|id| {
        format!("[[services.{SERVICE}.backends]]\nid = \"{id}\"\naddress = \"{id}:8080\"\n")
    });
    let endpoints = INSTANCES.map(|instance| format!("\"{instance}:{PORT}\""));
    let labels = match is_grouped(name) {
        true => "labels = { region = \"eu\" }\n",
        false => "",
    };
    format!(
        "[node]\nname = \"{name}\"\ncores = 1\n{labels}\
         [control_plane]\nendpoints = [{}]\n{}\
         [[routes]]\nservice = \"{SERVICE}\"\n",
        endpoints.join(", "),
        backends.concat(),
    )
}
