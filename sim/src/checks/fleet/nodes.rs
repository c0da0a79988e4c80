//! Nodes have what operators want, and get it in order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Promises;
use super::truth::{layered, offered_hash, revisions, settings, unix_ms, weights};
use crate::fleet::history::{History, Sight};
use crate::fleet::{LAYERS, Layer, NODES};

/// An override that ends may be in force for this much longer.
const END_LATE: Duration = Duration::from_millis(1_500);

/// At every deadline each node has, in force, what the layers give it, and the weights.
pub(super) fn nodes_have_what_the_layers_give(history: &History, _: &Promises) -> Vec<String> {
    let mut found = Vec::new();
    for (at, sight) in at_deadlines(history) {
        let node = &sight.node;
        let has = &sight.inside;
        let expected = [at, at.saturating_sub(END_LATE)].map(|at| layered(history, node, at));
        if !expected.contains(&has.profile) {
            let (has, expected) = (&has.profile, &expected[0]);
            found.push(format!("{node} at {at:?}: has {has:?}, not {expected:?}"));
        }
        let expected = weights(history, at);
        if has.weights != expected {
            let has = &has.weights;
            found.push(format!("{node} at {at:?}: has {has:?}, not {expected:?}"));
        }
    }
    found
}

/// At every deadline each node is connected and says that it has what it is offered.
pub(super) fn nodes_say_what_they_have(history: &History, _: &Promises) -> Vec<String> {
    let mut found = Vec::new();
    for (at, sight) in at_deadlines(history) {
        let node = &sight.node;
        if sight.inside.instance.is_none() {
            found.push(format!("{node} at {at:?}: is not connected"));
        }
        let expected = [at, at.saturating_sub(END_LATE)].map(|at| offered_hash(history, node, at));
        if !expected.contains(&sight.inside.effective_hash) {
            found.push(format!("{node} at {at:?}: says another profile"));
        }
    }
    found
}

/// No node goes back to an older revision of a scope, unless by a rollback or by the end of an override.
pub(super) fn nodes_never_go_back(history: &History, _: &Promises) -> Vec<String> {
    let mut found = Vec::new();
    for node in NODES {
        for layer in LAYERS {
            if let Some(scope) = layer.scope_for(node) {
                let states = states(history, &layer, &scope);
                found.extend(first_step_back(history, node, layer.marker, &states));
            }
        }
    }
    found
}

/// What the marker of a scope was set to, one after the other, and since when.
fn states(history: &History, layer: &Layer, scope: &str) -> Vec<(Duration, Option<String>)> {
    let mut states = vec![(Duration::ZERO, None)];
    for (written, profile) in revisions(history, scope) {
        states.push((written, settings(&profile).remove(layer.marker)));
        if layer.ends {
            // On a node that did not hear of the next one, too.
            let left_ms = profile.until_unix_ms.saturating_sub(unix_ms(written));
            states.push((written + Duration::from_millis(left_ms), None));
        }
    }
    states
}

/// Nodes learn of the end of an override by their own clock, which began with the push.
const END_EARLY: Duration = Duration::from_millis(100);

fn first_step_back(
    history: &History,
    node: &str,
    marker: &str,
    states: &[(Duration, Option<String>)],
) -> Option<String> {
    let mut reached = 0;
    for sight in history.sights.iter().filter(|sight| sight.node == node) {
        let has = sight.inside.profile.get(marker);
        let known = |(since, value): &(Duration, Option<String>)| {
            value.as_ref() == has && *since <= sight.at + END_EARLY
        };
        match states[reached..].iter().position(known) {
            Some(further) => reached += further,
            None => {
                let (at, was) = (sight.at, &states[reached].1);
                return Some(format!(
                    "{node} at {at:?}: {marker} is {has:?} after {was:?}"
                ));
            }
        }
    }
    None
}

/// How each node was at each deadline.
fn at_deadlines(history: &History) -> Vec<(Duration, &Sight)> {
    let mut looks = Vec::new();
    for at in &history.deadlines {
        let then = history.sights.iter().take_while(|sight| sight.at <= *at);
        let newest: BTreeMap<&str, &Sight> = then.map(|sight| (&*sight.node, sight)).collect();
        looks.extend(newest.into_values().map(|sight| (*at, sight)));
    }
    looks
}
