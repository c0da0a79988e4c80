//! The life of one engine: observations come in, actions go out.
//!
//! ```text
//! Starting ─► Probing ─► Ready ◄─► Unhealthy
//!    │           │         │           │
//!    │           │         ├───────────┴─► Draining ─┐
//!    └───────────┴─────────┴─────────────────────────┴─► Stopping ─► Gone
//! ```
//!
//! An engine gets traffic when it is ready, its VPN is up, and it passed a probe since both are so.

mod ending;
mod replacements;
mod succession;
#[cfg(test)]
mod tests;
mod types;
#[cfg(test)]
mod vpn_tests;

use std::time::Instant;

use super::after;

pub use replacements::{Replacements, Turn};
pub use succession::{Places, Succession};
pub use types::{Action, CareRules, CareState, EndReason, Observation};

/// The care of one engine.
#[derive(Clone, Debug)]
pub struct Care {
    state: CareState,
    forwarded: bool,
    started_at: Instant,
    was_ready: bool,
    /// Probes failed in a row while ready.
    failures: u32,
    in_flight: u32,
    uses: u64,
    idle_since: Instant,
    vpn_lost_since: Option<Instant>,
    /// Its VPN was away, and no probe has passed since.
    unproven: bool,
    published: bool,
    /// It left traffic, and what runs on it was not told since: some of it may have come a moment before.
    unseen: bool,
}

impl Care {
    /// An engine whose start begins now.
    pub fn starting(forwarded: bool, now: Instant) -> Self {
        Self {
            state: CareState::Starting,
            forwarded,
            started_at: now,
            was_ready: false,
            failures: 0,
            in_flight: 0,
            uses: 0,
            idle_since: now,
            vpn_lost_since: None,
            unproven: false,
            published: false,
            unseen: false,
        }
    }

    /// One that was found running: it has to pass a probe before it gets traffic, and is replaced if it never does.
    pub fn adopted(forwarded: bool, now: Instant) -> Self {
        Self {
            state: CareState::Probing,
            was_ready: true,
            ..Self::starting(forwarded, now)
        }
    }

    /// What follows from an observation, in the order in which it is to be done.
    pub fn observe(&mut self, seen: Observation, rules: &CareRules, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if matches!(self.state, CareState::Gone { .. }) {
            return actions;
        }
        let before = self.state;
        self.take(seen, rules, now);
        self.advance(rules, now);
        self.show(&mut actions);
        match self.state {
            CareState::Stopping { reason, .. } if self.state != before => {
                actions.push(Action::Stop(reason));
            }
            CareState::Gone { reason } => {
                let replace = self.was_ready && reason != EndReason::Asked;
                actions.push(Action::Remove { reason, replace });
            }
            _ if seen == Observation::Tick => {
                actions.extend(self.wants_replacement(rules, now).map(Action::Replace));
            }
            _ => {}
        }
        actions
    }

    /// Where it is in its life.
    pub fn state(&self) -> CareState {
        self.state
    }

    /// Whether it gets traffic.
    pub fn is_published(&self) -> bool {
        self.published
    }

    /// What runs on it.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Since when nothing runs on it; `None` while something does.
    pub fn idle_since(&self) -> Option<Instant> {
        (self.in_flight == 0).then_some(self.idle_since)
    }

    /// Whether it is its VPN's forwarded engine.
    pub fn is_forwarded(&self) -> bool {
        self.forwarded
    }

    fn take(&mut self, seen: Observation, rules: &CareRules, now: Instant) {
        match seen {
            Observation::Running if self.state == CareState::Starting => {
                self.state = CareState::Probing;
            }
            Observation::Running | Observation::Tick => {}
            Observation::Ended => self.ended(),
            Observation::ProbePassed => self.probe_passed(),
            Observation::ProbeFailed => self.probe_failed(rules, now),
            Observation::Used { in_flight, uses } => {
                if in_flight > 0 || self.in_flight > 0 {
                    self.idle_since = now;
                }
                (self.in_flight, self.uses) = (in_flight, uses);
                self.unseen = false;
            }
            Observation::DrainAsked => self.drain(EndReason::Asked, rules, now),
            Observation::StopAsked => self.stop(EndReason::Asked, now),
            Observation::VpnLost => {
                self.vpn_lost_since.get_or_insert(now);
                self.unproven = true;
            }
            Observation::VpnBack => self.vpn_back(now),
            Observation::PortChanged if self.forwarded => {
                self.drain(EndReason::PortChanged, rules, now);
            }
            Observation::PortChanged => {}
            // Whatever else became of it meanwhile goes its own way.
            Observation::Moved if self.state == CareState::Ready => {
                self.drain(EndReason::Rebalanced, rules, now);
            }
            Observation::Moved => {}
            Observation::NetworkGone => self.stop(EndReason::NetworkGone, now),
            Observation::ReplacementGranted => {
                if let Some(reason) = self.wants_replacement(rules, now) {
                    self.drain(reason, rules, now);
                }
            }
        }
    }

    /// What time brings about.
    fn advance(&mut self, rules: &CareRules, now: Instant) {
        match self.state {
            CareState::Starting | CareState::Probing
                if !self.waits_for_vpn()
                    && now >= after(self.started_at, rules.readiness_timeout) =>
            {
                self.stop(EndReason::NotReady, now);
            }
            CareState::Draining { until, reason }
                if (self.in_flight == 0 && !self.unseen) || now >= until =>
            {
                self.stop(reason, now);
            }
            CareState::Stopping { reason, asked_at }
                if now >= after(asked_at, rules.stop_retry) =>
            {
                let asked_at = now;
                self.state = CareState::Stopping { reason, asked_at };
            }
            CareState::Ready | CareState::Unhealthy { .. } => {
                let lost_for_good = (rules.vpn_lost_grace.zip(self.vpn_lost_since))
                    .is_some_and(|(grace, since)| now >= after(since, grace));
                if lost_for_good {
                    self.stop(EndReason::VpnLost, now);
                }
            }
            _ => {}
        }
    }

    fn show(&mut self, actions: &mut Vec<Action>) {
        let good = self.state == CareState::Ready;
        let serves = good && self.vpn_lost_since.is_none() && !self.unproven;
        if serves != self.published {
            self.published = serves;
            actions.push(match serves {
                true => Action::Publish,
                false => Action::Hide,
            });
        }
    }

    fn ended(&mut self) {
        let reason = match self.state {
            CareState::Draining { reason, .. } | CareState::Stopping { reason, .. } => reason,
            _ => EndReason::Ended,
        };
        self.state = CareState::Gone { reason };
    }

    fn probe_passed(&mut self) {
        self.failures = 0;
        let may_be_ready = matches!(
            self.state,
            CareState::Probing | CareState::Ready | CareState::Unhealthy { .. }
        );
        if may_be_ready && self.vpn_lost_since.is_none() {
            self.state = CareState::Ready;
            self.was_ready = true;
            self.unproven = false;
        }
    }

    fn probe_failed(&mut self, rules: &CareRules, now: Instant) {
        // Without its VPN it cannot answer well, and that is not its fault.
        if self.vpn_lost_since.is_some() {
            return;
        }
        match &mut self.state {
            CareState::Ready => {
                self.failures = self.failures.saturating_add(1);
                let most = rules.failures_max.max(1);
                if self.failures >= most.saturating_mul(self.patience(rules)) {
                    self.state = CareState::Unhealthy {
                        since: now,
                        failures: self.failures,
                    };
                }
            }
            CareState::Unhealthy { failures, .. } => *failures = failures.saturating_add(1),
            _ => {}
        }
    }

    fn vpn_back(&mut self, now: Instant) {
        if self.vpn_lost_since.take().is_some() {
            self.failures = 0;
            if self.was_ready {
                self.started_at = now;
            }
            if let CareState::Unhealthy { since, .. } = &mut self.state {
                *since = now;
            }
        }
    }

    /// One that was ready before, found again while its VPN is down, is given the time that its VPN takes.
    fn waits_for_vpn(&self) -> bool {
        self.was_ready && self.vpn_lost_since.is_some()
    }
}
