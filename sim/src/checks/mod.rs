//! What must hold in every run, each as a named check over its history.

pub(crate) mod fleet;
mod health;
pub(crate) mod messages;
mod operator;
mod picture;
pub(crate) mod purging;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::history::History;

/// What a cluster promises about time, as its checks count on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promises {
    /// From the end of one health check to the next; each wait may differ by a tenth.
    pub(crate) interval: Duration,
    /// How long a health check may take.
    pub(crate) timeout: Duration,
    /// Failed checks in a row that take a backend out.
    pub(crate) fall: u32,
    /// Good checks in a row that bring it back.
    pub(crate) rise: u32,
    /// From the repair of a link to the first call over it that succeeds.
    pub(crate) reachable_after: Duration,
}

/// Timers of the simulation fire on the next millisecond; a chain of them may be this late.
const GRANULARITY: Duration = Duration::from_millis(15);

impl Promises {
    /// The longest that one check and the wait after it may take.
    fn round_max(&self) -> Duration {
        self.interval.mul_f64(1.1) + self.timeout
    }

    /// From the cut of a backend's link to the end of its service.
    pub(crate) fn out_within(&self) -> Duration {
        self.round_max() * self.fall + GRANULARITY
    }

    /// From the repair of a backend's link to its return. One check may be under way, still to fail.
    pub(crate) fn back_within(&self) -> Duration {
        self.timeout + self.round_max() * self.rise + GRANULARITY
    }

    /// A cut so short that it cannot fail enough checks: one that is under way when it begins, and one
    /// for each interval that begins within it.
    pub(crate) fn harmless(&self) -> Duration {
        self.interval.mul_f64(0.9) * self.fall.saturating_sub(2)
    }
}

/// A check that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The name of the check.
    pub(crate) check: &'static str,
    /// When and where, for people.
    pub(crate) detail: String,
}

/// Says what of a history does not hold.
type Check<H, P> = fn(&H, &P) -> Vec<String>;

fn violations<H, P>(
    checks: &[(&'static str, Check<H, P>)],
    history: &H,
    promises: &P,
) -> Vec<Violation> {
    let found = checks.iter().flat_map(|(name, check)| {
        let details = check(history, promises);
        details.into_iter().map(|detail| Violation {
            check: name,
            detail,
        })
    });
    found.collect()
}

/// Every check by name.
const CHECKS: &[(&str, Check<History, Promises>)] = &[
    (
        "cut_backend_is_out_in_time",
        health::cut_backend_is_out_in_time,
    ),
    (
        "repaired_backend_is_back_in_time",
        health::repaired_backend_is_back_in_time,
    ),
    ("only_cut_backends_go_out", health::only_cut_backends_go_out),
    ("revisions_never_go_back", picture::revisions_never_go_back),
    ("nodes_converge", picture::nodes_converge),
    ("operator_sees_what_is", picture::operator_sees_what_is),
    (
        "calls_end_by_their_deadline",
        operator::calls_end_by_their_deadline,
    ),
    (
        "acknowledged_changes_are_in_force",
        operator::acknowledged_changes_are_in_force,
    ),
    (
        "node_is_reachable_after_repair",
        operator::node_is_reachable_after_repair,
    ),
];

/// Runs every check.
pub(crate) fn run(history: &History, promises: &Promises) -> Vec<Violation> {
    violations(CHECKS, history, promises)
}

/// How many checks there are.
pub(crate) const fn count() -> usize {
    CHECKS.len()
}
