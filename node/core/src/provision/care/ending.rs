//! How an engine comes to its end: the wish to replace it, drain, stop.

use std::time::Instant;

use super::super::after;
use super::{Care, CareRules, CareState, EndReason};

impl Care {
    pub(super) fn patience(&self, rules: &CareRules) -> u32 {
        match self.in_flight {
            0 => 1,
            _ => rules.in_use_patience.max(1),
        }
    }

    pub(super) fn wants_replacement(&self, rules: &CareRules, now: Instant) -> Option<EndReason> {
        if self.vpn_lost_since.is_some() {
            return None;
        }
        let used_up = rules.recycle_after_uses > 0 && self.uses >= rules.recycle_after_uses;
        match self.state {
            CareState::Unhealthy { since, .. } => {
                let grace = rules.unhealthy_grace.saturating_mul(self.patience(rules));
                (now >= after(since, grace)).then_some(EndReason::Unhealthy)
            }
            // It comes first, because what fails for one outdated engine keeps all others from being replaced.
            CareState::Ready if rules.outdated => Some(EndReason::Outdated),
            CareState::Ready if used_up => Some(EndReason::Recycled),
            _ => None,
        }
    }

    /// Lets what runs on it end. What ends already ends by the earlier of two deadlines.
    pub(super) fn drain(&mut self, reason: EndReason, rules: &CareRules, now: Instant) {
        let end = after(now, rules.drain_timeout);
        match self.state {
            CareState::Draining {
                until,
                reason: first,
            } => {
                self.state = CareState::Draining {
                    until: until.min(end),
                    reason: weightier(first, reason),
                };
            }
            CareState::Starting | CareState::Probing | CareState::Stopping { .. } => {
                self.stop(reason, now);
            }
            CareState::Ready | CareState::Unhealthy { .. } => {
                self.unseen = self.published;
                self.state = CareState::Draining { until: end, reason };
            }
            CareState::Gone { .. } => {}
        }
    }

    pub(super) fn stop(&mut self, reason: EndReason, now: Instant) {
        match &mut self.state {
            CareState::Stopping { reason: first, .. } => *first = weightier(*first, reason),
            CareState::Draining { reason: first, .. } => {
                let reason = weightier(*first, reason);
                self.state = CareState::Stopping {
                    reason,
                    asked_at: now,
                };
            }
            CareState::Gone { .. } => {}
            _ => {
                self.state = CareState::Stopping {
                    reason,
                    asked_at: now,
                }
            }
        }
    }
}

/// Of two reasons the one that counts: somebody who does not want the engine any more wants no other one either.
fn weightier(first: EndReason, second: EndReason) -> EndReason {
    match second {
        EndReason::Asked => second,
        _ => first,
    }
}
