//! What operators may count on.

use super::{GRANULARITY, Promises};
use crate::history::{Eye, History};

/// Every call ends by its deadline, whatever the network does.
pub(super) fn calls_end_by_their_deadline(history: &History, _: &Promises) -> Vec<String> {
    let late = history
        .calls
        .iter()
        .filter(|call| call.ended > call.began + call.deadline + GRANULARITY);
    late.map(|call| {
        let took = call.ended.saturating_sub(call.began);
        format!(
            "{} on {} took {took:?} of {:?}",
            call.what, call.node, call.deadline
        )
    })
    .collect()
}

/// A change that a node acknowledged was in force on it before the answer came.
pub(super) fn acknowledged_changes_are_in_force(history: &History, _: &Promises) -> Vec<String> {
    let mut found = Vec::new();
    for call in &history.calls {
        let Some(change) = &call.acknowledged else {
            continue;
        };
        let in_force = history.sights.iter().any(|sight| {
            sight.eye == Eye::Inside
                && sight.node == call.node
                && (call.began..=call.ended).contains(&sight.at)
                && sight
                    .backend(&change.backend)
                    .is_some_and(|backend| change.to.holds(backend))
        });
        if !in_force {
            found.push(format!(
                "{} on {} at {:?}",
                call.what, call.node, call.ended
            ));
        }
    }
    found
}

/// After its link to an operator is repaired, a node can be called again in time.
pub(super) fn node_is_reachable_after_repair(
    history: &History,
    promises: &Promises,
) -> Vec<String> {
    let bound = promises.reachable_after;
    let mut found = Vec::new();
    for cut in history
        .cuts
        .iter()
        .filter(|cut| cut.peer.starts_with("operator"))
    {
        let Some(until) = cut.until else { continue };
        let mut calls = history.calls.iter();
        let again = calls.find(|call| call.ok && call.node == cut.node && call.began >= until);
        if again.is_none_or(|call| call.ended > until + bound) {
            found.push(format!(
                "{} repaired at {until:?}, bound {bound:?}",
                cut.node
            ));
        }
    }
    found
}
