//! Creates every actor and connects it: who runs and who talks to whom.
//!
//! Everything here lives on one control thread (a `LocalSet`); the data plane has threads of its own
//! and reads what the actors publish.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::actors::config_agent::control_plane::LinkStatus;
use crate::actors::config_agent::{self, ConfigAgent, ConfigAgentHandle, InForce, Outlets};
use crate::actors::load_balancer::{
    Configure, LoadBalancer, LoadBalancerHandle, MESSAGES_WAITING_MAX, Outlet, Parts,
};
use crate::config::Environment;
use crate::data_plane::CoreParts;
use crate::guardian::{Budget, BudgetSpent, guard};
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
    /// How the stream to the control plane is.
    pub control_plane: Snapshot<LinkStatus>,
    /// What each core is given.
    pub core_parts: CoreParts,
    /// How old the status may be that a poll is shown.
    pub status_age_max: Snapshot<Duration>,
    /// One task for each actor; a result is the end of the node.
    pub guardians: JoinSet<Result<(), BudgetSpent>>,
}

/// Starts every actor with `first`. Must run within a `LocalSet`.
///
/// # Errors
/// When the load balancer does not take its part.
pub async fn wire(first: InForce, env: &Env) -> Result<Wired, Refused> {
    let config = Arc::clone(&first.config);
    let metrics = NodeMetrics::new(config.node.cores);
    let outlets = Outlets::new(first, &env.tracer);
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

    let part = Configure::of(&config);
    let core_parts = CoreParts {
        routing: outlet.routing().clone(),
        ingress: outlets.ingress.clone(),
        net: Arc::clone(&env.net),
        metrics,
        tracer: env.tracer.clone(),
        clock: env.clock,
        stop,
        name: config.node.name.as_str().into(),
    };

    let agent = ConfigAgentHandle::new(&outlets.in_force);
    let status_age_max = outlets.status_age_max.clone();
    let (environment, agent_balancer) = (env.environment.clone(), load_balancer.clone());
    let links = agent.clone();
    guardians.spawn_local(guard(
        "config_agent",
        config_agent::MESSAGES_WAITING_MAX,
        Budget::default(),
        move || ConfigAgent::new(outlets.clone(), environment.clone(), agent_balancer.clone()),
        move |life| {
            links.offer.point_at(life);
            links.take.point_at(life);
        },
    ));

    // Let the actors start before anyone asks them.
    tokio::task::yield_now().await;
    load_balancer
        .configure(part, FIRST_CONFIGURE_TIMEOUT)
        .await?;
    Ok(Wired {
        load_balancer,
        config: agent,
        orders,
        control_plane: Snapshot::new(LinkStatus::default()),
        core_parts,
        status_age_max,
        guardians,
    })
}

const FIRST_CONFIGURE_TIMEOUT: Duration = Duration::from_secs(10);
