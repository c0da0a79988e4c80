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

/// A knob as the layers give it, and as the node says it.
pub(super) fn layered(knob: LayeredKnob, node: Option<pb::EffectiveKnob>) -> pb::LayeredKnob {
    let unknown = || tuning::Knob {
        path: knob.path.clone(),
        meaning: "This version of the control plane does not know it.".to_owned(),
        ..tuning::Knob::default()
    };
    let (scope, revision) = match knob.given_by {
        Some((scope, revision)) => (scope.to_string(), revision),
        None => ("defaults".to_owned(), 0),
    };
    pb::LayeredKnob {
        knob: Some(knob.knob.map_or_else(unknown, convert::knob)),
        value: knob.value,
        scope,
        revision,
        node,
    }
}

pub(super) fn weights(weights: ServiceWeights) -> pb::WeightsRevision {
    pb::WeightsRevision {
        service: weights.service,
        weights: weights.weights,
        revision: weights.revision,
        author: weights.author,
        message: weights.message,
        written_at_unix_ms: weights.written_at_unix_ms,
    }
}
