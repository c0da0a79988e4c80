//! What must hold for starts of engines in whatever order things happen.

#![allow(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_core::provision::{
    Breaker, BreakerConfig, BreakerState, Gate, GateLimits, Next, Position, Ticket,
};

#[derive(Clone, Debug)]
enum GateEvent {
    Admit(u8),
    Next,
    End(u8),
    Remove(u8),
    Limits(usize, u64, usize),
    Wait(u64),
}

fn gate_events() -> impl Strategy<Value = GateEvent> {
    prop_oneof![
        4 => any::<u8>().prop_map(GateEvent::Admit),
        6 => Just(GateEvent::Next),
        2 => any::<u8>().prop_map(GateEvent::End),
        1 => any::<u8>().prop_map(GateEvent::Remove),
        1 => (0..7usize, 0..2_000u64, 0..20usize).prop_map(|(c, i, q)| GateEvent::Limits(c, i, q)),
        3 => (0..800u64).prop_map(GateEvent::Wait),
    ]
}

/// What a gate must do, written down the simple way.
#[derive(Default)]
struct GateModel {
    waiting: VecDeque<u8>,
    running: Vec<u8>,
    last_start: Option<Instant>,
}

impl GateModel {
    fn started(&mut self, id: u8, limits: GateLimits, now: Instant) -> Result<(), TestCaseError> {
        prop_assert_eq!(
            self.waiting.pop_front(),
            Some(id),
            "first come, first served"
        );
        self.running.push(id);
        prop_assert!(self.running.len() <= limits.concurrent_max);
        let spaced = self
            .last_start
            .is_none_or(|last| now - last >= limits.interval_min);
        prop_assert!(spaced, "two starts are too close");
        self.last_start = Some(now);
        Ok(())
    }

    fn held_back(
        &self,
        limits: GateLimits,
        next: Next<u8>,
        now: Instant,
    ) -> Result<(), TestCaseError> {
        match next {
            Next::Start(_) => prop_assert!(false, "no start here"),
            Next::Idle => prop_assert!(self.waiting.is_empty()),
            Next::AtCapacity => prop_assert!(self.running.len() >= limits.concurrent_max),
            Next::WaitUntil(at) => {
                prop_assert!(at > now);
                prop_assert_eq!(
                    Some(at),
                    self.last_start.map(|last| last + limits.interval_min)
                );
            }
        }
        Ok(())
    }
}

fn step(
    gate: &mut Gate<u8>,
    model: &mut GateModel,
    event: &GateEvent,
    now: &mut Instant,
) -> Result<(), TestCaseError> {
    match *event {
        GateEvent::Admit(id) => {
            let known = model.running.contains(&id) || model.waiting.contains(&id);
            let full = model.waiting.len() >= gate.limits().queue_max;
            let admitted = gate.admit(id);
            prop_assert_eq!(admitted.is_ok(), known || !full);
            if !known && !full {
                let ahead = model.waiting.len();
                prop_assert_eq!(admitted, Ok(Position::Waiting { ahead }));
                model.waiting.push_back(id);
            }
        }
        GateEvent::Next => match gate.next(*now) {
            Next::Start(id) => model.started(id, gate.limits(), *now)?,
            other => model.held_back(gate.limits(), other, *now)?,
        },
        GateEvent::End(id) => {
            let running = model.running.len();
            model.running.retain(|other| *other != id);
            prop_assert_eq!(gate.ended(&id), model.running.len() < running);
        }
        GateEvent::Remove(id) => {
            let waiting = model.waiting.len();
            model.waiting.retain(|other| *other != id);
            prop_assert_eq!(gate.remove(&id), model.waiting.len() < waiting);
        }
        GateEvent::Limits(concurrent_max, interval_ms, queue_max) => gate.set_limits(GateLimits {
            concurrent_max,
            interval_min: Duration::from_millis(interval_ms),
            queue_max,
        }),
        GateEvent::Wait(ms) => *now += Duration::from_millis(ms),
    }
    prop_assert!(gate.waiting().eq(model.waiting.iter()), "none is lost");
    prop_assert_eq!(gate.running().len(), model.running.len());
    Ok(())
}

#[derive(Clone, Debug)]
enum BreakerEvent {
    Acquire,
    Succeed(usize),
    Fail(usize),
    Abandon(usize),
    Reset,
    Wait(u64),
}

fn breaker_events() -> impl Strategy<Value = BreakerEvent> {
    prop_oneof![
        6 => Just(BreakerEvent::Acquire),
        1 => any::<usize>().prop_map(BreakerEvent::Succeed),
        4 => any::<usize>().prop_map(BreakerEvent::Fail),
        1 => any::<usize>().prop_map(BreakerEvent::Abandon),
        1 => Just(BreakerEvent::Reset),
        3 => (0..200u64).prop_map(BreakerEvent::Wait),
    ]
}

proptest! {
    #[test]
    fn a_gate_never_starts_too_many_nor_too_close_and_loses_none(
        steps in prop::collection::vec(gate_events(), 0..200),
    ) {
        let mut now = Instant::now();
        let (mut gate, mut model) = (Gate::new(GateLimits::default()), GateModel::default());
        for event in &steps {
            step(&mut gate, &mut model, event, &mut now)?;
        }
    }

    #[test]
    fn a_breaker_lets_nothing_through_while_open_and_one_at_a_time_while_half_open(
        steps in prop::collection::vec(breaker_events(), 0..200),
    ) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(BreakerConfig::GENERAL);
        let mut tickets: Vec<Ticket> = Vec::new();
        for event in &steps {
            let before = breaker.state(now);
            match *event {
                BreakerEvent::Wait(s) => now += Duration::from_secs(s),
                BreakerEvent::Reset => breaker.reset(),
                BreakerEvent::Acquire => {
                    let got = breaker.acquire(now);
                    let may = matches!(
                        before,
                        BreakerState::Closed | BreakerState::HalfOpen { probing_until: None }
                    );
                    prop_assert_eq!(got.is_ok(), may);
                    if before == (BreakerState::HalfOpen { probing_until: None }) {
                        prop_assert!(breaker.acquire(now).is_err(), "one probe");
                    }
                    tickets.extend(got.ok());
                }
                BreakerEvent::Succeed(n) | BreakerEvent::Fail(n) | BreakerEvent::Abandon(n) => {
                    if tickets.is_empty() {
                        continue;
                    }
                    let ticket = tickets.swap_remove(n % tickets.len());
                    match event {
                        BreakerEvent::Succeed(_) => breaker.succeeded(ticket),
                        BreakerEvent::Fail(_) => breaker.failed(ticket, now),
                        _ => breaker.abandoned(ticket, now),
                    }
                    if matches!(before, BreakerState::Open { .. }) {
                        prop_assert_eq!(breaker.state(now), before, "late results change nothing");
                    }
                }
            }
            prop_assert!(breaker.failures(now) < 5);
            prop_assert_eq!(breaker.recovery_eta(now).is_some(), breaker.clone().acquire(now).is_err());
        }
    }
}
