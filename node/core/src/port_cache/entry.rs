//! One VPN's entry.

use std::time::{Duration, Instant};

use super::counters::Counters;
use super::learned::Followed;
use super::limits::Limits;
use super::state::{
    Answer, Failure, LookUp, Need, Outcome, Port, Reading, Reason, State, Upstream,
};

/// What is known of one VPN's port.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub(super) epoch: u64,
    /// The newest answer of this epoch.
    pub(super) latest: Option<Known>,
    /// The last good port of this epoch, and when it was asked for.
    pub(super) good: Option<(Port, Instant)>,
    /// Nothing that was asked for before this is believed.
    pub(super) void_before: Option<Instant>,
    pub(super) followed: Option<Followed>,
    /// Answers in a row without a port.
    failures: u32,
    flight: Option<Ticket>,
    flights: u64,
    counters: Counters,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) reading: Reading,
    pub(super) asked_at: Instant,
    pub(super) told_at: Instant,
}

/// The right to ask once; handed back with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    epoch: u64,
    flight: u64,
    begun: Instant,
}

impl Ticket {
    /// The epoch that the question belongs to.
    pub const fn epoch(self) -> u64 {
        self.epoch
    }
}

impl Entry {
    /// One that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is known.
    pub fn state(&self) -> State {
        self.latest
            .map_or(State::Unknown, |known| known.reading.into())
    }

    /// Rises with each invalidation.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the newest answer was asked for.
    pub fn fetched_at(&self) -> Option<Instant> {
        self.latest.map(|known| known.asked_at)
    }

    /// What happened to it.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Answers from what is known, and says what has to be done.
    pub fn look_up(&mut self, now: Instant, limits: &Limits) -> LookUp {
        let answer = self.answer(now, limits);
        let need = match answer {
            Answer::Unknown => Need::Fetch,
            _ if self.is_fetching(now, limits) => Need::Nothing,
            Answer::Port { .. } if self.wants_refresh(now, limits) => Need::RefreshInBackground,
            _ => Need::Nothing,
        };
        match answer {
            Answer::Unknown => self.counters.misses += 1,
            _ => self.counters.hits += 1,
        }
        if matches!(answer, Answer::Port { is_stale: true, .. }) {
            self.counters.stale_served += 1;
        }
        LookUp { answer, need }
    }

    /// The answer alone: nothing is counted.
    pub fn answer(&self, now: Instant, limits: &Limits) -> Answer {
        let Some(latest) = self.latest else {
            return Answer::Unknown;
        };
        let negative = match latest.reading {
            Ok(Some(_)) => Answer::Unknown,
            Ok(None) => Answer::NotReady,
            Err(failure) => Answer::Refused(failure),
        };
        if let Some(port) = self.good_port(now, limits, latest) {
            return port;
        }
        match now.saturating_duration_since(latest.told_at) < limits.negative_ttl {
            true => negative,
            false => Answer::Unknown,
        }
    }

    fn good_port(&self, now: Instant, limits: &Limits, latest: Known) -> Option<Answer> {
        let (port, asked_at) = self.good?;
        let age = now.saturating_duration_since(asked_at);
        let is_stale = age >= limits.ttl;
        let is_out = latest.reading == Err(Failure::Unreachable);
        let is_late = self.flight.is_some_and(|flight| {
            self.is_fetching(now, limits)
                && flight.begun.saturating_duration_since(asked_at) < limits.ttl
        });
        let serves = !is_stale || ((is_out || is_late) && age < limits.stale_age());
        serves.then_some(Answer::Port {
            port,
            is_stale,
            age,
        })
    }

    fn wants_refresh(&self, now: Instant, limits: &Limits) -> bool {
        self.latest
            .is_some_and(|known| match (known.reading, self.good) {
                (Ok(_), Some((_, asked_at))) => {
                    now.saturating_duration_since(asked_at) >= limits.refresh_age()
                }
                _ => now.saturating_duration_since(known.told_at) >= limits.negative_ttl,
            })
    }

    /// How long until it should be asked for though nobody looks up, so that it stays warm; zero is now.
    ///
    /// After answers without a port the waits double up to the time to live: whoever looks up may ask earlier.
    pub fn next_fetch_in(&self, now: Instant, limits: &Limits) -> Duration {
        let rest = |since: Instant, wait: Duration| {
            wait.saturating_sub(now.saturating_duration_since(since))
        };
        match (self.flight, self.latest) {
            (Some(flight), _) if self.is_fetching(now, limits) => {
                rest(flight.begun, limits.lost_after())
            }
            (_, None) => Duration::ZERO,
            (_, Some(known)) => match known.reading {
                Ok(Some(_)) => rest(known.asked_at, limits.refresh_age()),
                _ => rest(known.told_at, limits.retry_wait(self.failures)),
            },
        }
    }

    /// Whether a question is out.
    pub fn is_fetching(&self, now: Instant, limits: &Limits) -> bool {
        self.flight
            .is_some_and(|flight| now.saturating_duration_since(flight.begun) < limits.lost_after())
    }

    /// Lets one question through; `None` when one is out, whose answer serves all who wait.
    ///
    /// A question is always allowed when none is out, needed or not.
    pub fn begin_fetch(
        &mut self,
        now: Instant,
        limits: &Limits,
        upstream: Upstream,
    ) -> Option<Ticket> {
        if self.is_fetching(now, limits) {
            self.counters.coalesced += 1;
            return None;
        }
        match upstream {
            Upstream::ControlServer => self.counters.upstream_calls += 1,
            Upstream::Owner => self.counters.owner_calls += 1,
        }
        self.flights += 1;
        let ticket = Ticket {
            epoch: self.epoch,
            flight: self.flights,
            begun: now,
        };
        self.flight = Some(ticket);
        Some(ticket)
    }

    /// Takes the answer to a question.
    pub fn end_fetch(&mut self, ticket: Ticket, now: Instant, reading: Reading) -> Outcome {
        let before = self.state();
        if !self.land(ticket) || !self.is_news(ticket.begun) {
            return self.dropped();
        }
        self.take(Known {
            reading,
            asked_at: ticket.begun,
            told_at: now,
        });
        self.changed_from(before)
    }

    /// A question ended without any answer, good or bad: another may be asked at once. True if it was the one out.
    pub fn abandon_fetch(&mut self, ticket: Ticket) -> bool {
        self.land(ticket)
    }

    fn land(&mut self, ticket: Ticket) -> bool {
        let is_current = self.flight == Some(ticket);
        if is_current {
            self.flight = None;
        }
        is_current
    }

    /// What was known is void, and so is the answer to a question that is out: another may be asked at once.
    pub fn invalidate(&mut self, reason: Reason, now: Instant) -> Outcome {
        let before = self.state();
        self.epoch += 1;
        self.latest = None;
        self.good = None;
        self.failures = 0;
        self.flight = None;
        self.void_before = Some(now);
        self.counters.invalidations += 1;
        if let (Some(followed), true) = (&mut self.followed, reason != Reason::Owner) {
            followed.is_confirmed = false;
        }
        self.changed_from(before)
    }

    /// Whether something that was asked for then is of this epoch.
    pub(super) fn may_be_believed(&self, asked_at: Instant) -> bool {
        self.void_before.is_none_or(|void| asked_at >= void)
    }

    /// Whether something that was asked for then is of this epoch and newer than what is known.
    pub(super) fn is_news(&self, asked_at: Instant) -> bool {
        self.may_be_believed(asked_at) && self.latest.is_none_or(|known| asked_at >= known.asked_at)
    }

    pub(super) fn take(&mut self, known: Known) {
        self.latest = Some(known);
        self.failures = match known.reading {
            Ok(Some(_)) => 0,
            _ => self.failures.saturating_add(1),
        };
        match known.reading {
            Ok(Some(port)) => self.good = Some((port, known.asked_at)),
            // It is out, and says nothing against the port that it told last.
            Err(Failure::Unreachable) => {}
            _ => self.good = None,
        }
    }

    pub(super) fn dropped(&mut self) -> Outcome {
        self.counters.stale_replies_dropped += 1;
        Outcome::DroppedStale
    }
}
