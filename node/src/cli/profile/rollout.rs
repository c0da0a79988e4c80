//! Waits until nodes have what was written, and says who does not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};
use weir_core::tuning::Scope;
use weir_proto::control::v1 as pb;
use weir_proto::convert;

use super::hidden::{self, Hidden};
use crate::cli::control::text::counted;
use crate::cli::control::{ControlPlane, ProblemView, Standing, is_connected};
use crate::cli::output::Failure;

const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Which profile each node was to have before a write.
///
/// The instance that answers may not know of the write yet. A node that the write changes cannot be effective on
/// it while the profile that is wanted there is still this one.
pub(in crate::cli) struct Before(BTreeMap<String, Vec<u8>>);

impl Before {
    pub(in crate::cli) async fn look(
        plane: &mut ControlPlane,
        scope: &Scope,
    ) -> Result<Self, Failure> {
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
pub(in crate::cli) async fn wait_for_nodes(
    plane: &mut ControlPlane,
    scope: &Scope,
    before: &Before,
    written: &pb::PutProfileResponse,
    wait: Duration,
) -> Result<Rollout, Failure> {
    let deadline = Instant::now() + wait;
    loop {
        let nodes = look(plane, scope).await?;
        let rollout = Rollout::of(scope, nodes, before, written);
        if rollout.is_settled() || Instant::now() >= deadline {
            return hidden::look(plane, scope, written, rollout).await;
        }
        sleep(LOOK_INTERVAL.min(deadline - Instant::now())).await;
    }
}

/// How nodes took a write.
pub(in crate::cli) struct Rollout {
    nodes: Vec<(pb::NodeInfo, Standing)>,
    away: Vec<String>,
    /// The instance that answers does not know yet that the write concerns them.
    unlisted: bool,
    /// What the write changes: of what nodes say about other knobs, nothing is told.
    paths: BTreeSet<String>,
    /// What a nearer layer hides, node by node.
    hidden: BTreeMap<String, Vec<Hidden>>,
    /// What to say when no node that the scope concerns is connected.
    nobody: String,
}

impl Rollout {
    /// Ids of the nodes that have the profile that is wanted there.
    pub(in crate::cli) fn in_sync(&self) -> Vec<String> {
        let named = self.named(Standing::InSync).into_iter();
        named.map(str::to_owned).collect()
    }

    /// Knobs of the write that nodes take only when they start again, by node.
    pub(in crate::cli) fn pending_restart(&self) -> Vec<(&str, Vec<String>)> {
        let of = |node: &'_ pb::NodeInfo| {
            let pending = node.profile.iter().flat_map(|state| &state.pending_restart);
            let pending = pending.filter(|path| self.paths.contains(*path));
            pending.cloned().collect::<Vec<String>>()
        };
        let all = self.nodes.iter();
        let told = all.map(|(node, _)| (node.node_id.as_str(), of(node)));
        told.filter(|(_, knobs)| !knobs.is_empty()).collect()
    }

    pub(super) fn hide(&mut self, node: String, hidden: Vec<Hidden>) {
        if !hidden.is_empty() {
            self.hidden.insert(node, hidden);
        }
    }

    fn of(
        scope: &Scope,
        nodes: Vec<pb::NodeInfo>,
        before: &Before,
        written: &pb::PutProfileResponse,
    ) -> Self {
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
            hidden: BTreeMap::new(),
            nobody: nobody(scope, written),
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

    /// The failure of a write that a node refused, or for the strict one that has not all of it.
    pub(in crate::cli) fn outcome(&self, strict: bool) -> Result<(), Failure> {
        let is_whole = self.in_force() == self.nodes.len() && self.unsupported().is_empty();
        match self.named(Standing::Refused).as_slice() {
            [] if strict && !is_whole => Err(Failure::Other(
                "written, but not all of it is in force on every connected node (--strict)"
                    .to_owned(),
            )),
            [] => Ok(()),
            refused => Err(Failure::Other(format!(
                "written, but refused by {}",
                refused.join(", ")
            ))),
        }
    }

    /// How many nodes have what was written, but for knobs that they do not support; those that support none of it
    /// have nothing.
    fn in_force(&self) -> usize {
        let in_sync = self.nodes.iter().filter(|(_, s)| *s == Standing::InSync);
        let has_some = |node: &pb::NodeInfo| {
            let refused = self.refused_by(node).count();
            refused == 0 || refused < self.paths.len()
        };
        in_sync
            .filter(|(node, _)| !self.hidden.contains_key(&node.node_id) && has_some(node))
            .count()
    }

    /// The knobs of the write that a node does not support.
    fn refused_by<'a>(&'a self, node: &'a pb::NodeInfo) -> impl Iterator<Item = &'a str> {
        let told = node.profile.iter().flat_map(|state| &state.unsupported);
        let paths = told.map(|error| error.path.as_str());
        paths.filter(|path| self.paths.iter().any(|written| written == path))
    }

    /// The nodes that do not support a knob, by its path.
    fn unsupported(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut nodes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (node, standing) in &self.nodes {
            if *standing == Standing::InSync {
                for path in self.refused_by(node) {
                    nodes.entry(path).or_default().push(&node.node_id);
                }
            }
        }
        nodes
    }

    pub(in crate::cli) fn as_lines(&self) -> Vec<String> {
        let (mut lines, unsupported) = (Vec::new(), self.unsupported());
        let but = match unsupported.len() {
            0 => String::new(),
            knobs => format!("; {} refused as not supported:", counted(knobs, "knob")),
        };
        match (self.nodes.len(), self.away.is_empty()) {
            (0, true) => lines.push(self.nobody.clone()),
            (0, false) => {}
            (connected, _) => lines.push(format!(
                "in force on {} of {}{but}",
                self.in_force(),
                counted(connected, "node")
            )),
        }
        let knobs = unsupported.iter();
        lines.extend(knobs.map(|(path, nodes)| {
            let nodes = nodes.join(", ");
            format!("  {path}: refused as not supported by {nodes}; it is not in force there")
        }));
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
        let hidden = self.hidden.get(id).into_iter().flatten();
        lines.extend(hidden.map(|Hidden { path, by }| format!("{id}: {path} is hidden by {by}")));
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

/// Why a write concerns no node that is connected.
fn nobody(scope: &Scope, written: &pb::PutProfileResponse) -> String {
    let group = written.profile.as_ref().and_then(|p| p.group.as_ref());
    match (scope, group) {
        (Scope::Node(id) | Scope::NodeOverride(id), _) => format!("no node is called {id}"),
        (Scope::Group(_), Some(group)) => {
            let labels = group.labels.iter();
            let labels: Vec<String> = labels.map(|(l, value)| format!("{l}={value}")).collect();
            format!("no connected node has {}", labels.join(", "))
        }
        _ => "no node is connected".to_owned(),
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
    hidden: Vec<Hidden>,
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
                hidden: rollout
                    .hidden
                    .get(&node.node_id)
                    .cloned()
                    .unwrap_or_default(),
            }
        };
        Self {
            settled: rollout.is_settled(),
            connected: rollout.nodes.len(),
            effective: rollout.in_force(),
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
        let rollout = Rollout::of(&Scope::Fleet, nodes, &before, &written(&["a"]));
        assert!(!rollout.is_settled());
        assert_eq!(rollout.named(Standing::Pending), ["a"]);
        let rollout = Rollout::of(
            &Scope::Fleet,
            vec![node("a", 2, 2)],
            &before,
            &written(&["a"]),
        );
        assert!(rollout.is_settled());
        // The first write of a scope: who answers does not know the scope yet.
        let rollout = Rollout::of(&Scope::Fleet, Vec::new(), &before, &written(&["a"]));
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
        let rollout = Rollout::of(
            &Scope::Fleet,
            nodes,
            &Before(BTreeMap::new()),
            &written(&[]),
        );
        assert_eq!(
            rollout.as_lines(),
            [
                "in force on 2 of 4 nodes; 1 knob refused as not supported:",
                "  ingress.workers: refused as not supported by d; it is not in force there",
                "b refused: ingress.workers: `99` is more than this node has (allowed: at most 8)",
                "c: pending restart: ingress.workers",
                "e is away and will get it on return",
            ]
        );
        assert!(rollout.is_settled() && rollout.outcome(false).is_err());
    }

    #[test]
    fn what_is_hidden_is_not_in_force_and_strictness_wants_all() {
        let nodes = vec![node("a", 2, 2), node("b", 2, 2)];
        let before = Before(BTreeMap::new());
        let mut rollout = Rollout::of(&Scope::Fleet, nodes, &before, &written(&[]));
        assert!(rollout.outcome(true).is_ok());
        let hidden = Hidden {
            path: "ingress.workers".to_owned(),
            by: "node/b@1".to_owned(),
        };
        rollout.hidden.insert("b".to_owned(), vec![hidden]);
        assert_eq!(
            rollout.as_lines(),
            [
                "in force on 1 of 2 nodes",
                "b: ingress.workers is hidden by node/b@1",
            ]
        );
        assert!(rollout.outcome(false).is_ok() && rollout.outcome(true).is_err());
    }

    #[test]
    fn without_a_node_it_says_which_one_was_looked_for() {
        let mut group = written(&[]);
        group.profile = Some(pb::ProfileRevision {
            group: Some(pb::GroupSelector {
                labels: [("zone".to_owned(), "eu-1".to_owned())].into(),
                priority: 1,
            }),
            ..pb::ProfileRevision::default()
        });
        for (scope, said) in [
            ("fleet", "no node is connected"),
            ("group/eu", "no connected node has zone=eu-1"),
            ("node/nonode", "no node is called nonode"),
        ] {
            let scope: Scope = scope.parse().unwrap();
            let rollout = Rollout::of(&scope, Vec::new(), &Before(BTreeMap::new()), &group);
            assert_eq!(rollout.as_lines(), [said]);
        }
    }
}
