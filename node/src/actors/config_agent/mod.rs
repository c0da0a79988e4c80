//! Keeps the configuration in force and hands each actor its part of a new one.
//!
//! Owns      the configuration in force, what it was made of, and the last refusals.
//! Receives  [`Offer`] from the file watcher; [`Take`] from whoever speaks with the control plane.
//! Sends     a part each to `load_balancer`, `port_cache`, `provision_supervisor`, `cache_tier` and
//!           `cache_warmer`; the rest through [`Outlets`].
//! Bound     8 messages; when full one is refused: the watcher offers again at its next look, others see it.
//! Restarts  with the configuration that was in force, which it publishes itself.
//!
//! Both messages go one way: the configuration is made anew of the file, the environment and what was given;
//! any problem leaves the old one in force; every part has taken its share before the new one is.

pub mod control_plane;
mod handle;
mod in_force;
#[cfg(test)]
mod knob_tests;
pub mod last_known_good;
#[cfg(test)]
mod take_tests;
#[cfg(test)]
pub(crate) mod tests;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AtomicResponse, Context, Handler, Message, WrapFuture as _,
};
use weir_core::tuning;

use super::cache_tier::{self, CacheTierHandle};
use super::cache_warmer::{self, CacheWarmerHandle};
use super::load_balancer::{Configure, LoadBalancerHandle};
use super::port_cache::{self, PortCacheHandle};
use super::provision_supervisor::{Plan, ProvisionHandle};
use crate::broadcast::Broadcast;
use crate::config::{AccessLog, Config, Environment, Give, Given, Ingress, Invalid};
use crate::events::{Events, Kind};
use crate::link::{Carried, Refused, Timed};
use crate::snapshot::Snapshot;
use crate::telemetry::alerts::Alerts;
use crate::telemetry::history::History;
use crate::telemetry::logs::LogTuning;
use crate::telemetry::spans::{AttributeValue, SpanKind, Tracer};
use crate::telemetry::steps::StepTrace;
pub use handle::ConfigAgentHandle;
pub use in_force::InForce;

/// Messages that may wait.
pub const MESSAGES_WAITING_MAX: usize = 8;
/// How long other actors may take to accept their part.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a message waited in the mailbox, in microseconds.
const MAILBOX_WAIT: &str = "mailbox.wait_us";

/// A configuration text that somebody wants in force.
#[derive(Message)]
#[rtype(result = "Result<Applied, Rejected>")]
pub struct Offer {
    /// TOML.
    pub text: String,
}

/// The text is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Grows by one with each configuration that came into force.
    pub revision: u64,
}

/// The text changed nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Rejected {
    /// It has problems, all named.
    #[error("the configuration is refused, the old one stays:\n{0}")]
    Invalid(#[source] Invalid),
    /// An actor did not take its part.
    #[error("an actor did not take its part: {0}")]
    NotTaken(#[source] Refused),
}

/// What becomes of what the control plane gives: in force, or every reason why it is not.
pub type Verdict = Result<Taken, Vec<tuning::Problem>>;

/// Something that the control plane gives anew.
#[derive(Message)]
#[rtype(result = "Result<Verdict, Refused>")]
pub struct Take {
    /// What is given.
    pub give: Give,
}

/// What was given is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Knobs of the profile that no part of this node reads; the others are in force.
    pub unsupported: Vec<tuning::Problem>,
    /// Knobs whose values take effect when the node starts again.
    pub pending_restart: Vec<&'static str>,
    /// What of the weights and registered backends was left out.
    pub notes: Vec<tuning::Problem>,
    /// It was in force already.
    pub unchanged: bool,
}

impl Taken {
    fn of(config: &Config, unchanged: bool) -> Self {
        Self {
            unsupported: config.unsupported(),
            pending_restart: config.pending_restart(),
            notes: config.notes.clone(),
            unchanged,
        }
    }
}

/// Where the actor publishes; outlives its lives.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// The configuration in force.
    pub in_force: Snapshot<InForce>,
    /// Limits of client connections.
    pub ingress: Snapshot<Ingress>,
    /// How old the status may be that a poll is shown.
    pub status_age_max: Snapshot<Duration>,
    /// What is said of log lines.
    pub logs: LogTuning,
    /// Takes how much is kept of how the node was.
    pub history: History,
    /// Takes limits of alerts.
    pub alerts: Alerts,
    /// Whether each request is written down.
    pub access_log: Snapshot<Option<AccessLog>>,
    /// Takes which requests are traced.
    pub tracer: Tracer,
    /// Takes bounds of messages, and who may publish and subscribe.
    pub broadcast: Broadcast,
    /// Takes what becomes of configurations.
    pub events: Events,
}

impl Outlets {
    /// Outlets that hold what the node starts with.
    pub fn new(first: InForce, tracer: &Tracer, broadcast: &Broadcast, events: &Events) -> Self {
        weir_heap::sample_always(first.config.telemetry.heap_sample_interval);
        Self {
            ingress: Snapshot::new(first.config.ingress.clone()),
            status_age_max: Snapshot::new(first.config.telemetry.status_cache_ttl),
            access_log: Snapshot::new(first.config.access_log.clone()),
            logs: LogTuning::new(&first.config.telemetry),
            history: History::new(first.config.telemetry.history),
            alerts: Alerts::new(first.config.telemetry.alerts),
            tracer: tracer.clone(),
            broadcast: broadcast.clone(),
            events: events.clone(),
            in_force: Snapshot::new(first),
        }
    }

    /// Publishes every part but the configuration itself.
    fn publish_parts(&self, config: &Config) {
        self.ingress.publish(config.ingress.clone());
        self.status_age_max
            .publish(config.telemetry.status_cache_ttl);
        self.logs.publish(&config.telemetry);
        self.history.configure(config.telemetry.history);
        self.alerts.configure(config.telemetry.alerts);
        self.broadcast.configure(&config.broadcaster);
        self.access_log.publish(config.access_log.clone());
        weir_heap::sample_always(config.telemetry.heap_sample_interval);
        self.tracer.set_sampling(config.sampling());
        if let Some(recent) = self.tracer.recent() {
            recent.set_bytes_max(config.telemetry.trace_recent_bytes_max);
        }
    }
}

/// The actors that take a part of the configuration.
#[derive(Clone)]
pub struct Takers {
    /// Takes services and routes.
    pub load_balancer: LoadBalancerHandle,
    /// Takes VPNs.
    pub port_cache: PortCacheHandle,
    /// Takes engines.
    pub provision: ProvisionHandle,
    /// Takes the tiers of the cache.
    pub cache_tier: CacheTierHandle,
    /// Takes what is fetched before it is asked for.
    pub cache_warmer: CacheWarmerHandle,
}

/// The actor.
pub struct ConfigAgent {
    outlets: Outlets,
    environment: Environment,
    takers: Takers,
}

impl ConfigAgent {
    /// An agent that goes on from what was published last.
    pub fn new(outlets: Outlets, environment: Environment, takers: Takers) -> Self {
        Self {
            outlets,
            environment,
            takers,
        }
    }

    /// The configuration of a new file with what was given before.
    fn with_file(&self, text: &str) -> Result<Config, Invalid> {
        if text.trim().is_empty() {
            // An editor or a script that truncates before it writes must not take everything down.
            return Err(Invalid::of_file("is empty; a comment says it is meant"));
        }
        let running = &self.outlets.in_force.load().config;
        let mut config = Config::parse(text, &self.environment, running.given())?.with_folders()?;
        let problems = config.needs_restart(running);
        if !problems.is_empty() {
            return Err(Invalid::of(problems));
        }
        config.keep_workers_of(running);
        Ok(config)
    }

    /// The configuration of the same file with something given anew.
    fn with_given(&self, given: &Given) -> Result<Config, Vec<tuning::Problem>> {
        let running = &self.outlets.in_force.load().config;
        let parsed = Config::parse(running.text(), &self.environment, given);
        let mut config = parsed.map_err(Invalid::into_infeasible)?;
        config.keep_workers_of(running);
        Ok(config)
    }

    /// Hands every actor its part; none is refused once it was sent.
    async fn hand_over(
        takers: Takers,
        config: Config,
        trace: &mut StepTrace,
    ) -> Result<Config, Refused> {
        let part = Configure::of(&config);
        trace.step("load_balancer.configure", SpanKind::Internal);
        let taken = takers.load_balancer.configure(part, APPLY_TIMEOUT);
        note_wait(trace, taken.await?);
        let part = port_cache::Configure::of(&config);
        trace.step("port_cache.configure", SpanKind::Internal);
        note_wait(
            trace,
            takers.port_cache.configure(part, APPLY_TIMEOUT).await?,
        );
        let part = Plan::of(&config);
        trace.step("provision_supervisor.configure", SpanKind::Internal);
        note_wait(
            trace,
            takers.provision.configure(part, APPLY_TIMEOUT).await?,
        );
        let part = cache_tier::Configure::of(&config);
        trace.step("cache_tier.configure", SpanKind::Internal);
        note_wait(
            trace,
            takers.cache_tier.configure(part, APPLY_TIMEOUT).await?,
        );
        let part = cache_warmer::Configure::of(&config);
        trace.step("cache_warmer.configure", SpanKind::Internal);
        let taken = takers.cache_warmer.configure(part, APPLY_TIMEOUT);
        note_wait(trace, taken.await?);
        Ok(config)
    }

    /// Publishes the rest: from here on `config` is in force.
    fn accept(&self, config: Config) -> InForce {
        self.outlets.publish_parts(&config);
        let before = self.outlets.in_force.load();
        InForce {
            config: Arc::new(config),
            revision: before.revision + 1,
            ..InForce::clone(&before)
        }
    }

    fn accept_file(&self, config: Config) -> Applied {
        let accepted = self.accept(config);
        let revision = accepted.revision;
        let told = ("revision", revision.to_string());
        self.outlets.events.record(Kind::ConfigApplied, "", [told]);
        self.outlets.in_force.publish(InForce {
            last_problems: Vec::new(),
            ..accepted
        });
        Applied { revision }
    }

    fn refuse_file(&self, rejected: Rejected) -> Rejected {
        let why = ("why", rejected.to_string());
        self.outlets.events.record(Kind::ConfigRefused, "", [why]);
        let before = self.outlets.in_force.load();
        let last_problems = match &rejected {
            Rejected::Invalid(invalid) => invalid.problems.clone(),
            Rejected::NotTaken(_) => before.last_problems.clone(),
        };
        self.outlets.in_force.publish(InForce {
            refusals: before.refusals + 1,
            last_problems,
            ..InForce::clone(&before)
        });
        rejected
    }

    fn accept_given(&self, config: Config, of_profile: bool) -> Taken {
        let mut accepted = self.accept(config);
        if of_profile {
            accepted.profile_problems = Vec::new();
        }
        let taken = Taken::of(&accepted.config, false);
        if of_profile {
            let unsupported = taken.unsupported.iter().map(|problem| &*problem.path);
            let unsupported = unsupported.collect::<Vec<_>>().join(", ");
            let told = [
                ("revision", accepted.revision.to_string()),
                ("unsupported", unsupported),
            ];
            self.outlets.events.record(Kind::ProfileApplied, "", told);
        }
        self.outlets.in_force.publish(accepted);
        taken
    }

    /// What was given is in force already, whatever was refused since.
    fn keep(&self, of_profile: bool) -> Taken {
        let before = self.outlets.in_force.load();
        if of_profile && !before.profile_problems.is_empty() {
            self.outlets.in_force.publish(InForce {
                profile_problems: Vec::new(),
                ..InForce::clone(&before)
            });
        }
        Taken::of(&before.config, true)
    }

    /// What is given on behalf of a span is told, with its wait for this actor.
    fn trace_of(&self, take: &Carried<Take>) -> StepTrace {
        if take.context.is_none() {
            return StepTrace::default();
        }
        let whole = ("config_agent.take", SpanKind::Consumer);
        let mut trace = StepTrace::begin(&self.outlets.tracer, take.context, whole, take.sent_at);
        trace.note((MAILBOX_WAIT, in_us(take.sent_at.elapsed())));
        trace.step("config_agent.check", SpanKind::Internal);
        trace
    }

    fn refuse_given(&self, problems: Vec<tuning::Problem>) -> Vec<tuning::Problem> {
        let why: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let why = ("why", why.join("; "));
        self.outlets.events.record(Kind::ProfileRefused, "", [why]);
        self.outlets.in_force.publish(InForce {
            profile_problems: problems.clone(),
            ..InForce::clone(&self.outlets.in_force.load())
        });
        problems
    }
}

fn in_us(time: Duration) -> AttributeValue {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX).into()
}

fn note_wait(trace: &mut StepTrace, ((), waited): Timed<()>) {
    trace.note_step((MAILBOX_WAIT, in_us(waited)));
}

/// What comes of something that was given, before it is in force: nothing is new, or why it cannot be.
type Made = Result<Option<Config>, Vec<tuning::Problem>>;

/// Why something that was given is not in force.
fn why_not(outcome: &Result<Made, Refused>) -> Option<String> {
    match outcome {
        Ok(Ok(_)) => None,
        Ok(Err(problems)) => problems.first().map(ToString::to_string),
        Err(refused) => Some(refused.to_string()),
    }
}

impl Actor for ConfigAgent {
    type Context = Context<Self>;
}

impl Handler<Carried<Offer>> for ConfigAgent {
    // One message at a time: the next waits until every part of this one is applied.
    type Result = AtomicResponse<Self, Result<Applied, Rejected>>;

    fn handle(&mut self, offer: Carried<Offer>, _: &mut Context<Self>) -> Self::Result {
        let takers = self.takers.clone();
        let made = self.with_file(&offer.message.text);
        let applied = async move {
            let config = made.map_err(Rejected::Invalid)?;
            let handed_over = Self::hand_over(takers, config, &mut StepTrace::default()).await;
            handed_over.map_err(Rejected::NotTaken)
        };
        AtomicResponse::new(Box::pin(applied.into_actor(self).map(
            |outcome, agent, _| {
                let outcome = outcome.map(|config| agent.accept_file(config));
                outcome.map_err(|rejected| agent.refuse_file(rejected))
            },
        )))
    }
}

impl Handler<Carried<Take>> for ConfigAgent {
    type Result = AtomicResponse<Self, Result<Verdict, Refused>>;

    fn handle(&mut self, take: Carried<Take>, _: &mut Context<Self>) -> Self::Result {
        let mut trace = self.trace_of(&take);
        let running = Arc::clone(&self.outlets.in_force.load().config);
        let of_profile = matches!(take.message.give, Give::Profile(_));
        let given = running.given().with(take.message.give);
        let takers = self.takers.clone();
        let made = (given != *running.given()).then(|| self.with_given(&given));
        let applied = async move {
            let outcome: Result<Made, Refused> = match made {
                None => Ok(Ok(None)),
                Some(Err(problems)) => Ok(Err(problems)),
                Some(Ok(config)) => {
                    let handed_over = Self::hand_over(takers, config, &mut trace).await;
                    handed_over.map(|config| Ok(Some(config)))
                }
            };
            trace.finish(why_not(&outcome));
            outcome
        };
        AtomicResponse::new(Box::pin(applied.into_actor(self).map(
            move |outcome, agent, _| {
                Ok(match outcome? {
                    Ok(Some(config)) => Ok(agent.accept_given(config, of_profile)),
                    Ok(None) => Ok(agent.keep(of_profile)),
                    Err(problems) => Err(agent.refuse_given(problems)),
                })
            },
        )))
    }
}
