//! What the supervisor tells as events beside what it does: changes of what is so for a while, and who waits for what.

use std::collections::BTreeMap;

use tokio::time::Instant;
use weir_control_plane::jobs::Error;
use weir_core::ids::ServiceName;
use weir_core::provision::{BreakerState, EndReason};

use super::ProvisionSupervisor;
use super::breakers::Of;
use super::engines::{Engine, state_name};
use super::handle::refusal;
use crate::config::ProvisionSettings;
use crate::events::{Events, Kind, Limit};

/// An engine is wanted.
pub fn enqueued(events: &Events, job: &str, service: &ServiceName, reason: String) {
    let attributes = [("service", service.to_string()), ("reason", reason)];
    events.record(Kind::JobEnqueued, job, attributes);
}

/// A wish of this node is refused, because as many jobs are open as may be.
pub(super) fn queue_is_full(
    events: &Events,
    service: &ServiceName,
    (error, limits): (&Error, &ProvisionSettings),
) {
    let message = refusal(error, limits).message;
    events.limited(Limit::Queue, service.as_str(), "", message);
}

/// Requests wait for the first engine of a service.
pub(super) fn waits(events: &Events, service: &ServiceName, waiting: u64) {
    let attributes = [("waiting", waiting.to_string())];
    events.record(Kind::ServiceWaits, service.as_str(), attributes);
}

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    breakers: BTreeMap<Of, Kind>,
    store_is_away: bool,
}

impl Engine {
    /// It begins to be an engine of this node.
    pub(super) fn tell(&self, kind: Kind, events: &Events) {
        let attributes = [
            ("service", self.lot.service.clone()),
            ("driver", self.driver.name().to_owned()),
            ("vpn", self.lot.vpn.clone().unwrap_or_default()),
            ("port", self.lot.port.to_string()),
        ];
        events.record(kind, &self.id(), attributes);
    }

    /// It came into traffic or left it, if it did.
    pub(super) fn tell_traffic(&self, was_up: bool, events: &Events) {
        let service = ("service", self.lot.service.clone());
        match (was_up, self.care.is_published()) {
            (false, true) => {
                let vpn = self.lot.vpn.clone().unwrap_or_default();
                let attributes = [service, ("address", self.address.clone()), ("vpn", vpn)];
                events.record(Kind::EngineUp, &self.id(), attributes);
            }
            (true, false) => {
                let state = state_name(self.care.state(), false).to_owned();
                let attributes = [service, ("state", state), ("why", self.why.clone())];
                let ends_for = self.care.state().ends_for();
                match ends_for.is_some_and(EndReason::is_routine) {
                    true => events.record_routine(Kind::EngineDown, &self.id(), attributes),
                    false => events.record(Kind::EngineDown, &self.id(), attributes),
                }
            }
            _ => {}
        }
    }

    /// It is gone.
    pub(super) fn tell_gone(&self, reason: EndReason, events: &Events) {
        let attributes = [
            ("service", self.lot.service.clone()),
            ("reason", reason.as_str().to_owned()),
            ("why", self.why.clone()),
        ];
        events.record(Kind::EngineGone, &self.id(), attributes);
    }
}

impl ProvisionSupervisor {
    /// Tells what is not as it was.
    pub(super) fn tell_changes(&mut self, now: Instant) {
        self.tell_breakers(now);
        let events = &self.parts.events;
        let problem = self.claims.queue_problem.as_ref();
        let was_away = std::mem::replace(&mut self.told.store_is_away, problem.is_some());
        match problem {
            Some(why) if !was_away => {
                events.record(Kind::StoreAway, "", [("why", why.clone())]);
            }
            None if was_away => events.record(Kind::StoreBack, "", []),
            _ => {}
        }
    }

    /// Which breakers opened or closed.
    fn tell_breakers(&mut self, now: Instant) {
        let states = self.breakers.states(now.into_std());
        let kinds: BTreeMap<Of, Kind> = states
            .map(|(of, state)| {
                let kind = match state {
                    BreakerState::Closed => Kind::BreakerClosed,
                    BreakerState::Open { .. } => Kind::BreakerOpen,
                    BreakerState::HalfOpen { .. } => Kind::BreakerHalfOpen,
                };
                (of.clone(), kind)
            })
            .collect();
        for (of, kind) in &kinds {
            let before = self.told.breakers.get(of);
            if before.copied().unwrap_or(Kind::BreakerClosed) == *kind {
                continue;
            }
            let mut attributes = vec![("of", of.name().to_owned())];
            if *kind == Kind::BreakerOpen {
                attributes.push(("why", self.last_failure_of(of)));
            }
            self.parts.events.record(*kind, "", attributes);
        }
        self.told.breakers = kinds;
    }

    /// What keeps a job that was admitted from starting at once.
    pub(super) fn waits_for(&self, job: &str) -> Option<Limit> {
        let is_full = self.gate.running().len() >= self.gate.limits().concurrent_max;
        self.waiting.contains_key(job).then_some(match is_full {
            true => Limit::Concurrency,
            false => Limit::Spacing,
        })
    }
}
