//! Answers as they are on the wire.

use weir_core::tuning::{Preset, find};
use weir_proto::control::v1 as pb;
use weir_proto::convert;
use weir_proto::tuning::v1 as tuning;

use crate::profiles::{
    Difference, LayeredKnob, NodeDifference, PutOutcome, Revision, wire_selector,
};
use crate::weights::ServiceWeights;

pub(super) fn revision(revision: &Revision) -> pb::ProfileRevision {
    let texts = revision.settings.texts().into_iter();
    pb::ProfileRevision {
        scope: revision.scope.to_string(),
        revision: revision.revision,
        settings: texts
            .map(|(path, value)| pb::TextSetting { path, value })
            .collect(),
        author: revision.author.clone(),
        message: revision.message.clone(),
        written_at_unix_ms: revision.written_at_unix_ms,
        rollback_of: revision.rollback_of,
        group: revision.group.as_ref().map(wire_selector),
        until_unix_ms: revision.until_unix_ms,
        hash: revision.hash().to_vec(),
    }
}

pub(super) fn outcome(outcome: PutOutcome) -> pb::PutProfileResponse {
    pb::PutProfileResponse {
        profile: Some(revision(&outcome.revision)),
        changed: outcome.changed,
        changes: outcome.changes.into_iter().map(change).collect(),
        nodes: outcome.nodes.into_iter().map(node_diff).collect(),
    }
}

fn change(difference: Difference) -> pb::ScopeChange {
    let knob = find(&difference.path).map(convert::knob);
    pb::ScopeChange {
        path: difference.path,
        before: difference.before,
        after: difference.after,
        apply: knob.map_or(0, |knob| knob.apply),
    }
}

fn node_diff(difference: NodeDifference) -> pb::NodeDiff {
    pb::NodeDiff {
        node_ids: difference.node_ids,
        nodes: difference.nodes,
        changes: difference.changes.into_iter().map(change).collect(),
    }
}

pub(super) fn preset(preset: &Preset) -> pb::Preset {
    let setting = |(path, value): &(&str, &str)| pb::TextSetting {
        path: (*path).to_owned(),
        value: (*value).to_owned(),
    };
    pb::Preset {
        name: preset.name.to_owned(),
        meaning: preset.meaning.to_owned(),
        settings: preset.settings.iter().map(setting).collect(),
    }
}

/// What a value is called that a node has from a profile which is not the wanted one.
const OLDER_PROFILE: &str = "profile (older)";

/// A knob as the layers give it, and as the node says it. `in_force` is whether the node has what is wanted.
pub(super) fn layered(
    knob: LayeredKnob,
    node: Option<pb::EffectiveKnob>,
    in_force: bool,
) -> pb::LayeredKnob {
    let unknown = || tuning::Knob {
        path: knob.path.clone(),
        meaning: "This version of the control plane does not know it.".to_owned(),
        ..tuning::Knob::default()
    };
    let (scope, revision) = match knob.given_by {
        Some((scope, revision)) => (scope.to_string(), revision),
        None => ("defaults".to_owned(), 0),
    };
    let node = node.map(|node| sourced(node, &knob.value, in_force));
    pb::LayeredKnob {
        knob: Some(knob.knob.map_or_else(unknown, convert::knob)),
        value: knob.value,
        scope,
        revision,
        node,
    }
}

/// The layers name the source of a value only when the node has their profile, and their value.
fn sourced(mut node: pb::EffectiveKnob, layers_give: &str, in_force: bool) -> pb::EffectiveKnob {
    if node.source == "profile" && !(in_force && node.value == layers_give) {
        OLDER_PROFILE.clone_into(&mut node.source);
    }
    node
}

pub(super) fn weights(weights: ServiceWeights) -> pb::WeightsRevision {
    pb::WeightsRevision {
        service: weights.service,
        weights: weights.weights,
        revision: weights.revision,
        author: weights.author,
        message: weights.message,
        written_at_unix_ms: weights.written_at_unix_ms,
        warnings: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_the_source_only_of_what_the_node_has_of_it() {
        let source = |source: &str, value: &str, in_force| {
            let node = pb::EffectiveKnob {
                value: value.to_owned(),
                source: source.to_owned(),
                ..pb::EffectiveKnob::default()
            };
            sourced(node, "55", in_force).source
        };
        assert_eq!(source("profile", "55", true), "profile");
        assert_eq!(source("profile", "44", true), OLDER_PROFILE);
        assert_eq!(source("profile", "55", false), OLDER_PROFILE);
        assert_eq!(source("file", "44", false), "file");
        assert_eq!(source("default", "44", true), "default");
    }
}
