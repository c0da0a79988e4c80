//! What layers make of a node, knob by knob.

use std::collections::BTreeMap;

use weir_core::tuning::{Knob, Scope, all, find};

use super::settings::foreign_text;
use super::view::ProfileView;

/// A knob's value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayeredKnob {
    /// Its path.
    pub path: String,
    /// Its declaration; `None` for one that only another version knows.
    pub knob: Option<&'static Knob>,
    /// As people write it.
    pub value: String,
    /// The layer that gives it and its revision; `None` for the default.
    pub given_by: Option<(Scope, u64)>,
}

/// Every knob for one node, section by section; then those that only another version knows.
pub fn effective(
    view: &ProfileView,
    node_id: &str,
    labels: &BTreeMap<String, String>,
) -> Vec<LayeredKnob> {
    let offer = view.offer_for(node_id, labels);
    let foreign = |path: &str| {
        let (value, head) = offer.foreign.get(path)?;
        let by = (head.revision.scope.clone(), head.revision.revision);
        Some((foreign_text(path, value), Some(by)))
    };
    let declared = all().map(|knob| {
        let given = offer.merged.get(knob);
        let known = || match given {
            Some(given) => (
                given.value.to_string(),
                Some((given.scope.clone(), given.revision)),
            ),
            None => (knob.default_value().to_string(), None),
        };
        let (value, given_by) = foreign(knob.path).unwrap_or_else(known);
        LayeredKnob {
            path: knob.path.to_owned(),
            knob: Some(knob),
            value,
            given_by,
        }
    });
    let unknown = offer.foreign.keys().filter(|path| find(path).is_none());
    let unknown = unknown.filter_map(|path| {
        let (value, given_by) = foreign(path)?;
        Some(LayeredKnob {
            path: path.clone(),
            knob: None,
            value,
            given_by,
        })
    });
    declared.chain(unknown).collect()
}
