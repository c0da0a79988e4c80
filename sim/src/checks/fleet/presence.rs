//! Instances know who is there.

use std::time::Duration;

use weir_proto::control::v1::Presence;

use super::Promises;
use crate::fleet::NODES;
use crate::fleet::history::{History, Listed};

/// A node that has been connected for as long as one may be suspected is not shown as away, unless something was
/// wrong in that time.
pub(super) fn connected_nodes_are_not_away(history: &History, promises: &Promises) -> Vec<String> {
    let mut found = Vec::new();
    for listed in &history.lists {
        let Some(from) = listed.at.checked_sub(promises.suspect_for) else {
            continue;
        };
        if is_troubled(history, from, listed.at) {
            continue;
        }
        for node in NODES {
            if is_connected(history, node, from, listed.at) && is_away(listed, node) {
                let Listed { at, instance, .. } = listed;
                found.push(format!("{node} at {at:?}, says {instance}"));
            }
        }
    }
    found
}

fn is_away(listed: &Listed, node: &str) -> bool {
    let presence = listed.nodes.get(node);
    !matches!(presence, Some(Presence::Connected | Presence::Suspect))
}

fn is_troubled(history: &History, from: Duration, until: Duration) -> bool {
    let mut faults = history.faults.iter();
    faults.any(|spell| spell.from <= until && spell.until.is_none_or(|ended| ended >= from))
}

fn is_connected(history: &History, node: &str, from: Duration, until: Duration) -> bool {
    let of_node = || history.sights.iter().filter(|sight| sight.node == node);
    let before = of_node().take_while(|sight| sight.at <= from).last();
    let mut since = of_node().filter(|sight| sight.at > from && sight.at <= until);
    before.is_some_and(|sight| sight.inside.instance.is_some())
        && since.all(|sight| sight.inside.instance.is_some())
}
