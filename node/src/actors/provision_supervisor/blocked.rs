//! Why nothing of a service is provisioned on this node now.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};
use weir_core::ids::ServiceName;
use weir_core::provision::{BreakerState, Refusal, RefusalCode};

use super::ProvisionSupervisor;
use super::breakers::{Of, Ran};
use super::publish::{Leave, Picture};

/// A driver that is away is asked again after this.
const DRIVER_ASKED_AFTER: Duration = Duration::from_secs(1);

impl Picture {
    /// Why no engine of this service is provisioned now.
    pub fn blocked_of(&self, service: &str) -> Option<&Refusal> {
        let services = self.services.iter();
        let mut views = services.filter(|view| view.service == service);
        let own = views.find_map(|view| view.blocked.as_ref());
        own.or(self.blocked.as_ref())
    }
}

impl ProvisionSupervisor {
    /// What keeps everything from being provisioned here, if all services have something.
    pub(super) fn blocked(&self, services: &BTreeMap<ServiceName, Refusal>) -> Option<Refusal> {
        if *self.parts.outlet.leave.borrow() != Leave::Stays {
            return Some(stopping());
        }
        if let Some(why) = &self.claims.queue_problem {
            let message = format!("jobs cannot be reached: {why}");
            return Some(Refusal::new(RefusalCode::StoreAway, message));
        }
        let is_all = !services.is_empty() && services.len() == self.plan.services.len();
        services.values().next().filter(|_| is_all).cloned()
    }

    /// Services of which nothing is provisioned here now, and why.
    pub(super) fn blocked_services(&self, now: Instant) -> BTreeMap<ServiceName, Refusal> {
        let services = self.plan.services.values();
        let blocked = services.filter_map(|plan| {
            let ran = (plan.service.clone(), plan.settings.launch.driver);
            Some((plan.service.clone(), self.blocked_service(&ran, now)?))
        });
        blocked.collect()
    }

    fn blocked_service(&self, ran: &Ran, now: Instant) -> Option<Refusal> {
        let (service, driver) = ran;
        // In a mesh another node may claim the job, whose driver works.
        let is_alone = self
            .parts
            .in_force
            .load()
            .config
            .control_plane
            .endpoints
            .is_empty();
        if let Some(why) = self.problems.why_away(*driver).filter(|_| is_alone) {
            let message = format!("{}: {why}", driver.name());
            let refusal = Refusal::new(RefusalCode::DriverUnavailable, message);
            return Some(refusal.with_eta(DRIVER_ASKED_AFTER));
        }
        let now = now.into_std();
        let BreakerState::Open { .. } = self.breakers.state(ran, now) else {
            return self.no_port(service).filter(|_| is_alone);
        };
        let why = self.last_failure_of(&Of::Service(service.clone()));
        let refusal = Refusal::new(
            RefusalCode::CircuitBreaker,
            format!("too many failures; the last one: {why}"),
        );
        Some(match self.breakers.recovery_eta(ran, now) {
            Some(eta) => refusal.with_eta(eta),
            None => refusal,
        })
    }

    /// Why starts failed last.
    pub(super) fn last_failure_of(&self, of: &Of) -> String {
        let own = match of {
            Of::Service(service) => self.problems.last_start(service),
            Of::Driver(driver) => self.problems.why_away(*driver),
        };
        own.or(self.last_failure.as_deref())
            .unwrap_or("too many failures")
            .to_owned()
    }
}

/// The node stops.
pub(super) fn stopping() -> Refusal {
    Refusal::new(RefusalCode::Stopping, "the node stops; ask another one")
}
