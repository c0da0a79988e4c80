//! Changes of a profile, as people write them.

use std::collections::BTreeSet;

use super::knobs;
use super::problem::{Code, Problem};
use super::profile::{Profile, SETTINGS_MAX, unknown};

/// One step of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Sets the knob at a path to a value as people write it.
    Set(String, String),
    /// Leaves the knob at a path to the layer below.
    Unset(String),
}

/// The profile with every edit made.
///
/// # Errors
/// Every problem of every edit; nothing is changed then.
pub fn apply_edits(profile: &Profile, edits: &[Edit]) -> Result<Profile, Vec<Problem>> {
    let mut edited = profile.clone();
    let mut problems = Vec::new();
    if edits.len() > SETTINGS_MAX {
        let found = edits.len().to_string();
        let problem = Problem::new("settings", Code::Range, "are too many", found);
        return Err(vec![problem.bounded(format!("at most {SETTINGS_MAX}"))]);
    }
    let mut seen = BTreeSet::new();
    for edit in edits {
        let (path, text) = match edit {
            Edit::Set(path, text) => (path, Some(text)),
            Edit::Unset(path) => (path, None),
        };
        let Some(knob) = knobs::find(path) else {
            problems.push(unknown(path, text.map_or("", String::as_str)));
            continue;
        };
        if !seen.insert(knob.path) {
            let text = text.map_or("", String::as_str);
            problems.push(Problem::new(
                knob.path,
                Code::Conflict,
                "is a second value of one knob",
                text,
            ));
            continue;
        }
        match text.map(|text| knob.parse(text)) {
            None => {
                edited.unset(knob);
            }
            Some(Ok(value)) => edited
                .set(knob, value)
                .expect("a parsed value is within bounds"),
            Some(Err(problem)) => problems.push(problem),
        }
    }
    match problems.is_empty() {
        true => Ok(edited),
        false => Err(problems),
    }
}
