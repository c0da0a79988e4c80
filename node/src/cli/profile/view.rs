//! Profiles as scripts read them.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_core::tuning::{Scope, find};
use weir_proto::control::v1 as pb;

use crate::cli::control::text::{apply_class, hex, rfc3339, some};

/// One revision of a scope's profile.
#[derive(Debug, Serialize)]
pub(super) struct RevisionView {
    scope: String,
    revision: u64,
    settings: BTreeMap<String, String>,
    author: String,
    message: String,
    written_at: Option<String>,
    rollback_of: Option<u64>,
    group: Option<GroupView>,
    until: Option<String>,
    hash: String,
}

#[derive(Debug, Serialize)]
struct GroupView {
    labels: BTreeMap<String, String>,
    priority: u32,
}

impl From<pb::ProfileRevision> for RevisionView {
    fn from(from: pb::ProfileRevision) -> Self {
        Self {
            hash: hex(&from.hash),
            written_at: rfc3339(from.written_at_unix_ms),
            until: rfc3339(from.until_unix_ms),
            rollback_of: (from.rollback_of != 0).then_some(from.rollback_of),
            group: from.group.map(|group| GroupView {
                labels: group.labels,
                priority: group.priority,
            }),
            settings: from
                .settings
                .into_iter()
                .map(|setting| (setting.path, setting.value))
                .collect(),
            scope: from.scope,
            revision: from.revision,
            author: from.author,
            message: from.message,
        }
    }
}

/// One knob, before and after.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChangeView {
    path: String,
    before: Option<String>,
    after: Option<String>,
    apply: &'static str,
    default: Option<String>,
}

impl From<&pb::ScopeChange> for ChangeView {
    fn from(change: &pb::ScopeChange) -> Self {
        Self {
            path: change.path.clone(),
            before: some(&change.before),
            after: some(&change.after),
            apply: apply_class(change.apply()),
            default: default_of(&change.path),
        }
    }
}

fn default_of(path: &str) -> Option<String> {
    find(path).map(|knob| knob.default_value().to_string())
}

pub(super) fn changes(changes: &[pb::ScopeChange]) -> Vec<ChangeView> {
    changes.iter().map(ChangeView::from).collect()
}

/// Nodes with the same difference.
#[derive(Debug, Serialize)]
pub(super) struct NodeDiffView {
    node_ids: Vec<String>,
    nodes: u64,
    changes: Vec<ChangeView>,
}

impl From<&pb::NodeDiff> for NodeDiffView {
    fn from(diff: &pb::NodeDiff) -> Self {
        Self {
            node_ids: diff.node_ids.clone(),
            nodes: diff.nodes,
            changes: changes(&diff.changes),
        }
    }
}

/// Lines such as `balancer.drain_timeout: 30s -> 10s (hot)`; where nothing is set, `below` says what holds then.
pub(super) fn change_lines(changes: &[pb::ScopeChange], indent: &str, below: Below) -> Vec<String> {
    let written = |path: &str, value: &str| match (value, below) {
        ("", Below::Defaults) => default_of(path).map_or_else(
            || "not set".to_owned(),
            |default| format!("default {default}"),
        ),
        ("", Below::Layers) => "not set".to_owned(),
        _ => value.to_owned(),
    };
    let line = |change: &pb::ScopeChange| {
        format!(
            "{indent}{}: {} -> {} ({})",
            change.path,
            written(&change.path, &change.before),
            written(&change.path, &change.after),
            apply_class(change.apply())
        )
    };
    changes.iter().map(line).collect()
}

/// What holds where a profile sets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// The defaults: below the fleet's profile there is nothing else, and a node has no layer below all of its own.
    Defaults,
    /// What other profiles say, if they do.
    Layers,
}

impl Below {
    pub(super) fn of(scope: &Scope) -> Self {
        match scope {
            Scope::Fleet => Self::Defaults,
            _ => Self::Layers,
        }
    }
}

/// What a change does, node by node.
pub(super) fn diff_lines(diffs: &[pb::NodeDiff]) -> Vec<String> {
    let mut lines = Vec::new();
    for diff in diffs {
        let named = diff.node_ids.join(", ");
        let unnamed = diff
            .nodes
            .saturating_sub(u64::try_from(diff.node_ids.len()).unwrap_or(u64::MAX));
        lines.push(match unnamed {
            0 => format!("{named}:"),
            _ => format!("{named} and {unnamed} more:"),
        });
        lines.extend(change_lines(&diff.changes, "  ", Below::Defaults));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_before_after_and_when_it_takes_effect() {
        let change = pb::ScopeChange {
            path: "ingress.workers".into(),
            before: String::new(),
            after: "4".into(),
            apply: weir_proto::tuning::v1::ApplyClass::Restart.into(),
        };
        let diff = pb::NodeDiff {
            node_ids: vec!["node-1".into(), "node-2".into()],
            nodes: 5,
            changes: vec![change],
        };
        assert_eq!(
            diff_lines(&[diff]),
            [
                "node-1, node-2 and 3 more:",
                "  ingress.workers: default 0 -> 4 (restart)"
            ]
        );
    }
}
