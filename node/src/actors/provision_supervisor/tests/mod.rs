//! Nodes with the actor under its guardian, in paused time: the store is real, machine and network are scripted.

mod bounds;
mod breaker;
mod burst;
mod care;
mod clocks;
mod cycles;
mod doubt;
mod handing;
mod images;
mod killed;
mod late;
mod lives;
mod networks;
mod outdated;
mod outside;
mod queue;
mod races;
mod refusals;
mod scaling;
mod settings;
mod store;
mod store_steps;
mod successors;
mod waits;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use actix::{Context, Handler, Message};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};
use weir_control_plane::jobs::{
    self, DEFAULT_QUEUE, Holder, Job, JobList, JobQueue as _, Jobs, State,
};
use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};
use weir_control_plane::store::memory::{MemoryStore, Options};
use weir_control_plane::store::{List, Store};
use weir_core::balance::BackendLoad;
use weir_core::provision::Refusal;
use weir_engines::containers::Containers;

use self::handing::hand_on;
use self::outside::{Scripted, Wires};
use self::way::Way;
use super::{
    Drivers, MESSAGES_WAITING_MAX, Outlet, Pacer, Parts, Picture, Plan, ProvisionHandle,
    ProvisionSupervisor, Scale, StopEngine, Wish, Wished,
};
use crate::actors::config_agent::InForce;
use crate::actors::config_agent::control_plane::LinkStatus;
use crate::actors::load_balancer::{self, LoadBalancer, LoadBalancerHandle};
use crate::actors::port_cache::{PortCacheHandle, Table};
use crate::config::{Config, Environment, Given};
use crate::data_plane::WaitSignal;
use crate::events::Events;
use crate::guardian::{Budget, guard};
use crate::link::{Carried, Link, Permits};
use crate::peers::Peers;
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;
use crate::telemetry::spans::Tracer;

const WITHIN: Duration = Duration::from_secs(5);
/// Engines that the load balancer is told of.
const BALANCED_MAX: usize = 20;
/// Between two looks of a test.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a claim or a hold outlives its node.
const CLAIM_TTL: Duration = Duration::from_secs(15);
/// What a new life needs for a job once it may have it.
const NEW_LIFE: Duration = Duration::from_secs(6);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn parsed(text: &str, given: &Given) -> Config {
    Config::parse(text, &Environment::new(), given).unwrap()
}

/// Makes the actor panic.
#[derive(Message, Debug)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Carried<Crash>> for ProvisionSupervisor {
    type Result = ();

    fn handle(&mut self, _: Carried<Crash>, _: &mut Context<Self>) {
        panic!("as the test wished");
    }
}

/// Asks the actor what it holds.
#[derive(Message, Debug)]
#[rtype(result = "Inside")]
struct Inspect;

/// What the actor holds; nothing when nothing is under way and nothing runs.
#[derive(Debug, Default, PartialEq, Eq, actix::MessageResponse)]
struct Inside {
    waiting: usize,
    gate: usize,
    in_hand: usize,
    pending: usize,
    ports: usize,
    engines: usize,
    found: usize,
}

impl Handler<Carried<Inspect>> for ProvisionSupervisor {
    type Result = Inside;

    fn handle(&mut self, _: Carried<Inspect>, _: &mut Context<Self>) -> Self::Result {
        let (pending, ports) = self.reservations.held();
        Inside {
            waiting: self.waiting.len(),
            gate: self.gate.running().len() + self.gate.waiting().len(),
            in_hand: self.claims.in_hand(),
            pending,
            ports,
            engines: self.engines.all().count(),
            found: self.findings.ids().count(),
        }
    }
}

/// What outlives nodes: the store, a machine, time.
struct World {
    store: Arc<dyn Store>,
    machine: Arc<Scripted>,
    clock: WallClock,
    /// How far, in ms, the clock of those that keep jobs is ahead.
    ahead_ms: Arc<AtomicI64>,
    lives: u64,
    /// Nodes wait until the control plane tells them of their engines.
    registers: bool,
    /// The machine runs containers, and no processes.
    has_containers: bool,
}

/// One life of a node: it goes on while a test lets it [`live`], and ends when it is dropped.
type Life = LocalSet;

/// What a test holds of a node.
struct Node {
    handle: ProvisionHandle,
    inspect: Link<Inspect>,
    crash: Link<Crash>,
    parts: Parts,
    balancer: LoadBalancerHandle,
    store_is_away: Arc<AtomicBool>,
    pages_listed: Arc<AtomicU64>,
    /// What is known of VPNs.
    vpns: Snapshot<Table>,
    scaling: mpsc::Sender<Scale>,
    wait_signal: WaitSignal,
}

/// Lets nodes live until something has come about.
async fn live<T>(lives: &mut [&mut Life], until: impl Future<Output = T>) -> T {
    let mut until = pin!(until);
    std::future::poll_fn(|cx| {
        for life in lives.iter_mut() {
            // Its actor never ends by itself.
            let _: Poll<()> = Pin::new(&mut **life).poll(cx);
        }
        until.as_mut().poll(cx)
    })
    .await
}

/// Waits until it holds; in vain for `most` is a failure.
async fn until(what: &str, most: Duration, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + most;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {most:?}: {what}");
        sleep(LOOK_INTERVAL).await;
    }
}

fn balancer() -> (LoadBalancerHandle, load_balancer::Outlet) {
    let outlet = load_balancer::Outlet::new();
    (LoadBalancerHandle::new(&outlet), outlet)
}

impl World {
    fn new() -> Self {
        Self {
            store: Arc::new(MemoryStore::start(Options::new(1))),
            machine: Scripted::new(),
            clock: WallClock::starting_at(seconds(1_000_000)),
            ahead_ms: Arc::default(),
            lives: 0,
            registers: false,
            has_containers: false,
        }
    }

    fn jobs(&self, seed: u64) -> Jobs {
        let keys = Keys::new(DEFAULT_NAMESPACE).unwrap();
        let options = jobs::Options::new(seed);
        let (clock, ahead_ms) = (self.clock, Arc::clone(&self.ahead_ms));
        let ahead_ms = move || ahead_ms.load(Ordering::Relaxed);
        let now = Arc::new(move || clock.unix_ms_now().saturating_add_signed(ahead_ms()));
        Jobs::new(Arc::clone(&self.store), keys, now, options)
    }

    fn node(&mut self, name: &str, text: &str) -> (Life, Node) {
        self.node_by(name, text, &Way::open(), Table::default())
    }

    /// A life of a node that reaches the outside by this way.
    fn node_by(&mut self, name: &str, text: &str, way: &Way, ports: Table) -> (Life, Node) {
        self.lives += 1;
        let store_is_away = Arc::new(AtomicBool::new(false));
        let pages_listed = Arc::new(AtomicU64::new(0));
        let queue = Arc::new(queue::Reached {
            jobs: self.jobs(self.lives),
            way: way.clone(),
            is_away: Arc::clone(&store_is_away),
            pages: Arc::clone(&pages_listed),
        });
        let in_force = Snapshot::new(InForce::first(parsed(text, &Given::default())));
        let (outlet, drivers) = (Outlet::default(), self.drivers(way));
        let vpns = Snapshot::new(ports);
        let handle = ProvisionHandle::new(
            &outlet,
            queue.clone(),
            drivers.clone(),
            in_force.clone(),
            self.registers,
        );
        let (balancer, balancer_outlet) = balancer();
        let net = Arc::new(Wires {
            machine: Arc::clone(&self.machine),
            way: way.clone(),
        });
        let parts = Parts {
            links: handle.links.clone(),
            queue,
            holder: Holder {
                node_id: name.to_owned(),
                boot_id: format!("boot-{}", self.lives),
            },
            drivers,
            ports: PortCacheHandle::new(vpns.clone()),
            peers: Peers::new(name, Snapshot::new(LinkStatus::default()), net.clone()),
            net,
            routing: balancer.routing().clone(),
            in_force,
            outlet,
            pacer: Pacer::default(),
            registers: self.registers,
            node: name.to_owned(),
            clock: self.clock,
            events: Events::new(name, "e".to_owned(), self.clock),
            tracer: Tracer::off(),
        };
        let (scaling, mut scales) = mpsc::channel::<Scale>(1);
        let node = Node {
            scaling,
            wait_signal: WaitSignal::default(),
            handle,
            inspect: Link::new(&Permits::new(4)),
            crash: Link::new(&Permits::new(4)),
            parts,
            balancer,
            store_is_away,
            pages_listed,
            vpns,
        };
        let life = Life::new();
        life.spawn_local(async move {
            while let Some(scale) = scales.recv().await {
                scale.run().await;
            }
        });
        node.begin(&life, balancer_outlet);
        (life, node)
    }

    fn drivers(&self, way: &Way) -> Drivers {
        let driver = |machine: &Arc<Scripted>| {
            Arc::new(outside::Reached {
                machine: Arc::clone(machine),
                way: way.clone(),
            })
        };
        let docker = driver(&self.machine);
        let process = match self.has_containers {
            true => driver(&Scripted::new()),
            false => docker.clone(),
        };
        let containers = Arc::clone(&self.machine) as Arc<dyn Containers>;
        Drivers {
            process,
            docker,
            containers,
        }
    }

    /// All jobs, whatever became of them.
    async fn all_jobs(&self) -> Vec<Job> {
        // One that changes while pages are read is on two of them.
        let (jobs, mut all) = (self.jobs(0), BTreeMap::new());
        let mut list = JobList {
            queue: DEFAULT_QUEUE.to_owned(),
            entries_max: 200,
            ..JobList::default()
        };
        loop {
            let page = jobs.list(list.clone()).await.unwrap();
            all.extend(page.jobs.into_iter().map(|job| (job.job_id.clone(), job)));
            if page.next.is_empty() {
                return all.into_values().collect();
            }
            list.after = page.next;
        }
    }

    /// The only job, once it is done.
    async fn job_done_within(&self, most: Duration) -> Job {
        let deadline = Instant::now() + most;
        loop {
            let jobs = self.all_jobs().await;
            let [job] = &jobs[..] else {
                panic!("one job: {jobs:?}");
            };
            if job.state() == State::Done {
                return job.clone();
            }
            assert!(Instant::now() < deadline, "not within {most:?}: {job:?}");
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// What nodes hold in the store: claims, places of the fleet, holds; without the path to them.
    async fn held(&self) -> Vec<String> {
        let keys = Keys::new(DEFAULT_NAMESPACE).unwrap();
        let prefix = keys.job_queues();
        let mut list = List {
            prefix: prefix.clone(),
            entries_max: 100,
            ..List::default()
        };
        let mut held = Vec::new();
        loop {
            let page = self.store.list(list.clone()).await.unwrap();
            list.after = page.entries.last().map(|entry| entry.key.clone());
            for entry in &page.entries {
                let key = String::from_utf8_lossy(&entry.key[prefix.len()..]);
                let (_, key) = key.split_once('/').unwrap();
                if ["claim/", "held/", "slot/", "hold/"]
                    .iter()
                    .any(|kind| key.starts_with(kind))
                {
                    held.push(key.to_owned());
                }
            }
            if page.entries.is_empty() {
                return held;
            }
        }
    }
}

impl Node {
    /// Starts the actors and what hands engines on.
    fn begin(&self, life: &Life, balancer_outlet: load_balancer::Outlet) {
        let (parts, in_force) = (self.parts.clone(), self.parts.in_force.clone());
        let (links, inspect) = (self.handle.links.clone(), self.inspect.clone());
        let crash = self.crash.clone();
        life.spawn_local(guard(
            "provision_supervisor",
            MESSAGES_WAITING_MAX,
            Budget::default(),
            move || ProvisionSupervisor::new(parts.clone(), Plan::of(&in_force.load().config)),
            move |life| {
                links.point_at(life);
                inspect.point_at(life);
                crash.point_at(life);
            },
        ));
        let parts = load_balancer::Parts {
            outlet: balancer_outlet,
            net: Arc::clone(&self.parts.net),
            probed: self.balancer.probed.clone(),
            cores: 1,
            tracer: Tracer::off(),
            seed: 1,
        };
        let balancer = self.balancer.clone();
        life.spawn_local(guard(
            "load_balancer",
            load_balancer::MESSAGES_WAITING_MAX,
            Budget::default(),
            move || LoadBalancer::new(parts.clone()),
            move |life| {
                balancer.configure.point_at(life);
                balancer.command.point_at(life);
                balancer.probed.point_at(life);
            },
        ));
        let (handle, balancer) = (self.handle.clone(), self.balancer.clone());
        life.spawn_local(hand_on(handle, self.parts.clone(), balancer));
    }

    async fn configure(&self, text: &str) {
        let config = parsed(text, &Given::default());
        let plan = Plan::of(&config);
        self.parts.in_force.publish(InForce::first(config));
        self.handle.configure(plan, WITHIN).await.unwrap();
    }

    async fn wish(&self, key: &str) -> Result<Wished, Refusal> {
        self.wish_of("tv", key).await
    }

    async fn wish_of(&self, service: &str, key: &str) -> Result<Wished, Refusal> {
        let wish = Wish {
            service: service.into(),
            key: key.to_owned(),
            reason: "a test".to_owned(),
            engines_wanted: None,
            trace: None,
        };
        self.handle.provision(wish).await
    }

    fn picture(&self) -> Arc<Picture> {
        self.handle.picture()
    }

    /// Engines in this state, by id.
    fn engines(&self, state: &str) -> Vec<String> {
        let picture = self.picture();
        let engines = picture.engines.iter();
        let wanted = engines.filter(|engine| engine.state == state);
        wanted.map(|engine| engine.id.clone()).collect()
    }

    async fn inside(&self) -> Inside {
        self.inspect.ask(Inspect, None, WITHIN).await.unwrap()
    }

    /// Decides from now on how many engines there are.
    fn scale(&self) {
        let scale = Scale {
            node: self.parts.node.clone(),
            in_force: self.parts.in_force.clone(),
            outlet: self.parts.outlet.clone(),
            queue: Arc::clone(&self.parts.queue),
            links: self.parts.links.clone(),
            peers: self.parts.peers.clone(),
            ports: self.parts.ports.clone(),
            routing: self.parts.routing.clone(),
            wait_signal: self.wait_signal.clone(),
            events: self.parts.events.clone(),
            tracer: self.parts.tracer.clone(),
        };
        self.scaling.try_send(scale).ok().unwrap();
    }

    fn load_of(&self, engine: &str) -> Arc<BackendLoad> {
        let routing = self.parts.routing.load();
        let mut all = routing
            .services
            .iter()
            .flat_map(|service| &service.backends);
        let found = all.find(|view| view.backend.id.as_str() == engine);
        Arc::clone(&found.unwrap().backend.load)
    }

    /// So many requests begin on an engine.
    fn requests(&self, engine: &str, count: u32) {
        let load = self.load_of(engine);
        (0..count).for_each(|_| load.started(0));
    }

    fn requests_end(&self, engine: &str, count: u32) {
        let load = self.load_of(engine);
        (0..count).for_each(|_| load.finished(0, false));
    }

    fn store_is_away(&self, is_away: bool) {
        self.store_is_away.store(is_away, Ordering::Relaxed);
    }
}
