//! What must hold in every run of a fleet, each as a named check over its history.

mod nodes;
mod presence;
mod store;
mod truth;

use std::time::Duration;

use super::{Check, Violation, violations};
use crate::fleet::history::History;

/// What a fleet promises about time, as its checks count on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promises {
    /// From the end of the last fault until every node has what the layers give.
    pub(crate) in_sync_within: Duration,
    /// The same from a change, while nothing is wrong.
    pub(crate) changed_within: Duration,
    /// How long a node that is away may be taken for one that is there, and the other way round.
    pub(crate) suspect_for: Duration,
}

/// Every check by name.
const CHECKS: &[(&str, Check<History, Promises>)] = &[
    (
        "nodes_have_what_the_layers_give",
        nodes::nodes_have_what_the_layers_give,
    ),
    ("nodes_say_what_they_have", nodes::nodes_say_what_they_have),
    ("nodes_never_go_back", nodes::nodes_never_go_back),
    (
        "acknowledged_writes_are_made_once",
        store::acknowledged_writes_are_made_once,
    ),
    (
        "refused_writes_are_not_made",
        store::refused_writes_are_not_made,
    ),
    (
        "revisions_follow_each_other",
        store::revisions_follow_each_other,
    ),
    ("terms_never_go_down", store::terms_never_go_down),
    ("one_leads_at_a_time", store::one_leads_at_a_time),
    (
        "connected_nodes_are_not_away",
        presence::connected_nodes_are_not_away,
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
