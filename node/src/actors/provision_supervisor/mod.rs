//! Starts engines, keeps them well, and takes them out of traffic before they stop.
//!
//! Owns      the engines of this node, permits and spacing of starts, breakers, ports, and who gets which.
//! Receives  [`Configure`] from `config_agent`; [`Reserve`], [`Admit`], [`Started`], [`Ready`], [`Over`] from its jobs;
//!           [`Claimed`] from the queue of jobs; [`Looked`] from probes, drivers and leases; [`StopEngine`] from gRPC,
//!           HTTP and whoever counts engines; [`VpnHappened`] from `port_cache`; its own tick.
//! Sends     nothing; publishes its engines, from where they go to the load balancer and the registry.
//! Bound     4,096 messages; when full one is refused: callers see it, jobs and probes tell again.
//! Restarts  with no engines, and takes over what its drivers run, as after a start of the node.

mod adopt;
mod asking;
mod blocked;
mod breakers;
mod care;
mod claims;
mod demand;
mod drift;
mod elsewhere;
mod ends_first;
mod engines;
mod findings;
mod fleet_turn;
mod forwarded;
mod handle;
mod holds;
mod kept;
mod listing;
mod messages;
mod networks;
mod pacer;
mod patience;
mod peer_ports;
mod places;
mod plan;
mod problems;
mod publish;
mod rebalance;
mod registrar;
mod reservations;
mod rolling;
mod room;
mod runner;
mod scale;
mod settle;
mod spec;
mod starts;
mod succession;
#[cfg(test)]
mod tests;
mod told;
mod trace;
mod uses;
mod vpn_wait;
mod waits;
mod whose;
mod wishes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext as _, Context, Handler, SpawnHandle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_control_plane::jobs::{Holder, JobQueue};
use weir_core::provision::{Gate, Refusal};
use weir_engines::containers::Containers;
use weir_engines::driver::Driver;

use self::breakers::Breakers;
use self::claims::Claims;
pub use self::drift::{count_lost_lines, watch_images};
use self::engines::Engines;
use self::findings::Findings;
pub use self::handle::{ProvisionHandle, Wish, Wished};
pub use self::messages::{
    Admit, Claimed, Configure, Look, Looked, Over, Ready, Reserve, Reserved, Started, StopEngine,
    StopRefused, VpnEvent, VpnHappened,
};
pub use self::pacer::Pacer;
pub use self::plan::{EnginePlan, Plan};
use self::problems::Problems;
pub use self::publish::{EngineView, InTraffic, Outlet, Picture, ServiceView, give};
pub use self::registrar::{Registry, RegistryError, run as register};
use self::reservations::Reservations;
use self::rolling::Rollings;
pub use self::scale::Scale;
use self::told::Told;
pub use self::told::enqueued;
use crate::actors::config_agent::InForce;
use crate::actors::port_cache::PortCacheHandle;
use crate::config::DriverKind;
use crate::data_plane::routing::Routing;
use crate::events::{Events, Limit};
use crate::link::{Carried, Link, Permits};
use crate::peers::Peers;
use crate::ports::clock::WallClock;
use crate::ports::net::Net;
use crate::snapshot::Snapshot;
use crate::telemetry::spans::Tracer;

/// Messages that may wait.
pub const MESSAGES_WAITING_MAX: usize = 4_096;
/// How often starts, engines and drains are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What runs engines on this node.
#[derive(Clone)]
pub struct Drivers {
    /// Processes.
    pub process: Arc<dyn Driver>,
    /// Containers.
    pub docker: Arc<dyn Driver>,
    /// Looks at containers of others.
    pub containers: Arc<dyn Containers>,
}

impl Drivers {
    /// The one of this kind.
    pub fn of(&self, kind: DriverKind) -> &Arc<dyn Driver> {
        match kind {
            DriverKind::Process => &self.process,
            DriverKind::Docker => &self.docker,
        }
    }
}

/// The ways to the supervisor.
#[derive(Clone)]
pub struct Links {
    pub(crate) configure: Link<Configure>,
    pub(crate) claimed: Link<Claimed>,
    pub(crate) reserve: Link<Reserve>,
    pub(crate) admit: Link<Admit>,
    pub(crate) started: Link<Started>,
    pub(crate) ready: Link<Ready>,
    pub(crate) over: Link<Over>,
    pub(crate) looked: Link<Looked>,
    pub(crate) stop: Link<StopEngine>,
    pub(crate) vpn: Link<VpnHappened>,
}

impl Links {
    fn new() -> Self {
        let permits = Permits::new(MESSAGES_WAITING_MAX);
        Self {
            configure: Link::new(&permits),
            claimed: Link::new(&permits),
            reserve: Link::new(&permits),
            admit: Link::new(&permits),
            started: Link::new(&permits),
            ready: Link::new(&permits),
            over: Link::new(&permits),
            looked: Link::new(&permits),
            stop: Link::new(&permits),
            vpn: Link::new(&permits),
        }
    }

    pub(crate) fn point_at(&self, life: &actix::Addr<ProvisionSupervisor>) {
        self.configure.point_at(life);
        self.claimed.point_at(life);
        self.reserve.point_at(life);
        self.admit.point_at(life);
        self.started.point_at(life);
        self.ready.point_at(life);
        self.over.point_at(life);
        self.looked.point_at(life);
        self.stop.point_at(life);
        self.vpn.point_at(life);
    }
}

/// What the supervisor and its jobs are made of.
#[derive(Clone)]
pub struct Parts {
    /// The ways back to the supervisor.
    pub links: Links,
    /// Where jobs and holds are kept.
    pub queue: Arc<dyn JobQueue>,
    /// Who claims them.
    pub holder: Holder,
    /// What runs engines.
    pub drivers: Drivers,
    /// Ports of VPNs.
    pub ports: PortCacheHandle,
    /// How probes reach engines.
    pub net: Arc<dyn Net>,
    /// What runs on engines.
    pub routing: Snapshot<Routing>,
    /// What is configured, and registered by others.
    pub in_force: Snapshot<InForce>,
    /// Where the supervisor publishes.
    pub outlet: Outlet,
    /// Keeps starts apart.
    pub pacer: Pacer,
    /// The other nodes.
    pub peers: Peers,
    /// Whether engines are registered for other nodes.
    pub registers: bool,
    /// This node.
    pub node: String,
    /// Wall-clock time, to be shown.
    pub clock: WallClock,
    /// Where everything goes that happens.
    pub events: Events,
    /// Takes what jobs were spent on.
    pub tracer: Tracer,
}

/// The actor.
pub struct ProvisionSupervisor {
    parts: Parts,
    plan: Plan,
    gate: Gate<String>,
    /// Starts that wait at the gate, by job.
    waiting: BTreeMap<String, oneshot::Sender<Result<(), Refusal>>>,
    /// Looks at the gate when the next one may begin.
    next_start: Option<SpawnHandle>,
    breakers: Breakers,
    claims: Claims,
    reservations: Reservations,
    engines: Engines,
    last_failure: Option<String>,
    findings: Findings,
    rollings: Rollings,
    /// VPNs whose forwarded port no engine has, and until when that is left so.
    unused_ports: BTreeMap<String, Instant>,
    problems: Problems,
    rebalance: rebalance::Rebalance,
    asking_for_uses: uses::Asking,
    told: Told,
    /// Which life of the actor this is.
    life: u64,
    /// Tasks that end with this life.
    followers: JoinSet<()>,
}

impl ProvisionSupervisor {
    /// A life that knows no engine yet.
    pub fn new(parts: Parts, plan: Plan) -> Self {
        let limits = &plan.limits;
        parts.pacer.set_interval(limits.interval_min);
        Self {
            gate: Gate::new(claims::gate_limits(limits)),
            waiting: BTreeMap::new(),
            next_start: None,
            breakers: Breakers::new(claims::breaker_config(limits)),
            claims: Claims::default(),
            reservations: Reservations::new(&plan),
            engines: Engines::default(),
            last_failure: None,
            findings: Findings::default(),
            rollings: Rollings::default(),
            unused_ports: BTreeMap::new(),
            problems: Problems::default(),
            rebalance: rebalance::Rebalance::default(),
            asking_for_uses: uses::Asking::default(),
            told: Told::default(),
            life: parts.outlet.next_life(),
            followers: JoinSet::new(),
            parts,
            plan,
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.let_start(now, ctx);
        self.claim(now);
        self.ask_for_uses();
        self.care(now);
        self.find_again(now);
        self.use_forwarded_ports(now);
        self.rebalance(now);
        self.tell_changes(now);
        self.publish();
        ctx.run_later(TICK, Self::tick);
    }
}

impl Actor for ProvisionSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.follow_drivers();
        self.follow_lists();
        self.follow_networks();
        ctx.run_later(TICK, Self::tick);
    }
}

impl Handler<Carried<Configure>> for ProvisionSupervisor {
    type Result = ();

    fn handle(&mut self, configure: Carried<Configure>, ctx: &mut Context<Self>) {
        configure.taken();
        let now = Instant::now();
        let plan = configure.message.plan;
        self.gate.set_limits(claims::gate_limits(&plan.limits));
        self.parts.pacer.set_interval(plan.limits.interval_min);
        self.breakers
            .configure(claims::breaker_config(&plan.limits), |service| {
                plan.services.contains_key(service)
            });
        self.reservations.configure(&plan);
        self.roll_anew(&plan);
        self.plan = plan;
        self.engines_of_plan(now);
        self.compare_all();
        self.let_start(now, ctx);
        self.claim(now);
        self.publish();
    }
}

impl Handler<Carried<Reserve>> for ProvisionSupervisor {
    type Result = Result<Option<Reserved>, Refusal>;

    fn handle(&mut self, reserve: Carried<Reserve>, _: &mut Context<Self>) -> Self::Result {
        self.reserve(&reserve.message)
    }
}

impl Handler<Carried<Admit>> for ProvisionSupervisor {
    type Result = Result<Option<Limit>, Refusal>;

    fn handle(&mut self, admit: Carried<Admit>, ctx: &mut Context<Self>) -> Self::Result {
        let Admit { job, slot, start } = admit.message;
        let now = Instant::now();
        self.reservations.holds_slot(&job, slot);
        self.is_worth_trying(&job, now)?;
        self.gate.admit(job.clone())?;
        self.waiting.insert(job.clone(), start);
        self.let_start(now, ctx);
        Ok(self.waits_for(&job))
    }
}

impl Handler<Carried<StopEngine>> for ProvisionSupervisor {
    type Result = Result<(), StopRefused>;

    fn handle(&mut self, stop: Carried<StopEngine>, _: &mut Context<Self>) -> Self::Result {
        let stopped = self.stop_engine(&stop.message, Instant::now());
        self.publish();
        stopped
    }
}
