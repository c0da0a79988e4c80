//! Layers of profiles, and what they make of a node.

use std::collections::BTreeMap;

use super::knob::Knob;
use super::problem::{Code, Problem};
use super::profile::Profile;
use super::scope::Scope;
use super::value::Value;

/// One profile among others.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Whose it is.
    pub scope: &'a Scope,
    /// Its revision.
    pub revision: u64,
    /// Of a group: higher wins. 0 for every other scope.
    pub priority: u32,
    /// What it sets.
    pub profile: &'a Profile,
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The value.
    pub value: Value,
    /// The layer that gives it.
    pub scope: Scope,
    /// The layer's revision.
    pub revision: u64,
}

/// What layers make of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    given: BTreeMap<&'static str, Given>,
    /// Two groups of one priority that set one knob differently.
    pub problems: Vec<Problem>,
}

impl Merged {
    /// What the layers give for a knob; `None` leaves the default.
    pub fn get(&self, knob: &Knob) -> Option<&Given> {
        self.given.get(knob.path)
    }

    /// Everything given, in the order of paths.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Given)> {
        self.given.iter().map(|(path, given)| (*path, given))
    }

    /// The settings alone, of the layers for which `only` holds.
    pub fn profile(&self, only: impl Fn(&Scope) -> bool) -> Profile {
        let mut profile = Profile::new();
        for (path, given) in &self.given {
            if only(&given.scope) {
                let set = profile.set_path(path, given.value.clone());
                set.expect("it was within bounds in its layer");
            }
        }
        profile
    }
}

/// Lays profiles over one another, knob by knob, whatever order they are handed in.
pub fn merge(layers: &[Layer<'_>]) -> Merged {
    let mut ordered: Vec<&Layer<'_>> = layers.iter().collect();
    ordered.sort_by(|a, b| rank(a).cmp(&rank(b)));
    let mut merged = Merged::default();
    let mut from: BTreeMap<&'static str, &Layer<'_>> = BTreeMap::new();
    for layer in ordered {
        for (path, value) in layer.profile.iter() {
            let before = from.insert(path, layer);
            if let Some(other) = before
                && are_rivals(other, layer)
                && merged
                    .given
                    .get(path)
                    .is_some_and(|given| given.value != *value)
            {
                merged.problems.push(rivalry(path, value, other, layer));
            }
            let given = Given {
                value: value.clone(),
                scope: layer.scope.clone(),
                revision: layer.revision,
            };
            merged.given.insert(path, given);
        }
    }
    merged
}

/// Where a layer lies: the scope's kind, then the priority of groups, then the name.
fn rank<'a>(layer: &Layer<'a>) -> (u8, u32, &'a Scope) {
    let kind = match layer.scope {
        Scope::Fleet => 0,
        Scope::Group(_) => 1,
        Scope::Node(_) => 2,
        Scope::Override => 3,
        Scope::NodeOverride(_) => 4,
    };
    (kind, layer.priority, layer.scope)
}

fn are_rivals(a: &Layer<'_>, b: &Layer<'_>) -> bool {
    matches!((a.scope, b.scope), (Scope::Group(_), Scope::Group(_))) && a.priority == b.priority
}

fn rivalry(path: &str, value: &Value, a: &Layer<'_>, b: &Layer<'_>) -> Problem {
    let message = format!(
        "is set otherwise by {}, and both {} and {} have priority {}",
        a.scope, a.scope, b.scope, a.priority
    );
    Problem::new(path, Code::Conflict, message, value.to_string())
        .bounded("groups that share nodes need different priorities")
}
