//! Creates every actor and connects it: who runs and who talks to whom.
//!
//! Everything here lives on one control thread (a `LocalSet`); the data plane has threads of its own
//! and reads what the actors publish.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::actors::config_agent::{ConfigAgent, ConfigAgentHandle, InForce, OFFERS_WAITING_MAX};
use crate::actors::load_balancer::{
    Configure, LoadBalancer, LoadBalancerHandle, MESSAGES_WAITING_MAX, Outlet, Parts,
};
use crate::config::{Config, Environment, Ingress};
use crate::data_plane::CoreParts;
use crate::guardian::{Budget, BudgetSpent, guard};
use crate::http_api::AGE_MAX_DEFAULT;
use crate::link::Refused;
use crate::orders::OrdersHandle;
use crate::ports::clock::WallClock;
use crate::ports::net::Net;
use crate::snapshot::Snapshot;
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
}

/// The node's actors, running.
pub struct Wired {
    /// Services, backends and commands on them.
    pub load_balancer: LoadBalancerHandle,
    /// The configuration in force.
    pub config: ConfigAgentHandle,
    /// What operators want of the node's clients.
    pub orders: OrdersHandle,
    /// How old the status may be that a poll is shown.
    pub status_age_max: Snapshot<Duration>,
    /// What each core is given.
    pub core_parts: CoreParts,
    /// One task for each actor; a result is the end of the node.
    pub guardians: JoinSet<Result<(), BudgetSpent>>,
}

/// Starts every actor with `config`. Must run within a `LocalSet`.
///
/// # Errors
/// When the load balancer does not take its part.
pub async fn wire(config: Config, env: &Env) -> Result<Wired, Refused> {
    let metrics = NodeMetrics::new(config.node.cores);
    let ingress: Snapshot<Ingress> = Snapshot::new(config.ingress.clone());
    let (orders, stop) = OrdersHandle::new();
    let mut guardians = JoinSet::new();

    let outlet = Outlet::new();
    let load_balancer = LoadBalancerHandle::new(&outlet);
    let parts = Parts {
        outlet: outlet.clone(),
        net: Arc::clone(&env.net),
        probed: load_balancer.probed.clone(),
        cores: config.node.cores,
        tracer: env.tracer.clone(),
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

    let first = Configure::of(&config);
    let core_parts = CoreParts {
        routing: outlet.routing().clone(),
        ingress: ingress.clone(),
        net: Arc::clone(&env.net),
        metrics,
        tracer: env.tracer.clone(),
        clock: env.clock,
        stop,
        name: config.node.name.as_str().into(),
    };

    let in_force = Snapshot::new(InForce::first(config));
    let agent = ConfigAgentHandle::new(&in_force);
    let (agent_env, agent_balancer) = (env.clone(), load_balancer.clone());
    let offer = agent.offer.clone();
    guardians.spawn_local(guard(
        "config_agent",
        OFFERS_WAITING_MAX,
        Budget::default(),
        move || {
            ConfigAgent::new(
                in_force.clone(),
                ingress.clone(),
                agent_env.environment.clone(),
                agent_balancer.clone(),
                agent_env.tracer.clone(),
            )
        },
        move |life| offer.point_at(life),
    ));

    // Let the actors start before anyone asks them.
    tokio::task::yield_now().await;
    load_balancer
        .configure(first, FIRST_CONFIGURE_TIMEOUT)
        .await?;
    Ok(Wired {
        load_balancer,
        config: agent,
        orders,
        status_age_max: Snapshot::new(AGE_MAX_DEFAULT),
        core_parts,
        guardians,
    })
}

const FIRST_CONFIGURE_TIMEOUT: Duration = Duration::from_secs(10);
