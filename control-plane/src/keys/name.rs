//! What may stand in a key.

/// Longest name.
pub const NAME_BYTES_MAX: usize = 255;

/// What a name may be, in words.
const NAME_BOUND: &str = "1 to 255 bytes without / and control characters";
const SCOPE_BOUND: &str = "fleet, group/NAME, node/ID, override or override/ID";

/// A name that may not stand in a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is `{}`; allowed: {bound}", .value.escape_debug())]
pub struct InvalidName {
    /// What it names.
    pub field: &'static str,
    /// The name; its beginning if it is long.
    pub value: String,
    /// What it may be.
    pub bound: &'static str,
}

/// Checks the name of a service, a node, a backend or the like.
pub fn check_name(field: &'static str, name: &str) -> Result<(), InvalidName> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    if fits && !name.chars().any(|c| c == '/' || c.is_control()) {
        return Ok(());
    }
    Err(invalid(field, name, NAME_BOUND))
}

/// Checks a scope.
pub fn check_scope(scope: &str) -> Result<(), InvalidName> {
    match scope.split_once('/') {
        None if matches!(scope, "fleet" | "override") => Ok(()),
        Some(("group", name)) => check_name("group", name),
        Some(("node" | "override", name)) => check_name("node", name),
        _ => Err(invalid("scope", scope, SCOPE_BOUND)),
    }
}

fn invalid(field: &'static str, value: &str, bound: &'static str) -> InvalidName {
    InvalidName {
        field,
        value: value.chars().take(NAME_BYTES_MAX).collect(),
        bound,
    }
}
