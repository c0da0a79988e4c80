//! One route's condition, compiled.

use std::cmp::Reverse;

use http::{HeaderMap, Method};
use regex::bytes::Regex;

use super::header_match::HeaderMatch;
use super::path::normalise_path;
use super::problem::{BadPattern, compile_full};

/// Paths a route answers for. Matching is on [normalised](normalise_path) paths and heeds letter
/// case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// This path only.
    Exact(String),
    /// Paths that start with this one, up to a segment border: `/api` matches `/api` and `/api/x`
    /// but not `/apix`. With a slash at its end it is matched as it stands: `/api/` does not match
    /// `/api`.
    Prefix(String),
    /// Paths that the expression matches as a whole.
    Regex(String),
}

impl PathMatch {
    /// Every path.
    pub fn any() -> Self {
        Self::Prefix("/".to_owned())
    }

    /// What it is called where requests are counted by it: a prefix ends in `/*`.
    pub fn pattern(&self) -> String {
        match self {
            Self::Exact(path) | Self::Regex(path) => path.clone(),
            Self::Prefix(prefix) => format!("{}/*", prefix.strip_suffix('/').unwrap_or(prefix)),
        }
    }
}

/// What a route is found by.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    /// Lower case, without port; empty if there is none.
    pub host: &'a str,
    /// Normalised, without query.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The header section.
    pub headers: &'a HeaderMap,
}

/// Whether the path is the prefix or goes on after it with a new segment.
pub(super) fn has_prefix(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

#[derive(Clone, Debug)]
enum PathTest {
    Exact(String),
    Prefix(String),
    Regex(Regex),
    Any,
}

impl PathTest {
    fn compile(path: &PathMatch) -> Result<Self, BadPattern> {
        Ok(match path {
            PathMatch::Exact(path) => Self::Exact(normalised(path)?),
            PathMatch::Prefix(path) if path == "/" => Self::Any,
            PathMatch::Prefix(path) => Self::Prefix(normalised(path)?),
            PathMatch::Regex(pattern) => Self::Regex(compile_full(pattern)?),
        })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => has_prefix(path, prefix),
            Self::Regex(regex) => regex.is_match(path.as_bytes()),
        }
    }
}

/// A [`PathMatch`] on its own, compiled.
#[derive(Clone, Debug)]
pub struct PathPattern {
    of: PathMatch,
    test: PathTest,
}

impl PathPattern {
    /// The pattern.
    ///
    /// # Errors
    /// [`BadPattern`] if it is a path that is not normal or no regular expression.
    pub fn compile(of: PathMatch) -> Result<Self, BadPattern> {
        let test = PathTest::compile(&of)?;
        Ok(Self { of, test })
    }

    /// Whether it is of a normalised path.
    pub fn matches(&self, path: &str) -> bool {
        self.test.matches(path)
    }
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.of == other.of
    }
}

impl Eq for PathPattern {}

/// Orders candidates: what sorts first wins.
type Rank<'a> = (u8, Reverse<usize>, &'a str, bool, Reverse<usize>, usize);

/// A route's condition but for its hosts.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    path: PathTest,
    methods: Vec<Method>,
    headers: Vec<HeaderMatch>,
    /// Position of the route in the table.
    pub(super) index: usize,
}

impl Condition {
    pub(super) fn compile(
        path: &PathMatch,
        methods: &[Method],
        headers: &[HeaderMatch],
        index: usize,
    ) -> Result<Self, BadPattern> {
        Ok(Self {
            path: PathTest::compile(path)?,
            methods: methods.to_vec(),
            headers: headers.to_vec(),
            index,
        })
    }

    /// The one path matched, if it is only one.
    pub(super) fn exact_path(&self) -> Option<&str> {
        match &self.path {
            PathTest::Exact(path) => Some(path),
            _ => None,
        }
    }

    /// Precedence within one host. Exact paths sort by themselves so that they can be searched.
    pub(super) fn rank(&self) -> Rank<'_> {
        let (kind, prefix_bytes, exact) = match &self.path {
            PathTest::Exact(path) => (0, 0, path.as_str()),
            PathTest::Prefix(prefix) => (1, prefix.len(), ""),
            PathTest::Regex(_) => (2, 0, ""),
            PathTest::Any => (3, 0, ""),
        };
        (
            kind,
            Reverse(prefix_bytes),
            exact,
            self.methods.is_empty(),
            Reverse(self.headers.len()),
            self.index,
        )
    }

    pub(super) fn matches(&self, request: &RouteRequest<'_>) -> bool {
        self.path.matches(request.path)
            && (self.methods.is_empty() || self.methods.contains(request.method))
            && self
                .headers
                .iter()
                .all(|header| header.matches(request.headers))
    }
}

fn normalised(path: &str) -> Result<String, BadPattern> {
    match normalise_path(path) {
        Ok(normal) if normal == path => Ok(path.to_owned()),
        _ => Err(BadPattern::Path(path.to_owned())),
    }
}
