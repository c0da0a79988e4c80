//! What keeps engines from being started, or from being known: for operators, in words.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use weir_core::ids::ServiceName;
use weir_core::provision::{Refusal, RefusalCode};

use super::runner::Failure;
use super::{Plan, ProvisionSupervisor};
use crate::config::DriverKind;
use crate::events::Kind;

/// A refused job is tried again at once, and a try may wait for a port: what was not told anew for so long is over.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// What is in the way now.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// Drivers that do not answer, and why.
    drivers: BTreeMap<DriverKind, String>,
    /// Services whose last start came to nothing, and why.
    starts: BTreeMap<ServiceName, String>,
    /// Services one of whose jobs was refused, why and when.
    refusals: BTreeMap<ServiceName, (Refusal, Instant)>,
}

impl Problems {
    /// Whether a driver told what it runs when it was asked last, or was not asked yet.
    pub(super) fn answers(&self, driver: DriverKind) -> bool {
        !self.drivers.contains_key(&driver)
    }

    /// A job is over. One that needed no engine says nothing of the next.
    pub(super) fn job_over(
        &mut self,
        service: ServiceName,
        engine: Option<&str>,
        failure: Option<&Failure>,
        now: Instant,
    ) {
        if let Some(refusal) = failure.and_then(|failure| failure.refusal.clone()) {
            self.refusals.insert(service.clone(), (refusal, now));
        } else {
            self.refusals.remove(&service);
        }
        match failure {
            Some(failure) if failure.counts => {
                self.starts.insert(service, failure.why.clone());
            }
            None if engine.is_some() => {
                self.starts.remove(&service);
            }
            _ => {}
        }
    }

    /// Why this driver did not tell what it runs.
    pub(super) fn why_away(&self, driver: DriverKind) -> Option<&str> {
        self.drivers.get(&driver).map(String::as_str)
    }

    /// Why the last start of a service came to nothing, until one works.
    pub(super) fn last_start(&self, service: &ServiceName) -> Option<&str> {
        self.starts.get(service).map(String::as_str)
    }

    /// Why a job of a service was refused a moment ago, unless a later one was not.
    pub(super) fn refused(&self, service: &ServiceName, now: Instant) -> Option<&Refusal> {
        let (refusal, at) = self.refusals.get(service)?;
        (now < *at + REFUSED_FOR).then_some(refusal)
    }

    /// One line each; what keeps everything away is told once, and not for each service as well.
    pub(super) fn in_words(
        &self,
        plan: &Plan,
        blocked: Option<&Refusal>,
        services: &BTreeMap<ServiceName, Refusal>,
        now: Instant,
    ) -> Vec<String> {
        let drivers = self.drivers.iter();
        let mut words: Vec<String> = drivers
            .map(|(driver, why)| format!("{}: {why}", driver.name()))
            .collect();
        // One was told of the driver; the other is no problem until a job wants a port.
        let is_news = |refusal: &&Refusal| {
            use RefusalCode::{DriverUnavailable, NoPortFree};
            !matches!(refusal.code, DriverUnavailable | NoPortFree)
        };
        words.extend(
            blocked
                .filter(is_news)
                .map(|refusal| refusal.message.clone()),
        );
        let here = |name: &ServiceName| plan.services.contains_key(name);
        let starts = self.starts.iter().filter(|(service, _)| here(service));
        words.extend(starts.map(|(service, why)| {
            let own = services.get(service).filter(|_| blocked.is_none());
            let why = own.filter(is_news).map_or(why, |refusal| &refusal.message);
            format!("service `{service}`: {why}")
        }));
        words.extend(self.refusals_in_words(plan, now));
        words
    }

    /// What jobs are refused for that an operator may change.
    fn refusals_in_words(&self, plan: &Plan, now: Instant) -> impl Iterator<Item = String> {
        use RefusalCode::{NoPortFree, PortUnconfirmed};
        let services = plan.services.keys();
        let refused = services.filter_map(move |name| Some((name, self.refused(name, now)?)));
        refused
            .filter(|(_, refusal)| matches!(refusal.code, NoPortFree | PortUnconfirmed))
            .map(|(service, refusal)| format!("service `{service}`: {}", refusal.message))
    }
}

impl ProvisionSupervisor {
    /// What is in the way, and for what starts wait; one line each.
    pub(super) fn problems_in_words(
        &self,
        blocked: Option<&Refusal>,
        services: &BTreeMap<ServiceName, Refusal>,
        now: Instant,
    ) -> Vec<String> {
        let plan = &self.plan;
        let mut words = self.problems.in_words(plan, blocked, services, now);
        words.extend(self.gate_in_words());
        let waits = self.parts.outlet.waits.borrow();
        words.extend(
            waits
                .iter()
                .map(|(service, why)| format!("service `{service}` waits: {why}")),
        );
        words
    }

    /// Why starts of this node wait, if some do.
    fn gate_in_words(&self) -> Option<String> {
        let (limits, waiting) = (self.gate.limits(), self.gate.waiting().len());
        let under_way = self.gate.running().len();
        let why = match under_way >= limits.concurrent_max {
            true => format!(
                "{under_way} are under way, and {} may be",
                limits.concurrent_max
            ),
            false => format!("{:?} between two starts", limits.interval_min),
        };
        (waiting > 0).then(|| format!("starts that wait: {waiting}; {why}"))
    }

    /// A driver did not tell what it runs.
    pub(super) fn driver_is_away(&mut self, driver: DriverKind, why: String) {
        let before = self.problems.drivers.insert(driver, why.clone());
        if before.is_none() {
            let attributes = [("driver", driver.name().to_owned()), ("why", why.clone())];
            self.parts.events.record(Kind::DriverAway, "", attributes);
        }
        if before.as_ref() != Some(&why) {
            tracing::warn!(driver = driver.name(), why, "what runs is not known");
            self.last_failure = Some(format!("{}: {why}", driver.name()));
        }
    }

    /// A driver told what it runs.
    pub(super) fn driver_is_back(&mut self, driver: DriverKind) {
        if self.problems.drivers.remove(&driver).is_some() {
            tracing::info!(driver = driver.name(), "what runs is known again");
            let attributes = [("driver", driver.name().to_owned())];
            self.parts.events.record(Kind::DriverBack, "", attributes);
        }
    }
}
