//! What may stand in a key.

use weir_core::tuning::{Code, Problem};

use crate::problem::refused;

/// Longest name.
pub const NAME_BYTES_MAX: usize = 255;

/// What a name may be, in words.
const NAME_BOUND: &str = "1 to 255 bytes without / and control characters";

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

impl InvalidName {
    pub(super) fn new(field: &'static str, name: &str, bound: &'static str) -> Self {
        Self {
            field,
            value: name.chars().take(NAME_BYTES_MAX).collect(),
            bound,
        }
    }
}

impl From<InvalidName> for Problem {
    fn from(name: InvalidName) -> Self {
        refused(name.field, Code::Type, "is no name", name.value, name.bound)
    }
}

/// Checks the name of a service, a node, a backend or the like.
pub fn check_name(field: &'static str, name: &str) -> Result<(), InvalidName> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    if fits && !name.chars().any(|c| c == '/' || c.is_control()) {
        return Ok(());
    }
    Err(InvalidName::new(field, name, NAME_BOUND))
}
