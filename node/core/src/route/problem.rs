//! What can be wrong with a route.

use thiserror::Error;

/// A pattern that cannot be compiled or could never match.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadPattern {
    /// Not a host name, `*.suffix` or `*`.
    #[error("{0:?} is not a host, *.suffix or *")]
    Host(String),
    /// Matching happens on normalised paths: this one would never be seen.
    #[error("{0:?} is not a normalised absolute path")]
    Path(String),
    /// The expression is malformed or compiles to more than is allowed.
    #[error("bad regular expression {pattern:?}: {why}")]
    Regex {
        /// The expression.
        pattern: String,
        /// What the compiler says.
        why: String,
    },
}

/// Why a route was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("route {index} ({name}): {pattern}")]
pub struct RouteProblem {
    /// Position of the route in the list that was offered, from 0.
    pub index: usize,
    /// The route's name.
    pub name: String,
    /// The pattern that is wrong.
    pub pattern: BadPattern,
}

/// Memory that one compiled expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Compiles an expression over bytes: `.` and `\w` mean ASCII, as paths and header values do.
pub(super) fn compile(pattern: &str) -> Result<regex::bytes::Regex, BadPattern> {
    regex::bytes::RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| BadPattern::Regex {
            pattern: pattern.to_owned(),
            why: error.to_string(),
        })
}

/// Compiles an expression that must match the whole text.
pub(super) fn compile_full(pattern: &str) -> Result<regex::bytes::Regex, BadPattern> {
    // On its own first: `a)(b` would be well-formed within the group below.
    compile(pattern)?;
    compile(&format!(r"\A(?:{pattern})\z"))
}
