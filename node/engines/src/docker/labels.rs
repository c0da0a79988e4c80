//! What a container says about itself in labels: whose it is, and of which attempt.

use std::collections::{BTreeMap, HashMap};

use crate::driver::EngineSpec;

/// On every engine of any Weir.
pub const ENGINE: &str = "weir.engine";
/// Which Weir it belongs to.
pub const OWNER: &str = "weir.owner";
/// Of which attempt it is.
pub const FENCE: &str = "weir.fence";

/// What a container of this spec carries.
pub(super) fn of(spec: &EngineSpec, owner: &str) -> HashMap<String, String> {
    let own = [
        (ENGINE, "1".to_owned()),
        (OWNER, owner.to_owned()),
        (FENCE, spec.fence.to_string()),
    ];
    let given = spec
        .labels
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    // Own ones come last, so that nobody can pass for somebody else.
    given
        .chain(own.map(|(name, value)| (name.to_owned(), value)))
        .collect()
}

/// Its fence, if it is this owner's.
pub(super) fn fence(labels: &HashMap<String, String>, owner: &str) -> Option<u64> {
    let is = |name, value| labels.get(name).is_some_and(|found| found == value);
    if !is(ENGINE, "1") || !is(OWNER, owner) {
        return None;
    }
    labels.get(FENCE)?.parse().ok()
}

/// Those that it was started with.
pub(super) fn given(labels: HashMap<String, String>) -> BTreeMap<String, String> {
    labels
        .into_iter()
        .filter(|(name, _)| ![ENGINE, OWNER, FENCE].contains(&name.as_str()))
        .collect()
}

/// What finds all of an owner's.
pub(super) fn filters(owner: &str) -> Vec<String> {
    vec![format!("{ENGINE}=1"), format!("{OWNER}={owner}")]
}
