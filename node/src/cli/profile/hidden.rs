//! Finds nodes where a nearer layer hides what was written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use weir_core::tuning::Scope;
use weir_proto::control::v1 as pb;

use super::rollout::Rollout;
use crate::cli::control::ControlPlane;
use crate::cli::output::Failure;

/// Most nodes that are looked at one by one.
const LOOKS_MAX: usize = 32;
/// No look begins later than this after the first.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// A knob that was written, and the layer whose value holds in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Hidden {
    pub(super) path: String,
    pub(super) by: String,
}

/// Looks at nodes that the write did not change in each knob that it sets: most have the value from another layer.
pub(super) async fn look(
    plane: &mut ControlPlane,
    scope: &Scope,
    written: &pb::PutProfileResponse,
    mut rollout: Rollout,
) -> Result<Rollout, Failure> {
    let set = values_set(written);
    let last = Instant::now() + LOOK_LIMIT;
    let in_sync = rollout.in_sync().into_iter();
    let doubtful = in_sync.filter(|node| !has_changed_all(written, node, &set));
    for node in doubtful.take(LOOKS_MAX) {
        if set.is_empty() || Instant::now() >= last {
            break;
        }
        let request = pb::EffectiveRequest {
            node_id: node.clone(),
        };
        let answer = plane
            .ask(async |session| session.profiles().effective(request.clone()).await)
            .await?;
        rollout.hide(node, hidden(&answer.knobs, scope, &set));
    }
    Ok(rollout)
}

/// Of a write that changes nothing, all that the profile sets; else what it sets anew.
fn values_set(written: &pb::PutProfileResponse) -> BTreeMap<&str, &str> {
    if written.changed {
        let changes = written.changes.iter().filter(|c| !c.after.is_empty());
        return changes.map(|c| (&*c.path, &*c.after)).collect();
    }
    let settings = written.profile.iter().flat_map(|p| &p.settings);
    settings.map(|s| (&*s.path, &*s.value)).collect()
}

fn has_changed_all(
    written: &pb::PutProfileResponse,
    node: &str,
    set: &BTreeMap<&str, &str>,
) -> bool {
    let diffs = &written.nodes;
    let of_node = diffs
        .iter()
        .find(|d| d.node_ids.iter().any(|id| id == node));
    of_node.is_some_and(|diff| {
        set.iter().all(|(path, value)| {
            let mut changes = diff.changes.iter();
            changes.any(|c| c.path == *path && c.after == *value)
        })
    })
}

fn hidden(knobs: &[pb::LayeredKnob], scope: &Scope, set: &BTreeMap<&str, &str>) -> Vec<Hidden> {
    let scope = scope.to_string();
    let found = knobs.iter().filter_map(|layered| {
        let path = &layered.knob.as_ref()?.path;
        let value = set.get(path.as_str())?;
        let is_nearer = layered.scope != scope && layered.value != *value;
        is_nearer.then(|| Hidden {
            path: path.clone(),
            by: format!("{}@{}", layered.scope, layered.revision),
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::tuning::v1::Knob;

    fn layered(path: &str, value: &str, scope: &str) -> pb::LayeredKnob {
        pb::LayeredKnob {
            knob: Some(Knob {
                path: path.to_owned(),
                ..Knob::default()
            }),
            value: value.to_owned(),
            scope: scope.to_owned(),
            revision: 1,
            node: None,
        }
    }

    #[test]
    fn another_value_of_a_nearer_layer_hides_what_was_written() {
        let knobs = [
            layered("upstream.idle_max", "7", "node/edge-1"),
            layered("ingress.workers", "4", "node/edge-1"),
            layered("balancer.policy", "random", "fleet"),
            layered("balancer.health_rise", "9", "override"),
        ];
        let set = [
            ("upstream.idle_max", "8"),
            ("ingress.workers", "4"),
            ("balancer.policy", "random"),
        ];
        let by = Hidden {
            path: "upstream.idle_max".to_owned(),
            by: "node/edge-1@1".to_owned(),
        };
        assert_eq!(hidden(&knobs, &Scope::Fleet, &set.into()), [by]);
    }

    #[test]
    fn a_node_that_the_write_changed_needs_no_look() {
        let change = pb::ScopeChange {
            path: "ingress.workers".to_owned(),
            after: "4".to_owned(),
            ..pb::ScopeChange::default()
        };
        let written = pb::PutProfileResponse {
            changed: true,
            changes: vec![change.clone()],
            nodes: vec![pb::NodeDiff {
                node_ids: vec!["a".to_owned()],
                nodes: 1,
                changes: vec![change],
            }],
            ..pb::PutProfileResponse::default()
        };
        let set = values_set(&written);
        assert!(has_changed_all(&written, "a", &set));
        assert!(!has_changed_all(&written, "b", &set));
    }
}
