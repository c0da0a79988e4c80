//! What must hold of a VPN's port whatever happens and whenever.

#![allow(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_core::port_cache::{
    Answer, Entry, Failure, Limits, Need, Outcome, Port, Reading, Reason, State, Ticket, Upstream,
};

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    LookUp,
    Begin,
    /// Ends one of the questions that were ever asked and not ended, with this kind of answer.
    End(usize, u8),
    Abandon(usize),
    Invalidate,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop_oneof![0..3_000u64, 0..100_000u64].prop_map(Step::Wait),
        Just(Step::LookUp),
        Just(Step::Begin),
        (any::<usize>(), 0..8u8).prop_map(|(which, kind)| Step::End(which, kind)),
        any::<usize>().prop_map(Step::Abandon),
        Just(Step::Invalidate),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let millis = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
    (
        millis(1_000..120_000),
        millis(0..150_000),
        millis(1_000..120_000),
        millis(0..200_000),
        millis(100..60_000),
        millis(100..60_000),
    )
        .prop_map(
            |(ttl, refresh_lead, watch_interval, stale_max, negative_ttl, request_timeout)| {
                Limits {
                    ttl,
                    refresh_lead,
                    watch_interval,
                    stale_max,
                    negative_ttl,
                    request_timeout,
                }
            },
        )
}

/// A question that is out. Its answer, if it is a port, is numbered by the question.
struct Question {
    ticket: Ticket,
    number: u16,
    begun: Instant,
}

/// The entry, and what a test knows of it.
struct Model {
    entry: Entry,
    limits: Limits,
    now: Instant,
    out: Vec<Question>,
    asked: u16,
    /// Questions from this number on belong to the present epoch.
    first_of_epoch: u16,
}

impl Model {
    fn new(limits: Limits) -> Self {
        Self {
            entry: Entry::new(),
            limits,
            now: Instant::now(),
            out: Vec::new(),
            asked: 0,
            first_of_epoch: 1,
        }
    }

    fn reading(number: u16, kind: u8) -> Reading {
        match kind {
            0 => Ok(None),
            1 => Err(Failure::AuthRequired),
            2 => Err(Failure::Unsupported),
            3 | 4 => Err(Failure::Unreachable),
            _ => Ok(Port::new(number)),
        }
    }

    fn begin(&mut self) -> Result<(), TestCaseError> {
        let epoch = self.entry.epoch();
        let was_out = self.out.iter().any(|question| {
            question.ticket.epoch() == epoch
                && question.number >= self.first_of_epoch
                && self.now < question.begun + 2 * self.limits.request_timeout
        });
        let ticket = self
            .entry
            .begin_fetch(self.now, &self.limits, Upstream::ControlServer);
        prop_assert!(!was_out || ticket.is_none(), "two at once in one epoch");
        if let Some(ticket) = ticket {
            self.asked += 1;
            let (number, begun) = (self.asked, self.now);
            self.out.push(Question {
                ticket,
                number,
                begun,
            });
        }
        Ok(())
    }

    fn end(&mut self, which: usize, kind: u8) -> Result<(), TestCaseError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let question = self.out.remove(which % self.out.len());
        let reading = Self::reading(question.number, kind);
        let outcome = self.entry.end_fetch(question.ticket, self.now, reading);
        if question.number < self.first_of_epoch {
            prop_assert_eq!(outcome, Outcome::DroppedStale);
        }
        if outcome != Outcome::DroppedStale {
            prop_assert_eq!(self.entry.state(), State::from(reading));
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Wait(ms) => self.now += Duration::from_millis(ms),
            Step::LookUp => self.look_up()?,
            Step::Begin => self.begin()?,
            Step::End(which, kind) => self.end(which, kind)?,
            Step::Abandon(which) if !self.out.is_empty() => {
                let question = self.out.remove(which % self.out.len());
                self.entry.abandon_fetch(question.ticket);
            }
            Step::Abandon(_) => {}
            Step::Invalidate => {
                self.entry.invalidate(Reason::Lost, self.now);
                self.first_of_epoch = self.asked + 1;
            }
        }
        Ok(())
    }

    fn look_up(&mut self) -> Result<(), TestCaseError> {
        let found = self.entry.look_up(self.now, &self.limits);
        prop_assert_eq!(found.need == Need::Fetch, found.answer == Answer::Unknown);
        if let Answer::Port {
            port,
            is_stale,
            age,
        } = found.answer
        {
            prop_assert!(
                port.get() >= self.first_of_epoch,
                "{} is from before an invalidation",
                port
            );
            prop_assert_eq!(is_stale, age >= self.limits.ttl);
            prop_assert!(age < self.limits.ttl + self.limits.stale_max || !is_stale);
        }
        let counters = self.entry.counters();
        prop_assert!(counters.stale_served <= counters.hits);
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_schedule_serves_a_port_from_before_an_invalidation(
        limits in limits(),
        steps in prop::collection::vec(steps(), 0..120),
    ) {
        let mut model = Model::new(limits);
        for step in &steps {
            model.step(step)?;
            // Whatever is served at any time, not only when somebody happens to look.
            model.look_up()?;
        }
    }

    #[test]
    fn a_server_that_answers_is_asked_once_a_refresh_age_and_nobody_waits_twice(
        limits in limits(),
        answer_after_ms in 0..400u64,
        look_ups in prop::collection::vec(0..20_000u64, 1..200),
    ) {
        let start = Instant::now();
        let mut entry = Entry::new();
        // Answers come in time, and before the port ends.
        let answer_after = Duration::from_millis(answer_after_ms)
            .min(limits.request_timeout)
            .min((limits.ttl - limits.refresh_age()).saturating_sub(Duration::from_millis(1)));
        let mut now = start;
        let mut begun: Vec<Instant> = Vec::new();
        let mut out: Option<(Ticket, Instant)> = None;
        let mut waited = 0;
        for (nth, gap) in look_ups.iter().enumerate() {
            let at = now + Duration::from_millis(*gap);
            // What a caller does in between: ends what is out, and asks when it is due.
            loop {
                let due = match out {
                    Some((_, answered)) => answered,
                    None => now + entry.next_fetch_in(now, &limits),
                };
                if due > at {
                    break;
                }
                now = due;
                match out.take() {
                    Some((ticket, _)) => {
                        let port = Port::new(7);
                        prop_assert_ne!(
                            entry.end_fetch(ticket, now, Ok(port)),
                            Outcome::DroppedStale
                        );
                    }
                    None => {
                        let ticket = entry.begin_fetch(now, &limits, Upstream::ControlServer);
                        prop_assert!(ticket.is_some(), "due, and not allowed");
                        out = ticket.map(|ticket| (ticket, now + answer_after));
                        begun.push(now);
                    }
                }
            }
            now = at;
            let found = entry.look_up(now, &limits);
            waited += usize::from(found.need == Need::Fetch);
            prop_assert!(found.need != Need::Fetch || entry.counters().upstream_calls < 2,
                "look-up {} of a warm entry waits", nth);
            if found.need != Need::Nothing
                && let Some(ticket) = entry.begin_fetch(now, &limits, Upstream::ControlServer)
            {
                out = Some((ticket, now + answer_after));
                begun.push(now);
            }
        }
        for pair in begun.windows(2) {
            prop_assert!(pair[1] - pair[0] >= limits.refresh_age(), "asked too often");
        }
        let counters = entry.counters();
        prop_assert_eq!(counters.upstream_calls as usize, begun.len());
        prop_assert_eq!(counters.misses as usize, waited);
        prop_assert_eq!(counters.stale_served, 0);
    }
}
