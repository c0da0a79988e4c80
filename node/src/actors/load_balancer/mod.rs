//! Knows every backend and decides who gets new work.
//!
//! Owns      services, backends, their health, drains, overrides and slow starts.
//! Receives  [`Configure`] from `config_agent`; [`Command`] from gRPC; [`Probed`] from its checks;
//!           its own tick, which looks at the failures that the cores counted.
//! Sends     nothing; publishes [`Routing`] and its revision.
//! Bound     4,096 messages; when full one is refused: callers see it, a check is told again.
//! Restarts  from the routing it published last: pools, counters, weights and drains stay.

#[cfg(test)]
mod panic_tests;
mod probe;
mod publish;
mod rebuild;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext as _, Context, Handler, Message};
use tokio::sync::watch;
use tokio::time::Instant;
use weir_core::ids::{BackendId, ServiceName};
use weir_core::route::RouteTable;
use weir_core::trace::TraceContext;
use weir_core::units::format_rough;

use crate::config::{Config, RouteSettings, ServiceSettings};
use crate::data_plane::routing::Routing;
use crate::link::{Carried, Link, Permits, Refused, Timed};
use crate::ports::net::Net;
use crate::snapshot::Snapshot;
use crate::telemetry::spans::Tracer;
use state::Services;

/// Messages that may wait.
pub const MESSAGES_WAITING_MAX: usize = 4_096;
/// How often counted failures, drains, ejections and slow starts are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long a caller waits for a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// These services and routes are the ones to have; everything else leaves.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Configure {
    /// Services in the order of their names.
    pub services: Vec<Arc<ServiceSettings>>,
    /// Routes.
    pub routes: Arc<RouteTable>,
    /// What each route does; same order.
    pub route_settings: Arc<[RouteSettings]>,
    /// Where this node stands.
    pub zone: String,
}

impl Configure {
    /// The load balancer's part of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            services: config.services.clone(),
            routes: Arc::clone(&config.routes),
            route_settings: Arc::clone(&config.route_settings),
            zone: config.node.zone.clone(),
        }
    }
}

/// An operator changes one backend.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
#[rtype(result = "Result<(), CommandError>")]
pub struct Command {
    /// Which service.
    pub service: ServiceName,
    /// Which of its backends.
    pub backend: BackendId,
    /// What to change.
    pub change: Change,
}

/// What an operator may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The share of new work, until the configured weight changes.
    Weight(u32),
    /// No new work; what runs is cut after this time, or after the service's own drain timeout.
    Drain(Option<Duration>),
    /// Takes back a drain.
    Undrain,
    /// Out by hand, for this time or until restored.
    Eject(Option<Duration>),
    /// Takes back every ejection.
    Restore,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = |limit: &Duration| format_rough(*limit);
        match self {
            Self::Weight(weight) => write!(f, "weight {weight}"),
            Self::Drain(None) => f.write_str("drain"),
            Self::Drain(Some(limit)) => write!(f, "drain, cut after {}", within(limit)),
            Self::Undrain => f.write_str("undrain"),
            Self::Eject(None) => f.write_str("eject"),
            Self::Eject(Some(limit)) => write!(f, "eject for {}", within(limit)),
            Self::Restore => f.write_str("restore"),
        }
    }
}

impl Change {
    const fn span_name(self) -> &'static str {
        match self {
            Self::Weight(_) => "load_balancer.set_weight",
            Self::Drain(_) => "load_balancer.drain",
            Self::Undrain => "load_balancer.undrain",
            Self::Eject(_) => "load_balancer.eject",
            Self::Restore => "load_balancer.restore",
        }
    }
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No service of that name.
    #[error("no service is called `{0}`")]
    UnknownService(ServiceName),
    /// No such backend.
    #[error("service `{service}` has no backend `{backend}`")]
    UnknownBackend {
        /// The service.
        service: ServiceName,
        /// The backend.
        backend: BackendId,
    },
}

/// A check of a backend ended.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Probed {
    pub(crate) serial: u64,
    pub(crate) result: Result<(), String>,
}

/// What everyone else holds of the actor.
#[derive(Clone)]
pub struct LoadBalancerHandle {
    pub(crate) configure: Link<Configure>,
    pub(crate) command: Link<Command>,
    pub(crate) probed: Link<Probed>,
    routing: Snapshot<Routing>,
    revisions: watch::Receiver<u64>,
}

impl LoadBalancerHandle {
    /// A handle to an actor that publishes to `outlet`.
    pub fn new(outlet: &Outlet) -> Self {
        let permits = Permits::new(MESSAGES_WAITING_MAX);
        Self {
            configure: Link::new(&permits),
            command: Link::new(&permits),
            probed: Link::new(&permits),
            routing: outlet.routing.clone(),
            revisions: outlet.revision.subscribe(),
        }
    }

    /// Hands over the services and routes to have.
    ///
    /// # Errors
    /// [`Refused`] when the actor did not take them in time.
    pub async fn configure(&self, part: Configure, within: Duration) -> Result<Timed<()>, Refused> {
        self.configure.ask_timed(part, within).await
    }

    /// Changes one backend.
    ///
    /// # Errors
    /// [`Refused`] when the actor did not answer; [`CommandError`] when it said no.
    pub async fn command(
        &self,
        command: Command,
        context: Option<TraceContext>,
    ) -> Result<Result<(), CommandError>, Refused> {
        self.command.ask(command, context, COMMAND_TIMEOUT).await
    }

    /// The picture that the request path reads.
    pub fn routing(&self) -> &Snapshot<Routing> {
        &self.routing
    }

    /// The revision of the picture; wakes at each change.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.clone()
    }
}

/// Where the actor publishes; outlives its lives.
#[derive(Clone, Debug)]
pub struct Outlet {
    routing: Snapshot<Routing>,
    revision: Arc<watch::Sender<u64>>,
}

impl Outlet {
    /// An outlet that holds nothing yet.
    pub fn new() -> Self {
        Self {
            routing: Snapshot::new(Routing::empty()),
            revision: Arc::new(watch::Sender::new(0)),
        }
    }

    /// The picture that the request path reads.
    pub fn routing(&self) -> &Snapshot<Routing> {
        &self.routing
    }
}

impl Default for Outlet {
    fn default() -> Self {
        Self::new()
    }
}

/// What the actor is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where it publishes.
    pub outlet: Outlet,
    /// How checks reach backends.
    pub net: Arc<dyn Net>,
    /// The way back from its checks.
    pub probed: Link<Probed>,
    /// How many cores keep counters.
    pub cores: usize,
    /// Takes the spans of commands.
    pub tracer: Tracer,
    /// Seeds the jitter of checks.
    pub seed: u64,
}

/// The actor.
pub struct LoadBalancer {
    parts: Parts,
    services: Services,
}

impl LoadBalancer {
    /// A life that goes on from what was published last.
    pub fn new(parts: Parts) -> Self {
        let services = rebuild::from_routing(&parts);
        Self { parts, services }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        if self.services.tick(Instant::now().into_std()) {
            self.publish();
        }
        ctx.run_later(TICK, Self::tick);
    }

    fn publish(&self) {
        let revision = self.parts.outlet.routing.load().revision + 1;
        self.parts
            .outlet
            .routing
            .publish(publish::routing(&self.services, revision));
        self.parts.outlet.revision.send_replace(revision);
    }
}

impl Actor for LoadBalancer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(TICK, Self::tick);
    }
}

impl Handler<Carried<Configure>> for LoadBalancer {
    type Result = ();

    fn handle(&mut self, configure: Carried<Configure>, _: &mut Context<Self>) {
        configure.taken();
        self.services
            .configure(configure.message, Instant::now().into_std(), &self.parts);
        self.publish();
    }
}

impl Handler<Carried<Command>> for LoadBalancer {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, command: Carried<Command>, _: &mut Context<Self>) -> Self::Result {
        let taken_at = Instant::now();
        let result = self.services.command(&command.message, taken_at.into_std());
        if result.is_ok() {
            let Command {
                service,
                backend,
                change,
            } = &command.message;
            tracing::info!(%service, %backend, %change, "operator changed a backend");
            self.publish();
        }
        let name = command.message.change.span_name();
        self.parts
            .tracer
            .record_hop(name, command.context, command.sent_at, taken_at);
        result
    }
}

impl Handler<Carried<Probed>> for LoadBalancer {
    type Result = ();

    fn handle(&mut self, probed: Carried<Probed>, _: &mut Context<Self>) {
        let Probed { serial, result } = probed.message;
        if self
            .services
            .probed(serial, &result, Instant::now().into_std())
        {
            self.publish();
        }
    }
}
