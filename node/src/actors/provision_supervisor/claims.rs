//! Takes jobs from the queue, as many as this node may have in hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Context, Handler};
use tokio::time::{Instant, sleep};
use weir_control_plane::jobs::{Claim, DEFAULT_QUEUE, Want};
use weir_core::ids::ServiceName;
use weir_core::provision::{BreakerConfig, BreakerState, GateLimits, Refusal};

use super::breakers::{Asking, Ran, Try};
use super::messages::{Claimed, Over};
use super::publish::{InHand, Leave};
use super::{ProvisionSupervisor, runner};
use crate::config::{DriverKind, ProvisionSettings};
use crate::link::Carried;

/// Between two questions for a job while there is none.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// After the queue did not answer.
const AWAY_INTERVAL: Duration = Duration::from_secs(2);
/// Between two tries to hand over what was claimed.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// No node has more jobs in hand, whatever its limits are; each of them passed `queue_max` when it was wished for.
const IN_HAND_MAX: usize = 1_100;

/// Jobs in hand.
#[derive(Debug, Default)]
pub(super) struct Claims {
    open: BTreeMap<String, Try>,
    /// A question is out, with this right to try.
    asking: Option<Asking>,
    not_before: Option<Instant>,
    /// What the question that is out is told says nothing of the job that there may be now.
    ask_again: bool,
    /// Why the queue did not answer.
    pub(super) queue_problem: Option<String>,
}

impl Claims {
    /// Jobs in hand.
    pub(super) fn in_hand(&self) -> usize {
        self.open.len()
    }

    /// There may be a job: ask now.
    pub(super) fn nudge(&mut self) {
        self.not_before = None;
        self.ask_again = self.asking.is_some();
    }
}

/// The limits of the gate.
pub(super) fn gate_limits(limits: &ProvisionSettings) -> GateLimits {
    GateLimits {
        concurrent_max: limits.concurrent_max,
        interval_min: limits.interval_min,
        queue_max: IN_HAND_MAX,
    }
}

/// The rules of the breaker.
pub(super) fn breaker_config(limits: &ProvisionSettings) -> BreakerConfig {
    BreakerConfig {
        failures_max: limits.breaker_failures,
        window: limits.breaker_window,
        open_for: limits.breaker_recovery,
        probe_timeout: limits.hard_limit,
    }
}

impl ProvisionSupervisor {
    /// Asks for a job when there is room for one.
    pub(super) fn claim(&mut self, now: Instant) {
        if *self.parts.outlet.leave.borrow() != Leave::Stays {
            return;
        }
        let limits = &self.plan.limits;
        let room = limits.concurrent_max.saturating_add(limits.prefetch);
        let too_early = self.claims.not_before.is_some_and(|at| now < at);
        if self.claims.asking.is_some() || too_early || self.claims.in_hand() >= room {
            return;
        }
        let services = self.services_with_room();
        if services.is_empty() {
            // Nothing is asked for, so nothing is known of what answers.
            self.claims.queue_problem = None;
            return;
        }
        let ran: Vec<Ran> = services.iter().filter_map(|name| self.ran(name)).collect();
        let Some(asking) = self.breakers.acquire(ran, now.into_std()) else {
            return;
        };
        let services = services.iter().filter(|name| asking.is_for(name));
        let services = services.map(ToString::to_string).collect();
        self.claims.asking = Some(asking);
        let want = Want {
            queue: DEFAULT_QUEUE.to_owned(),
            holder: self.parts.holder.clone(),
            services,
            fleet_concurrent_max: limits.fleet_concurrent_max,
            fleet_interval_min: limits.fleet_interval_min,
        };
        let (queue, claimed) = (self.parts.queue.clone(), self.parts.links.claimed.clone());
        let (life, in_hand) = (self.life, Arc::new(self.parts.outlet.in_hand()));
        // It outlives this life of the actor: who is claimed is told of in any case.
        tokio::task::spawn_local(async move {
            let told = Claimed {
                life,
                asked_at: now,
                answer: Arc::new(queue.claim(want).await),
                in_hand,
            };
            // A claim that nobody takes would block its job until its lease ends.
            while claimed.offer(told.clone()).is_err() {
                sleep(AGAIN_AFTER).await;
            }
        });
    }

    /// Whether the breaker lets a job in hand start: one that was claimed before it opened does not.
    pub(super) fn is_worth_trying(&mut self, job: &str, now: Instant) -> Result<(), Refusal> {
        match self.claims.open.get(job) {
            Some(one) => self.breakers.allows(one, now.into_std()),
            None => Ok(()),
        }
    }

    /// A service and what runs its engines.
    pub(super) fn ran(&self, service: &ServiceName) -> Option<Ran> {
        let plan = self.plan.services.get(service)?;
        Some((service.clone(), plan.settings.launch.driver))
    }

    /// Sends those away that wait at the gate while the breaker is open.
    fn send_away(&mut self, now: Instant) {
        let waiting: Vec<String> = self.waiting.keys().cloned().collect();
        for job in waiting {
            if let Err(refusal) = self.is_worth_trying(&job, now)
                && let Some(start) = self.waiting.remove(&job)
            {
                self.gate.remove(&job);
                // Whoever waited may be gone.
                let _ = start.send(Err(refusal));
            }
        }
    }

    /// Services whose next engine could be started here.
    fn services_with_room(&self) -> Vec<ServiceName> {
        // A start with a driver that does not answer would only cost the job a try.
        let answers = |name: &ServiceName| {
            let plan = self.plan.services.get(name);
            plan.is_none_or(|plan| self.problems.answers(plan.settings.launch.driver))
        };
        let fits = |name: &&ServiceName| answers(name) && self.has_room(name);
        self.plan.services.keys().filter(fits).cloned().collect()
    }

    /// Gives a claim back as if nobody had asked for it.
    fn give_claim_back(&self, claim: Claim, in_hand: Arc<InHand>) {
        let queue = self.parts.queue.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = queue.release(&claim.ticket).await {
                tracing::debug!(%error, "the claim ends by itself");
            }
            drop(in_hand);
        });
    }

    fn run_claim(&mut self, claim: Claim, asking: Asking, in_hand: Arc<InHand>, asked_at: Instant) {
        let now = Instant::now();
        let service = ServiceName::from(claim.spec.service.as_str());
        let stays = *self.parts.outlet.leave.borrow() == Leave::Stays;
        let plan = self.plan.services.get(&service).filter(|_| stays).cloned();
        let ran = (
            service.clone(),
            plan.as_ref()
                .map_or(DriverKind::Process, |plan| plan.settings.launch.driver),
        );
        let right = self.breakers.claimed(asking, ran, now.into_std());
        let (Some(plan), Some(right)) = (plan, right.clone()) else {
            if let Some(right) = &right {
                self.breakers.abandoned(right, now.into_std());
            }
            self.give_claim_back(claim, in_hand);
            return;
        };
        tracing::info!(job = claim.ticket.job_id, %service, attempt = claim.attempt, "job claimed");
        self.claims.open.insert(claim.ticket.job_id.clone(), right);
        let limits = &self.plan.limits;
        let time = (limits.soft_limit, limits.hard_limit);
        let run = runner::run(self.parts.clone(), claim, plan, time, asked_at);
        tokio::task::spawn_local(async move {
            run.await;
            drop(in_hand);
        });
    }
}

impl Handler<Carried<Claimed>> for ProvisionSupervisor {
    type Result = ();

    fn handle(&mut self, claimed: Carried<Claimed>, _: &mut Context<Self>) {
        let now = Instant::now();
        let Claimed {
            life,
            asked_at,
            answer,
            in_hand,
        } = claimed.message;
        let asking = self.claims.asking.take_if(|_| life == self.life);
        let Some(asking) = asking else {
            // Asked by an earlier life of this actor, whose breaker and limits are gone.
            if let Ok(Some(claim)) = &*answer {
                self.give_claim_back(claim.clone(), in_hand);
            }
            return;
        };
        self.claims.queue_problem = None;
        let ask_again = std::mem::take(&mut self.claims.ask_again);
        match &*answer {
            Ok(Some(claim)) => {
                self.run_claim(claim.clone(), asking, in_hand, asked_at);
                // Where there was one there may be more.
                return self.claim(now);
            }
            Ok(None) if ask_again => {}
            Ok(None) => self.claims.not_before = Some(now + ASK_INTERVAL),
            Err(error) => {
                self.claims.not_before = Some(now + AWAY_INTERVAL);
                self.claims.queue_problem = Some(error.to_string());
            }
        }
        self.breakers.abandoned_asking(asking, now.into_std());
        if ask_again {
            self.claim(now);
        }
    }
}

impl Handler<Carried<Over>> for ProvisionSupervisor {
    type Result = ();

    fn handle(&mut self, over: Carried<Over>, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let Over {
            job,
            service,
            engine,
            failure,
            plan,
        } = over.message;
        self.gate.ended(&job);
        self.gate.remove(&job);
        self.waiting.remove(&job);
        self.reservations.job_over(&job);
        self.engines.job_over(&job);
        let right = self.claims.open.remove(&job);
        self.problems
            .job_over(service.clone(), engine.as_deref(), failure.as_ref(), now);
        match (&failure, right) {
            (None, Some(right)) if engine.is_none() => {
                self.breakers.abandoned(&right, now.into_std());
            }
            (None, Some(right)) => self.breakers.succeeded(&right),
            (Some(failure), Some(right)) if failure.counts => {
                self.breakers
                    .failed(&right, failure.is_of_driver, now.into_std());
                self.send_away(now);
            }
            (Some(_), Some(right)) => {
                self.breakers.abandoned(&right, now.into_std());
                // What stands in the way now stands there in a moment, too.
                self.claims.not_before = Some(now + ASK_INTERVAL);
            }
            (_, None) => {}
        }
        if let Some(failure) = failure {
            if let Some(taken) = failure.name_taken {
                self.reservations.name_is_taken(taken, now);
            }
            if failure.counts {
                self.start_failed(&plan, &failure.why);
            }
            if let Some(engine) = engine {
                self.disown(&engine, &failure.why, now);
            }
            // What was sent away because of failures says nothing of them.
            let ran = (service, plan.settings.launch.driver);
            let state = self.breakers.state(&ran, now.into_std());
            if failure.counts || state == BreakerState::Closed {
                self.last_failure = Some(failure.why);
            }
        }
        self.let_start(now, ctx);
        self.claim(now);
        self.publish();
    }
}
