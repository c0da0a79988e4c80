//! Creates every actor and connects it: who runs and who talks to whom.
//!
//! Everything here lives on one control thread (a `LocalSet`); the data plane has threads of its own
//! and reads what the actors publish.

mod broadcast;
mod cache;
mod cdn;
mod engines;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::engines::EngineLinks;
use crate::actors::cache_tier::CacheTierHandle;
use crate::actors::cache_warmer::CacheWarmerHandle;
use crate::actors::cdn_outbox::CdnOutboxHandle;
use crate::actors::config_agent::control_plane::LinkStatus;
use crate::actors::config_agent::{self, ConfigAgent, ConfigAgentHandle, InForce, Outlets, Takers};
use crate::actors::load_balancer::{
    Configure, LoadBalancer, LoadBalancerHandle, MESSAGES_WAITING_MAX, Outlet, Parts,
};
use crate::actors::port_cache::PortCacheHandle;
use crate::actors::provision_supervisor::ProvisionHandle;
use crate::broadcast::Broadcast;
use crate::config::{Config, Environment};
use crate::data_plane::stop::Stop;
use crate::data_plane::warming::Warming;
use crate::data_plane::{CachePeers, CoreParts, WaitSignal};
use crate::engine_room::EngineRoom;
use crate::events::{Events, backends};
use crate::guardian::{Budget, BudgetSpent, guard};
use crate::link::Refused;
use crate::mailbox::Watched;
use crate::orders::OrdersHandle;
use crate::peers::{PeerKey, Peers};
use crate::ports::clock::WallClock;
use crate::ports::net::Net;
use crate::snapshot::Snapshot;
use crate::telemetry::access::{AccessSink, Lines};
use crate::telemetry::alerts::Alerts;
use crate::telemetry::history::History;
use crate::telemetry::logs::LogTuning;
use crate::telemetry::metrics::NodeMetrics;
use crate::telemetry::spans::Tracer;

/// What a node is given from outside.
#[derive(Clone, Debug)]
pub struct Env {
    /// How others are reached.
    pub net: Arc<dyn Net>,
    /// Wall-clock time.
    pub clock: WallClock,
    /// Decides what is traced.
    pub tracer: Tracer,
    /// Seeds everything random.
    pub seed: u64,
    /// The process environment that configurations may refer to.
    pub environment: Environment,
    /// What engines are run with.
    pub engines: EngineRoom,
}

/// The node's actors, running.
pub struct Wired {
    /// Services, backends and commands on them.
    pub load_balancer: LoadBalancerHandle,
    /// The configuration in force.
    pub config: ConfigAgentHandle,
    /// What operators want of the node's clients.
    pub orders: OrdersHandle,
    /// Engines of this node, and wishes for more.
    pub provision: ProvisionHandle,
    /// Ports of VPNs.
    pub port_cache: PortCacheHandle,
    /// What is kept of answers, and purges of it.
    pub cache_tier: CacheTierHandle,
    /// What CDNs have not been told yet.
    pub cdns: CdnOutboxHandle,
    /// Messages to many.
    pub broadcast: Broadcast,
    /// The actor that tends topics.
    pub broadcaster: Watched,
    /// What is fetched before it is asked for.
    pub cache_warmer: CacheWarmerHandle,
    /// The other nodes.
    pub peers: Peers,
    /// What happens.
    pub events: Events,
    /// How the stream to the control plane is.
    pub control_plane: Snapshot<LinkStatus>,
    /// What each core is given.
    pub core_parts: CoreParts,
    /// Lines of the access log, for whoever writes them.
    pub access_lines: Option<mpsc::Receiver<Lines>>,
    /// How old the status may be that a poll is shown.
    pub status_age_max: Snapshot<Duration>,
    /// What is said of log lines.
    pub logs: LogTuning,
    /// How the node was.
    pub history: History,
    /// What the node tells of itself when a limit is passed.
    pub alerts: Alerts,
    /// One task for each actor; a result is the end of the node.
    pub guardians: JoinSet<Result<(), BudgetSpent>>,
}

/// Starts every actor with `first`. Must run within a `LocalSet`.
///
/// # Errors
/// When the load balancer does not take its part.
pub async fn wire(first: InForce, env: &Env) -> Result<Wired, Refused> {
    let config = Arc::clone(&first.config);
    let broadcast = Broadcast::new(&config, env.clock, env.seed);
    let events = Events::new(&config.node.name, epoch(env), env.clock);
    let outlets = Outlets::new(first, &env.tracer.weak(), &broadcast, &events);
    let (orders, stop) = OrdersHandle::new();
    let mut guardians = JoinSet::new();

    let outlet = Outlet::new();
    let load_balancer = guard_load_balancer(&outlet, env, config.node.cores, &mut guardians);
    let from = (&outlet, &load_balancer, &outlets);
    let (core_parts, access_lines) = core_parts(&config, env, from, stop);

    let control_plane = Snapshot::new(LinkStatus::default());
    let peers = peers_of(&config, &control_plane, env);
    let in_force = outlets.in_force.clone();
    let cache_tier = cache::wire(&core_parts, &peers, env, &in_force, &mut guardians);
    let stop = (&core_parts.stop, env.seed);
    let broadcaster = broadcast::wire((&broadcast, &peers), &events, stop, &mut guardians);
    follow_backends(&events, &outlet, &load_balancer);
    let cdns = cdn::wire(&cache_tier, &events, env, &in_force, &mut guardians);
    let told = (&control_plane, &events);
    let cache_warmer = cache::wire_warmer(&core_parts, &peers, told, &in_force, &mut guardians);
    let agent = ConfigAgentHandle::new(&outlets.in_force);
    let engines = engines::wire(
        &EngineLinks {
            config: &config,
            env,
            peers: &peers,
            in_force: &in_force,
            agent: &agent,
            routing: outlet.routing(),
            wait_signal: &core_parts.wait_signal,
            events: &events,
        },
        &mut guardians,
    );
    let (status_age_max, logs) = (outlets.status_age_max.clone(), outlets.logs.clone());
    let (history, alerts) = (outlets.history.clone(), outlets.alerts.clone());
    let takers = Takers {
        load_balancer: load_balancer.clone(),
        port_cache: engines.port_cache.clone(),
        provision: engines.provision.clone(),
        cache_tier: cache_tier.clone(),
        cache_warmer: cache_warmer.clone(),
    };
    guard_config_agent(&agent, outlets, env, takers, &mut guardians);

    configure_first(&load_balancer, &config).await?;
    Ok(Wired {
        load_balancer,
        config: agent,
        orders,
        provision: engines.provision,
        port_cache: engines.port_cache,
        cache_tier,
        cdns,
        broadcast,
        broadcaster,
        cache_warmer,
        peers,
        events,
        control_plane,
        core_parts,
        access_lines: Some(access_lines),
        status_age_max,
        logs,
        history,
        alerts,
        guardians,
    })
}

/// The other nodes, and what nodes show each other.
fn peers_of(config: &Config, control_plane: &Snapshot<LinkStatus>, env: &Env) -> Peers {
    if !config.grpc.listen.ip().is_loopback() && config.peers_token.is_none() {
        tracing::warn!(
            listen = %config.grpc.listen,
            "whoever reaches grpc.listen is taken for a node of the mesh: peers.token is not set"
        );
    }
    let (link, net) = (control_plane.clone(), Arc::clone(&env.net));
    let key = PeerKey::new(config.peers_token.as_ref());
    Peers::new(&config.node.name, link, net).with_key(key)
}

/// Tells what becomes of backends as events.
fn follow_backends(events: &Events, outlet: &Outlet, load_balancer: &LoadBalancerHandle) {
    let (routing, revisions) = (outlet.routing().clone(), load_balancer.revisions());
    tokio::task::spawn_local(backends::run(events.clone(), routing, revisions));
}

/// Has the load balancer take its part.
async fn configure_first(
    load_balancer: &LoadBalancerHandle,
    config: &Config,
) -> Result<(), Refused> {
    // Let the actors start before anyone asks them.
    tokio::task::yield_now().await;
    let configured = load_balancer.configure(Configure::of(config), FIRST_CONFIGURE_TIMEOUT);
    configured.await?;
    Ok(())
}

/// What each core is given, and the lines of the access log that they hand over.
fn core_parts(
    config: &Config,
    env: &Env,
    (outlet, load_balancer, outlets): (&Outlet, &LoadBalancerHandle, &Outlets),
    stop: Stop,
) -> (CoreParts, mpsc::Receiver<Lines>) {
    let node = &config.node;
    let (access_log, access_lines) = AccessSink::new(&outlets.access_log, node.cores);
    let parts = CoreParts {
        routing: outlet.routing().clone(),
        revisions: load_balancer.revisions(),
        ingress: outlets.ingress.clone(),
        net: Arc::clone(&env.net),
        metrics: NodeMetrics::new(node.cores),
        broadcast: outlets.broadcast.clone(),
        cache: cache::new_store(config, env),
        warming: Warming::new(node.cores),
        wait_signal: WaitSignal::default(),
        cache_peers: Snapshot::new(CachePeers::new(&node.name, &[], node.cores)),
        tracer: env.tracer.clone(),
        access_log,
        clock: env.clock,
        stop,
        name: node.name.as_str().into(),
    };
    (parts, access_lines)
}

fn guard_load_balancer(
    outlet: &Outlet,
    env: &Env,
    cores: usize,
    guardians: &mut JoinSet<Result<(), BudgetSpent>>,
) -> LoadBalancerHandle {
    let load_balancer = LoadBalancerHandle::new(outlet);
    let parts = Parts {
        outlet: outlet.clone(),
        net: Arc::clone(&env.net),
        probed: load_balancer.probed.clone(),
        cores,
        // Actors have the way to themselves, so they never end; the exporter has to.
        tracer: env.tracer.weak(),
        seed: env.seed,
    };
    let links = load_balancer.clone();
    guardians.spawn_local(guard(
        "load_balancer",
        MESSAGES_WAITING_MAX,
        Budget::default(),
        move || LoadBalancer::new(parts.clone()),
        move |life| {
            links.configure.point_at(life);
            links.command.point_at(life);
            links.probed.point_at(life);
        },
    ));
    load_balancer
}

fn guard_config_agent(
    agent: &ConfigAgentHandle,
    outlets: Outlets,
    env: &Env,
    takers: Takers,
    guardians: &mut JoinSet<Result<(), BudgetSpent>>,
) {
    let (links, environment) = (agent.clone(), env.environment.clone());
    guardians.spawn_local(guard(
        "config_agent",
        config_agent::MESSAGES_WAITING_MAX,
        Budget::default(),
        move || ConfigAgent::new(outlets.clone(), environment.clone(), takers.clone()),
        move |life| {
            links.offer.point_at(life);
            links.take.point_at(life);
        },
    ));
}

/// Tells this process from others of the node.
fn epoch(env: &Env) -> String {
    format!("{:012x}{:04x}", env.clock.unix_ms_now(), env.seed & 0xffff)
}

const FIRST_CONFIGURE_TIMEOUT: Duration = Duration::from_secs(10);
