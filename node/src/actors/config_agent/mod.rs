//! Keeps the configuration in force and hands each actor its part of a new one.
//!
//! Owns      the configuration in force and the last refusal.
//! Receives  [`Offer`] from the file watcher.
//! Sends     [`Configure`] to `load_balancer`; the ingress limits as a snapshot.
//! Bound     8 offers; when full one is refused, and the watcher offers again at its next look.
//! Restarts  with the configuration that was in force, which it publishes itself.

pub mod last_known_good;
#[cfg(test)]
mod tests;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AtomicResponse, Context, Handler, Message, WrapFuture as _,
};
use weir_core::trace::Sampler;

use super::load_balancer::{Configure, LoadBalancerHandle};
use crate::config::{Config, Environment, Ingress, Invalid, Problem};
use crate::link::{Carried, Link, Permits, Refused};
use crate::snapshot::Snapshot;
use crate::telemetry::spans::Tracer;

/// Offers that may wait.
pub const OFFERS_WAITING_MAX: usize = 8;
/// How long other actors may take to accept their part.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the watcher waits for a verdict.
const OFFER_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// The load balancer did not take its part.
    #[error("load balancer: {0}")]
    NotTaken(#[source] Refused),
}

/// What is in force, for everyone to read.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The configuration.
    pub config: Arc<Config>,
    /// Grows by one with each configuration that came into force.
    pub revision: u64,
    /// Offers refused since the node started.
    pub refusals: u64,
    /// Why the last offer was refused; empty after one that was accepted.
    pub last_problems: Vec<Problem>,
}

impl InForce {
    /// The configuration that the node starts with.
    pub fn first(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            revision: 1,
            refusals: 0,
            last_problems: Vec::new(),
        }
    }
}

/// The actor.
pub struct ConfigAgent {
    in_force: Snapshot<InForce>,
    ingress: Snapshot<Ingress>,
    environment: Environment,
    load_balancer: LoadBalancerHandle,
    tracer: Tracer,
}

/// What everyone else holds of it.
#[derive(Clone)]
pub struct ConfigAgentHandle {
    pub(crate) offer: Link<Offer>,
    in_force: Snapshot<InForce>,
}

impl ConfigAgentHandle {
    /// A handle to an agent that publishes to `in_force`.
    pub fn new(in_force: &Snapshot<InForce>) -> Self {
        let permits = Permits::new(OFFERS_WAITING_MAX);
        Self {
            offer: Link::new(&permits),
            in_force: in_force.clone(),
        }
    }

    /// Asks for `text` to come into force.
    ///
    /// # Errors
    /// [`Refused`] when the agent did not answer; [`Rejected`] when it said no.
    pub async fn offer(&self, text: String) -> Result<Result<Applied, Rejected>, Refused> {
        self.offer.ask(Offer { text }, None, OFFER_TIMEOUT).await
    }

    /// What is in force.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load()
    }
}

impl ConfigAgent {
    /// An agent for what `in_force` holds.
    pub fn new(
        in_force: Snapshot<InForce>,
        ingress: Snapshot<Ingress>,
        environment: Environment,
        load_balancer: LoadBalancerHandle,
        tracer: Tracer,
    ) -> Self {
        Self {
            in_force,
            ingress,
            environment,
            load_balancer,
            tracer,
        }
    }

    fn checked(&self, text: &str) -> Result<Config, Rejected> {
        if text.trim().is_empty() {
            // An editor or a script that truncates before it writes must not take everything down.
            return Err(Rejected::Invalid(Invalid::of_file("is empty")));
        }
        let config = Config::parse(text, &self.environment).map_err(Rejected::Invalid)?;
        let problems = config.needs_restart(&self.in_force.load().config);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(Rejected::Invalid(Invalid { problems }))
        }
    }

    fn accept(&self, config: Config) -> Applied {
        self.ingress.publish(config.ingress.clone());
        if let Ok(sampler) = Sampler::new(config.telemetry.sample_ratio) {
            self.tracer.set_sampler(sampler);
        }
        let before = self.in_force.load();
        let revision = before.revision + 1;
        self.in_force.publish(InForce {
            config: Arc::new(config),
            revision,
            refusals: before.refusals,
            last_problems: Vec::new(),
        });
        Applied { revision }
    }

    fn refuse(&self, rejected: Rejected) -> Rejected {
        let before = self.in_force.load();
        let last_problems = match &rejected {
            Rejected::Invalid(invalid) => invalid.problems.clone(),
            Rejected::NotTaken(_) => before.last_problems.clone(),
        };
        self.in_force.publish(InForce {
            refusals: before.refusals + 1,
            last_problems,
            ..InForce::clone(&before)
        });
        rejected
    }
}

impl Actor for ConfigAgent {
    type Context = Context<Self>;
}

impl Handler<Carried<Offer>> for ConfigAgent {
    // One offer at a time: the next waits until every part of this one is applied.
    type Result = AtomicResponse<Self, Result<Applied, Rejected>>;

    fn handle(&mut self, offer: Carried<Offer>, _: &mut Context<Self>) -> Self::Result {
        let load_balancer = self.load_balancer.clone();
        let checked = self.checked(&offer.message.text);
        let applied = async move {
            let config = checked?;
            let part = Configure::of(&config);
            load_balancer
                .configure(part, APPLY_TIMEOUT)
                .await
                .map_err(Rejected::NotTaken)?;
            Ok(config)
        };
        AtomicResponse::new(Box::pin(applied.into_actor(self).map(
            |outcome, agent, _| {
                let outcome = outcome.map(|config| agent.accept(config));
                outcome.map_err(|rejected| agent.refuse(rejected))
            },
        )))
    }
}
