//! Outdated engines that end before somebody serves in their stead: of a service one node at a time lets one end so.
//!
//! A hold in the store is the right to it, kept until somebody serves in its stead.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use weir_control_plane::jobs::DEFAULT_QUEUE;
use weir_core::ids::ServiceName;

use super::holds::{Held, held};
use super::messages::Look;
use super::settle::{self, tell_looked};
use super::{Parts, ProvisionSupervisor};

/// Between two questions for the right: another node may have it.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// After it was given back, so that other nodes get it, too.
const PAUSE: Duration = Duration::from_secs(1);
/// A right that nobody needs after all is given back after this long.
const UNUSED_MAX: Duration = Duration::from_secs(30);

/// The right to end one of a service.
#[derive(Debug)]
struct Right {
    held: Held,
    since: Instant,
    /// One was ended.
    is_used: bool,
}

/// Rights of this node, and when to ask for others.
#[derive(Debug, Default)]
pub(super) struct EndsFirst {
    rights: BTreeMap<ServiceName, Right>,
    not_before: BTreeMap<ServiceName, Instant>,
}

impl EndsFirst {
    /// Whether the right was asked for a moment ago, and is not this node's.
    pub(super) fn waits(&self, service: &ServiceName, now: Instant) -> bool {
        self.not_before.get(service).is_some_and(|at| now < *at)
    }
}

impl ProvisionSupervisor {
    /// Whether an outdated engine of a service may end now; if not, the right to it is asked for.
    pub(super) fn may_end_first(&mut self, service: &ServiceName, now: Instant) -> bool {
        let ends_first = &mut self.rollings.ends_first;
        if let Some(right) = ends_first.rights.get_mut(service) {
            right.is_used = true;
            return true;
        }
        let again = now + ASK_INTERVAL;
        ends_first.not_before.insert(service.clone(), again);
        let (parts, service) = (self.parts.clone(), service.clone());
        tokio::task::spawn_local(async move {
            let name = format!("rolling:{service}");
            let holder = parts.holder.clone();
            // Another node has it: whoever serves in the stead of its engine is waited for.
            if let Ok(hold) = parts.queue.hold(DEFAULT_QUEUE, &name, holder).await {
                let held = held(&parts, hold);
                tell_looked(&parts.links, Look::MayEndFirst { service, held }).await;
            }
        });
        false
    }

    /// This node has the right now.
    pub(super) fn has_right_to_end(&mut self, service: ServiceName, held: Held, now: Instant) {
        let ends_first = &mut self.rollings.ends_first;
        ends_first.not_before.remove(&service);
        let right = Right {
            held,
            since: now,
            is_used: false,
        };
        if let Some(before) = ends_first.rights.insert(service, right) {
            give_back(&self.parts, before);
        }
    }

    /// Gives rights back that are not needed any more.
    pub(super) fn let_others_end_first(&mut self, now: Instant) {
        let rights = &self.rollings.ends_first.rights;
        let over = rights.iter().filter(|(service, right)| {
            let is_over = match right.is_used {
                true => self.may_go_on(service, now),
                false => now >= right.since + UNUSED_MAX,
            };
            is_over || right.held.kept.is_lost() || !self.plan.services.contains_key(*service)
        });
        let over: Vec<ServiceName> = over.map(|(service, _)| service.clone()).collect();
        let ends_first = &mut self.rollings.ends_first;
        ends_first.not_before.retain(|_, at| now < *at);
        for service in over {
            if let Some(right) = ends_first.rights.remove(&service) {
                give_back(&self.parts, right);
                ends_first.not_before.insert(service, now + PAUSE);
            }
        }
    }
}

fn give_back(parts: &Parts, right: Right) {
    let parts = parts.clone();
    tokio::task::spawn_local(async move { settle::release(&parts, right.held).await });
}
