//! A set of knobs with values.

use std::collections::BTreeMap;

use super::knob::Knob;
use super::knobs;
use super::problem::{Code, Problem};
use super::value::Value;

/// Most settings of one profile; more than there are knobs, so that unknown ones of a newer version can be named.
pub const SETTINGS_MAX: usize = 1_024;

/// Knobs with values, each within its bounds. What is not named keeps the value of the layer below.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Profile {
    settings: BTreeMap<&'static str, Value>,
}

impl Profile {
    /// One that sets nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a knob.
    ///
    /// # Errors
    /// When the value is not one of the knob's.
    pub fn set(&mut self, knob: &Knob, value: Value) -> Result<(), Problem> {
        knob.check(&value)?;
        self.settings.insert(knob.path, value);
        Ok(())
    }

    /// Sets a knob that is named by its path.
    ///
    /// # Errors
    /// When there is no such knob, or the value is not one of its.
    pub fn set_path(&mut self, path: &str, value: Value) -> Result<(), Problem> {
        match knobs::find(path) {
            Some(knob) => self.set(knob, value),
            None => Err(unknown(path, &value.to_string())),
        }
    }

    /// Leaves a knob to the layer below; true if it was set.
    pub fn unset(&mut self, knob: &Knob) -> bool {
        self.settings.remove(knob.path).is_some()
    }

    /// What a knob is set to.
    pub fn get(&self, knob: &Knob) -> Option<&Value> {
        self.settings.get(knob.path)
    }

    /// Every setting, in the order of paths.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.settings.iter().map(|(path, value)| (*path, value))
    }

    /// Whether it sets nothing.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// How many knobs it sets.
    pub fn len(&self) -> usize {
        self.settings.len()
    }
}

/// The problem of a path that names no knob, with the nearest ones as its bound.
pub(super) fn unknown(path: &str, value: &str) -> Problem {
    let shown: String = path.chars().take(80).collect();
    Problem::new(
        shown,
        Code::Unknown,
        "is set for no knob of that name",
        value,
    )
    .bounded(knobs::similar(path))
}

/// One difference between two profiles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change {
    /// The knob's path.
    pub path: &'static str,
    /// What it was set to.
    pub before: Option<Value>,
    /// What it is set to.
    pub after: Option<Value>,
}

/// What makes `after` of `before`, in the order of paths.
pub fn diff(before: &Profile, after: &Profile) -> Vec<Change> {
    let mut paths: Vec<&'static str> = before
        .settings
        .keys()
        .chain(after.settings.keys())
        .copied()
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| before.settings.get(path) != after.settings.get(path))
        .map(|path| Change {
            path,
            before: before.settings.get(path).cloned(),
            after: after.settings.get(path).cloned(),
        })
        .collect()
}
