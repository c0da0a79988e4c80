//! Pictures of nodes move forward and agree.

use std::collections::BTreeMap;

use super::Promises;
use crate::history::{Eye, History, Sight};

/// Nobody is ever shown an older picture than the one before; inside a node each has a new number.
pub(super) fn revisions_never_go_back(history: &History, _: &Promises) -> Vec<String> {
    let mut last: BTreeMap<(&str, Eye), u64> = BTreeMap::new();
    let mut found = Vec::new();
    for sight in &history.sights {
        let before = last.insert((&sight.node, sight.eye), sight.revision);
        let back = before.is_some_and(|before| match sight.eye {
            Eye::Inside => before >= sight.revision,
            Eye::List | Eye::Watch => before > sight.revision,
        });
        if back {
            found.push(format!(
                "{} showed {:?} revision {} after {before:?} at {:?}",
                sight.node, sight.eye, sight.revision, sight.at
            ));
        }
    }
    found
}

/// At the end all nodes give the same backends the same standing and weight.
pub(super) fn nodes_converge(history: &History, _: &Promises) -> Vec<String> {
    let last = last_of(history, Eye::Inside);
    let mut shapes = last.iter().map(|(node, sight)| (node, shape(sight)));
    let Some((first, expected)) = shapes.next() else {
        return vec!["no node was ever seen".to_owned()];
    };
    shapes
        .filter(|(_, shape)| *shape != expected)
        .map(|(node, shape)| format!("{first} has {expected:?}, {node} has {shape:?}"))
        .collect()
}

/// The last list that an operator gets from a node is what the node has.
pub(super) fn operator_sees_what_is(history: &History, _: &Promises) -> Vec<String> {
    let lists = last_of(history, Eye::List);
    let truths = last_of(history, Eye::Inside);
    let differing = truths.iter().filter_map(|(node, truth)| {
        let Some(list) = lists.get(node) else {
            return Some(format!("nobody could list {node}"));
        };
        let same = list.revision == truth.revision && shape(list) == shape(truth);
        (!same).then(|| {
            format!(
                "{node} has revision {}, the list {}",
                truth.revision, list.revision
            )
        })
    });
    differing.collect()
}

fn last_of(history: &History, eye: Eye) -> BTreeMap<&str, &Sight> {
    let all = history.sights.iter().filter(|sight| sight.eye == eye);
    all.map(|sight| (sight.node.as_str(), sight)).collect()
}

/// Service, backend, weight and standing.
fn shape(sight: &Sight) -> Vec<(&str, &str, u32, &'static str)> {
    let services = sight.services.iter();
    let backends = services.flat_map(|service| {
        let name = service.name.as_str();
        service.backends.iter().map(move |backend| (name, backend))
    });
    backends
        .map(|(service, b)| (service, b.id.as_str(), b.weight, b.standing().as_str_name()))
        .collect()
}
