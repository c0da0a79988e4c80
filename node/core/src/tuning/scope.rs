//! Which nodes a profile is for.

use std::fmt;
use std::str::FromStr;

/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 63;

/// What a name may be, in words.
pub const NAME_BOUND: &str = "1 to 63 letters, digits, `-`, `_` or `.`";
/// What a scope may be, in words.
pub const SCOPE_BOUND: &str = "fleet, group/NAME, node/ID, override, override/ID";

/// Whether a text names a group, a node or a service: letters, digits, `-`, `_` and `.`, 1 to 63 of them.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A scope; each later one wins over each earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every node.
    Fleet,
    /// Nodes that a selector picks.
    Group(String),
    /// One node.
    Node(String),
    /// Every node, for some time.
    Override,
    /// One node, for some time.
    NodeOverride(String),
}

impl Scope {
    /// Whether it ends by itself.
    pub const fn is_override(&self) -> bool {
        matches!(self, Self::Override | Self::NodeOverride(_))
    }

    /// The one node that it is for.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Node(id) | Self::NodeOverride(id) => Some(id),
            Self::Fleet | Self::Group(_) | Self::Override => None,
        }
    }
}

/// A text that names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope; allowed: {SCOPE_BOUND}, names of {NAME_BOUND}")]
pub struct InvalidScope(pub String);

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let scope = match text.split_once('/') {
            None if text == "fleet" => Some(Self::Fleet),
            None if text == "override" => Some(Self::Override),
            Some(("group", name)) if is_name(name) => Some(Self::Group(name.to_owned())),
            Some(("node", id)) if is_name(id) => Some(Self::Node(id.to_owned())),
            Some(("override", id)) if is_name(id) => Some(Self::NodeOverride(id.to_owned())),
            _ => None,
        };
        scope.ok_or_else(|| InvalidScope(text.chars().take(2 * NAME_CHARS_MAX).collect()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet => f.write_str("fleet"),
            Self::Group(name) => write!(f, "group/{name}"),
            Self::Node(id) => write!(f, "node/{id}"),
            Self::Override => f.write_str("override"),
            Self::NodeOverride(id) => write!(f, "override/{id}"),
        }
    }
}
