//! Whether starting is worth trying: closed, open, or half-open with one probe.
//!
//! Each permission is a [`Ticket`] of the breaker's present life. A result counts only in the life that it comes from,
//! so what was begun before the breaker opened neither keeps it open nor closes it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Refusal, RefusalCode, after};

#[cfg(test)]
mod tests;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures within [`Self::window`] that open it; 0 turns it off.
    pub failures_max: u32,
    /// How long a failure counts. Successes in between do not excuse it.
    pub window: Duration,
    /// How long it stays open until one probe is let through.
    pub open_for: Duration,
    /// How long a probe may take: then it counts as lost, and another one is let through.
    pub probe_timeout: Duration,
}

impl BreakerConfig {
    /// For starts in general.
    pub const GENERAL: Self = Self {
        failures_max: 5,
        window: Duration::from_secs(300),
        open_for: Duration::from_secs(300),
        probe_timeout: Duration::from_secs(300),
    };
    /// For starts in the place of an engine that failed.
    pub const REPLACEMENT: Self = Self {
        failures_max: 3,
        window: Duration::from_secs(180),
        open_for: Duration::from_secs(180),
        probe_timeout: Duration::from_secs(300),
    };
}

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing until then.
    Open {
        /// When it lets a probe through.
        until: Instant,
    },
    /// One probe.
    HalfOpen {
        /// Whether the probe is under way; the next one may begin at that time, should its result stay out.
        probing_until: Option<Instant>,
    },
}

/// A permission to try once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    generation: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    /// Half-open once that time has come.
    Open(Instant),
    Probing(Instant),
}

/// Opens when failures pile up.
#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    phase: Phase,
    generation: u64,
    failures: VecDeque<Instant>,
    last_failure: Option<Instant>,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            phase: Phase::Closed,
            generation: 0,
            failures: VecDeque::new(),
            last_failure: None,
        }
    }

    /// Its state: a matter of time alone, whether or not anybody asks.
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.phase {
            _ if self.config.failures_max == 0 => BreakerState::Closed,
            Phase::Closed => BreakerState::Closed,
            Phase::Open(until) if now < until => BreakerState::Open { until },
            Phase::Probing(until) if now < until => BreakerState::HalfOpen {
                probing_until: Some(until),
            },
            Phase::Open(_) | Phase::Probing(_) => BreakerState::HalfOpen {
                probing_until: None,
            },
        }
    }

    /// How long nothing gets through at most, unless a result comes in; `None` when something would now.
    pub fn recovery_eta(&self, now: Instant) -> Option<Duration> {
        self.closed_until(now)
            .map(|until| until.saturating_duration_since(now))
    }

    /// When its state changes by itself; `None` when only results change it.
    pub fn changes_at(&self, now: Instant) -> Option<Instant> {
        self.closed_until(now)
    }

    /// Asks to try once. A ticket wants exactly one of [`Self::succeeded`], [`Self::failed`] and [`Self::abandoned`].
    ///
    /// # Errors
    /// [`RefusalCode::CircuitBreaker`] with the time until a probe is let through.
    pub fn acquire(&mut self, now: Instant) -> Result<Ticket, Refusal> {
        match self.state(now) {
            BreakerState::Closed => Ok(self.ticket()),
            BreakerState::HalfOpen {
                probing_until: None,
            } => {
                let until = after(now, self.config.probe_timeout);
                self.enter(Phase::Probing(until));
                Ok(self.ticket())
            }
            BreakerState::Open { until } => {
                let (most, window) = (self.config.failures_max, self.config.window.as_secs());
                let what = format!("{most} starts within {window} s or the last try failed");
                Err(refusal(&what, until, now))
            }
            BreakerState::HalfOpen {
                probing_until: Some(until),
            } => Err(refusal("one start is tried after failures", until, now)),
        }
    }

    /// Whether what this ticket stands for may still begin: not when the breaker opened since.
    ///
    /// # Errors
    /// [`RefusalCode::CircuitBreaker`] with the time until a probe is let through.
    pub fn allows(&self, ticket: Ticket, now: Instant) -> Result<(), Refusal> {
        match self.state(now) {
            BreakerState::Closed => Ok(()),
            _ if self.is_current(ticket) => Ok(()),
            _ => Err(refusal(
                "the breaker opened since",
                self.closed_until(now).unwrap_or(now),
                now,
            )),
        }
    }

    /// It worked. The probe closes the breaker.
    pub fn succeeded(&mut self, ticket: Ticket) {
        if self.is_current(ticket) && matches!(self.phase, Phase::Probing(_)) {
            self.close();
        }
    }

    /// It failed. The probe opens the breaker again, and so do too many failures within the window.
    pub fn failed(&mut self, ticket: Ticket, now: Instant) {
        if !self.is_current(ticket) {
            return;
        }
        self.last_failure = Some(now);
        self.failures.push_back(now);
        self.forget(now);
        let most = self.config.failures_max as usize;
        let too_many = most > 0 && self.failures.len() >= most;
        if too_many || matches!(self.phase, Phase::Probing(_)) {
            self.failures.clear();
            self.enter(Phase::Open(after(now, self.config.open_for)));
        }
    }

    /// It was given up for reasons that say nothing; of a probe, the next one may try at once.
    pub fn abandoned(&mut self, ticket: Ticket, now: Instant) {
        if self.is_current(ticket) && matches!(self.phase, Phase::Probing(_)) {
            self.enter(Phase::Open(now));
        }
    }

    /// Closes it by hand; results of what is under way do not count.
    pub fn reset(&mut self) {
        self.close();
    }

    /// Changes when it opens and for how long, from the next result on. Turning it off closes it.
    pub fn set_config(&mut self, config: BreakerConfig) {
        self.config = config;
        if config.failures_max == 0 {
            self.close();
        }
    }

    /// What it is configured with.
    pub fn config(&self) -> BreakerConfig {
        self.config
    }

    /// Failures that count at this time.
    pub fn failures(&self, now: Instant) -> usize {
        let counts = |failure: &&Instant| self.counts(**failure, now);
        self.failures.iter().filter(counts).count()
    }

    /// When something failed last, of what counted.
    pub fn last_failure(&self) -> Option<Instant> {
        self.last_failure
    }

    fn closed_until(&self, now: Instant) -> Option<Instant> {
        match self.state(now) {
            BreakerState::Closed => None,
            BreakerState::Open { until } => Some(until),
            BreakerState::HalfOpen { probing_until } => probing_until,
        }
    }

    fn ticket(&self) -> Ticket {
        Ticket {
            generation: self.generation,
        }
    }

    fn is_current(&self, ticket: Ticket) -> bool {
        ticket.generation == self.generation
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }

    fn close(&mut self) {
        self.failures.clear();
        self.enter(Phase::Closed);
    }

    fn counts(&self, failure: Instant, now: Instant) -> bool {
        now.saturating_duration_since(failure) < self.config.window
    }

    /// Keeps the failures that count, and no more of them than can matter.
    fn forget(&mut self, now: Instant) {
        let (window, most) = (self.config.window, self.config.failures_max as usize);
        self.failures
            .retain(|failure| now.saturating_duration_since(*failure) < window);
        while self.failures.len() > most.max(1) {
            self.failures.pop_front();
        }
    }
}

fn refusal(what: &str, until: Instant, now: Instant) -> Refusal {
    let eta = until.saturating_duration_since(now);
    let seconds = eta.as_secs().max(1);
    let message = format!("{what}; the next one may be tried in {seconds} s");
    Refusal::new(RefusalCode::CircuitBreaker, message).with_eta(eta)
}
