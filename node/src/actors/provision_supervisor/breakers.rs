//! Breakers: one for each service, and one for each driver that counts what says nothing of a service.
//!
//! So a service whose image is missing keeps no other one from being provisioned, and a Docker that is away costs one
//! series of failures and not one a service.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weir_core::ids::ServiceName;
use weir_core::provision::{Breaker, BreakerConfig, BreakerState, Refusal, Ticket};

use crate::config::DriverKind;

/// What a breaker is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    Driver(DriverKind),
    Service(ServiceName),
}

impl Of {
    /// Its name, for people.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Driver(driver) => driver.name(),
            Self::Service(service) => service.as_str(),
        }
    }
}

/// A service and what runs its engines.
pub(super) type Ran = (ServiceName, DriverKind);

/// The right to ask for a job of some services.
#[derive(Debug)]
pub(super) struct Asking(BTreeMap<Of, Ticket>);

impl Asking {
    /// Whether jobs of this service are asked for.
    pub(super) fn is_for(&self, service: &ServiceName) -> bool {
        self.0.contains_key(&Of::Service(service.clone()))
    }
}

/// The right of one job to try.
#[derive(Clone, Debug)]
pub(super) struct Try {
    ran: Ran,
    driver: Ticket,
    service: Ticket,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Breakers {
    config: BreakerConfig,
    all: BTreeMap<Of, Breaker>,
}

impl Breakers {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            all: BTreeMap::new(),
        }
    }

    pub(super) fn config(&self) -> BreakerConfig {
        self.config
    }

    /// Takes new rules, and forgets services that are no longer here.
    pub(super) fn configure(
        &mut self,
        config: BreakerConfig,
        is_here: impl Fn(&ServiceName) -> bool,
    ) {
        self.config = config;
        self.all.retain(|of, _| match of {
            Of::Driver(_) => true,
            Of::Service(service) => is_here(service),
        });
        for breaker in self.all.values_mut() {
            breaker.set_config(config);
        }
    }

    /// Asks to try with jobs of those of these services whose breakers let one through; `None` when none does.
    pub(super) fn acquire(&mut self, services: Vec<Ran>, now: Instant) -> Option<Asking> {
        let mut tickets = BTreeMap::new();
        for (service, driver) in services {
            let of_driver = Of::Driver(driver);
            if !tickets.contains_key(&of_driver) && self.is_shut(&of_driver, now) {
                continue;
            }
            let of_service = Of::Service(service);
            let Ok(ticket) = self.of(&of_service).acquire(now) else {
                continue;
            };
            tickets.insert(of_service, ticket);
            if !tickets.contains_key(&of_driver)
                && let Ok(ticket) = self.of(&of_driver).acquire(now)
            {
                tickets.insert(of_driver, ticket);
            }
        }
        (!tickets.is_empty()).then_some(Asking(tickets))
    }

    /// A job was claimed: what was asked for beside it is given up.
    pub(super) fn claimed(&mut self, asking: Asking, ran: Ran, now: Instant) -> Option<Try> {
        let Asking(mut tickets) = asking;
        let service = tickets.remove(&Of::Service(ran.0.clone()));
        let driver = tickets.remove(&Of::Driver(ran.1));
        self.abandoned_asking(Asking(tickets), now);
        let (service, driver) = (service?, driver?);
        Some(Try {
            ran,
            driver,
            service,
        })
    }

    /// No job came of it.
    pub(super) fn abandoned_asking(&mut self, asking: Asking, now: Instant) {
        for (of, ticket) in asking.0 {
            self.of(&of).abandoned(ticket, now);
        }
    }

    /// Whether a job may still begin.
    ///
    /// # Errors
    /// A breaker opened since.
    pub(super) fn allows(&mut self, one: &Try, now: Instant) -> Result<(), Refusal> {
        self.of(&one.driver_of()).allows(one.driver, now)?;
        self.of(&one.service_of()).allows(one.service, now)
    }

    pub(super) fn succeeded(&mut self, one: &Try) {
        self.of(&one.driver_of()).succeeded(one.driver);
        self.of(&one.service_of()).succeeded(one.service);
    }

    /// It failed because of the driver, or of the service; then the driver did what it should.
    pub(super) fn failed(&mut self, one: &Try, is_of_driver: bool, now: Instant) {
        let (driver, service) = (one.driver_of(), one.service_of());
        match is_of_driver {
            true => {
                self.of(&driver).failed(one.driver, now);
                self.of(&service).abandoned(one.service, now);
            }
            false => {
                self.of(&driver).succeeded(one.driver);
                self.of(&service).failed(one.service, now);
            }
        }
    }

    /// It was given up for reasons that say nothing.
    pub(super) fn abandoned(&mut self, one: &Try, now: Instant) {
        self.of(&one.driver_of()).abandoned(one.driver, now);
        self.of(&one.service_of()).abandoned(one.service, now);
    }

    /// Whether starts of a service are let through: its own breaker, and that of its driver.
    pub(super) fn state(&self, (service, driver): &Ran, now: Instant) -> BreakerState {
        let of = |of: &Of| self.all.get(of).map(|breaker| breaker.state(now));
        let both = [of(&Of::Driver(*driver)), of(&Of::Service(service.clone()))];
        let states = both.into_iter().flatten();
        states.max_by_key(rank).unwrap_or(BreakerState::Closed)
    }

    /// How long nothing of a service is let through at most.
    pub(super) fn recovery_eta(&self, (service, driver): &Ran, now: Instant) -> Option<Duration> {
        let eta = |of: &Of| self.all.get(of).and_then(|one| one.recovery_eta(now));
        eta(&Of::Driver(*driver)).max(eta(&Of::Service(service.clone())))
    }

    /// Each one and its state.
    pub(super) fn states(&self, now: Instant) -> impl Iterator<Item = (&Of, BreakerState)> {
        let all = self.all.iter();
        all.map(move |(of, breaker)| (of, breaker.state(now)))
    }

    /// The worst state of all.
    pub(super) fn worst(&self, now: Instant) -> BreakerState {
        let states = self.states(now).map(|(_, state)| state);
        states.max_by_key(rank).unwrap_or(BreakerState::Closed)
    }

    fn is_shut(&self, of: &Of, now: Instant) -> bool {
        let breaker = self.all.get(of);
        breaker.is_some_and(|breaker| breaker.recovery_eta(now).is_some())
    }

    fn of(&mut self, of: &Of) -> &mut Breaker {
        let config = self.config;
        self.all
            .entry(of.clone())
            .or_insert_with(|| Breaker::new(config))
    }
}

impl Try {
    fn driver_of(&self) -> Of {
        Of::Driver(self.ran.1)
    }

    fn service_of(&self) -> Of {
        Of::Service(self.ran.0.clone())
    }
}

/// The term for it in answers.
pub(super) const fn name(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open { .. } => "open",
        BreakerState::HalfOpen { .. } => "half-open",
    }
}

const fn rank(state: &BreakerState) -> u8 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen { .. } => 1,
        BreakerState::Open { .. } => 2,
    }
}
