//! Waits until nodes have what was written, and says who does not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};
use weir_core::tuning::Scope;
use weir_proto::control::v1 as pb;
use weir_proto::convert;

use crate::cli::control::text::counted;
use crate::cli::control::{ControlPlane, ProblemView, Standing, is_connected};
use crate::cli::output::Failure;

const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Which profile each node was to have before a write.
///
/// The instance that answers may not know of the write yet. A node that the write changes cannot be effective on
/// it while the profile that is wanted there is still this one.
pub(super) struct Before(BTreeMap<String, Vec<u8>>);

impl Before {
    pub(super) async fn look(plane: &mut ControlPlane, scope: &Scope) -> Result<Self, Failure> {
        let nodes = look(plane, scope).await?;
        Ok(Self(
            nodes
                .into_iter()
                .map(|node| (node.node_id, node.wanted_hash))
                .collect(),
        ))
    }
}

async fn look(plane: &mut ControlPlane, scope: &Scope) -> Result<Vec<pb::NodeInfo>, Failure> {
    let request = pb::RolloutRequest {
        scope: scope.to_string(),
    };
    let answer = plane
        .ask(async |session| session.profiles().rollout(request.clone()).await)
        .await?;
    Ok(answer.nodes)
}

/// Asks until every connected node is effective on the write or refused it, but no longer than `wait`.
pub(super) async fn wait_for_nodes(
    plane: &mut ControlPlane,
    scope: &Scope,
    before: &Before,
    written: &pb::PutProfileResponse,
    wait: Duration,
) -> Result<Rollout, Failure> {
    let deadline = Instant::now() + wait;
    loop {
        let nodes = look(plane, scope).await?;
        let rollout = Rollout::of(nodes, before, written);
        if rollout.is_settled() || Instant::now() >= deadline {
            return Ok(rollout);
        }
        sleep(LOOK_INTERVAL.min(deadline - Instant::now())).await;
    }
}

/// How nodes took a write.
pub(super) struct Rollout {
    nodes: Vec<(pb::NodeInfo, Standing)>,
    away: Vec<String>,
    /// The instance that answers does not know yet that the write concerns them.
    unlisted: bool,
    /// What the write changes: of what nodes say about other knobs, nothing is told.
    paths: BTreeSet<String>,
}

impl Rollout {
    fn of(nodes: Vec<pb::NodeInfo>, before: &Before, written: &pb::PutProfileResponse) -> Self {
        let changed: BTreeSet<&String> = written
            .nodes
            .iter()
            .flat_map(|diff| &diff.node_ids)
            .collect();
        let not_known_yet = |node: &pb::NodeInfo| {
            changed.contains(&node.node_id)
                && before.0.get(&node.node_id) == Some(&node.wanted_hash)
        };
        let is_listed = |id: &&String| nodes.iter().any(|node| node.node_id == **id);
        let unlisted = !changed.iter().all(is_listed);
        let (connected, away): (Vec<_>, Vec<_>) = nodes.into_iter().partition(is_connected);
        let nodes = connected
            .into_iter()
            .map(|node| {
                let standing = match not_known_yet(&node) {
                    true => Standing::Pending,
                    false => Standing::of(&node),
                };
                (node, standing)
            })
            .collect();
        Self {
            nodes,
            away: away.into_iter().map(|node| node.node_id).collect(),
            unlisted,
            paths: written.changes.iter().map(|c| c.path.clone()).collect(),
        }
    }

    fn named(&self, standing: Standing) -> Vec<&str> {
        let those = self.nodes.iter().filter(|(_, s)| *s == standing);
        those.map(|(node, _)| node.node_id.as_str()).collect()
    }

    fn is_settled(&self) -> bool {
        !self.unlisted
            && self.named(Standing::Pending).is_empty()
            && self.named(Standing::Stale).is_empty()
    }

    /// The failure of a write that a node refused.
    pub(super) fn outcome(&self) -> Result<(), Failure> {
        match self.named(Standing::Refused).as_slice() {
            [] => Ok(()),
            refused => Err(Failure::Other(format!(
                "written, but refused by {}",
                refused.join(", ")
            ))),
        }
    }

    pub(super) fn as_lines(&self) -> Vec<String> {
        let effective = self.named(Standing::InSync).len();
        let mut lines = vec![match self.nodes.len() {
            0 => "no node is connected".to_owned(),
            connected => format!("effective on {effective} of {}", counted(connected, "node")),
        }];
        for (node, standing) in &self.nodes {
            self.say_of(node, *standing, &mut lines);
        }
        if !self.away.is_empty() {
            let verb = if self.away.len() == 1 { "is" } else { "are" };
            let names = self.away.join(", ");
            lines.push(format!("{names} {verb} away and will get it on return"));
        }
        lines
    }

    fn say_of(&self, node: &pb::NodeInfo, standing: Standing, lines: &mut Vec<String>) {
        let id = &node.node_id;
        let state = node.profile.clone().unwrap_or_default();
        match standing {
            Standing::InSync => {}
            Standing::Pending => lines.push(format!("{id} has not answered yet")),
            Standing::Stale => lines.push(format!("{id} has not answered for more than 10s")),
            Standing::Refused => lines.extend(
                state
                    .errors
                    .iter()
                    .map(|error| format!("{id} refused: {}", convert::problem(error))),
            ),
        }
        if standing != Standing::InSync {
            return;
        }
        for error in state
            .unsupported
            .iter()
            .filter(|e| self.paths.contains(&e.path))
        {
            lines.push(format!(
                "{id}: {} is not supported by this node",
                error.path
            ));
        }
        let pending = state
            .pending_restart
            .iter()
            .filter(|path| self.paths.contains(*path));
        let pending: Vec<&str> = pending.map(String::as_str).collect();
        if !pending.is_empty() {
            lines.push(format!("{id}: pending restart: {}", pending.join(", ")));
        }
    }
}

/// The same for scripts.
#[derive(Debug, Serialize)]
pub(super) struct RolloutView {
    settled: bool,
    connected: usize,
    effective: usize,
    nodes: Vec<NodeView>,
    away: Vec<String>,
}

#[derive(Debug, Serialize)]
struct NodeView {
    node: String,
    state: &'static str,
    errors: Vec<ProblemView>,
    unsupported: Vec<ProblemView>,
    pending_restart: Vec<String>,
}

impl From<&Rollout> for RolloutView {
    fn from(rollout: &Rollout) -> Self {
        let node = |(node, standing): &(pb::NodeInfo, Standing)| {
            let state = node.profile.clone().unwrap_or_default();
            let refused = *standing == Standing::Refused;
            NodeView {
                node: node.node_id.clone(),
                state: standing.as_text(),
                errors: state
                    .errors
                    .iter()
                    .filter(|_| refused)
                    .map(ProblemView::from)
                    .collect(),
                unsupported: state.unsupported.iter().map(ProblemView::from).collect(),
                pending_restart: state.pending_restart,
            }
        };
        Self {
            settled: rollout.is_settled(),
            connected: rollout.nodes.len(),
            effective: rollout.named(Standing::InSync).len(),
            nodes: rollout.nodes.iter().map(node).collect(),
            away: rollout.away.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::tuning::v1::FieldError;

    fn node(id: &str, wanted: u8, effective: u8) -> pb::NodeInfo {
        pb::NodeInfo {
            node_id: id.to_owned(),
            presence: pb::Presence::Connected.into(),
            wanted_hash: vec![wanted],
            profile: Some(pb::ProfileState {
                offered_hash: vec![wanted],
                effective_hash: vec![effective],
                ..pb::ProfileState::default()
            }),
            ..pb::NodeInfo::default()
        }
    }

    fn written(nodes: &[&str]) -> pb::PutProfileResponse {
        pb::PutProfileResponse {
            changes: vec![pb::ScopeChange {
                path: "ingress.workers".into(),
                ..pb::ScopeChange::default()
            }],
            nodes: vec![pb::NodeDiff {
                node_ids: nodes.iter().map(|id| (*id).to_owned()).collect(),
                ..pb::NodeDiff::default()
            }],
            ..pb::PutProfileResponse::default()
        }
    }

    #[test]
    fn a_node_is_not_effective_before_the_write_is_known() {
        let before = Before([("a".to_owned(), vec![1]), ("b".to_owned(), vec![1])].into());
        let nodes = vec![node("a", 1, 1), node("b", 1, 1)];
        let rollout = Rollout::of(nodes, &before, &written(&["a"]));
        assert!(!rollout.is_settled());
        assert_eq!(rollout.named(Standing::Pending), ["a"]);
        let rollout = Rollout::of(vec![node("a", 2, 2)], &before, &written(&["a"]));
        assert!(rollout.is_settled());
        // The first write of a scope: who answers does not know the scope yet.
        let rollout = Rollout::of(Vec::new(), &before, &written(&["a"]));
        assert!(!rollout.is_settled());
    }

    #[test]
    fn each_node_is_told_of_in_one_line() {
        let mut refused = node("b", 2, 1);
        let state = refused.profile.as_mut().unwrap();
        state.set_last_attempt(pb::ApplyStatus::Rejected);
        state.errors = vec![FieldError {
            path: "ingress.workers".into(),
            message: "is more than this node has".into(),
            value: "99".into(),
            bound: "at most 8".into(),
            ..FieldError::default()
        }];
        let mut restart = node("c", 2, 2);
        let state = restart.profile.as_mut().unwrap();
        state.pending_restart = vec!["ingress.workers".into(), "other.knob".into()];
        let mut unsupported = node("d", 2, 2);
        unsupported.profile.as_mut().unwrap().unsupported = vec![FieldError {
            path: "ingress.workers".into(),
            ..FieldError::default()
        }];
        let mut away = node("e", 2, 1);
        away.set_presence(pb::Presence::Away);
        let nodes = vec![node("a", 2, 2), refused, restart, unsupported, away];
        let rollout = Rollout::of(nodes, &Before(BTreeMap::new()), &written(&[]));
        assert_eq!(
            rollout.as_lines(),
            [
                "effective on 3 of 4 nodes",
                "b refused: ingress.workers: `99` is more than this node has (allowed: at most 8)",
                "c: pending restart: ingress.workers",
                "d: ingress.workers is not supported by this node",
                "e is away and will get it on return",
            ]
        );
        assert!(rollout.is_settled() && rollout.outcome().is_err());
    }
}
