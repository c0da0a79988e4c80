//! Names of the environment that are set and have no effect.

use super::finding::{Area, Finding, Severity};

/// A variable, and why it has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The variable.
    pub name: String,
    /// Why it has none.
    pub why: String,
}

pub(super) fn judge(ignored: &Ignored) -> Finding {
    let Ignored { name, why } = ignored;
    let check = format!("${name}");
    Finding::ok(Area::Configuration, check, "set").bad(
        Severity::Warning,
        format!("it has no effect: {why}"),
        format!("`unset {name}`"),
    )
}
