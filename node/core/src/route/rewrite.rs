//! What becomes of path and host on the way to the service.

use std::borrow::Cow;

use http::HeaderValue;
use http::uri::PathAndQuery;
use regex::bytes::Regex;
use thiserror::Error;

use crate::proxy::Authority;

use super::matching::has_prefix;
use super::problem::{BadPattern, compile};

/// A rewrite that is not sound, or what came of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadRewrite {
    /// The replacement is no path: it has no slash at its start, or a query, fragment, space or
    /// control character in it.
    #[error("{0:?} is no path: it starts with `/` and has no query, which is kept as it came")]
    Path(String),
    /// The expression is unsound.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// The new host is not `host[:port]`.
    #[error("{0:?} is no host")]
    Host(String),
    /// What the substitution yields for this request is no path; answer `400`.
    #[error("the rewritten path is malformed")]
    Result,
}

/// What becomes of the path. The query is kept.
#[derive(Clone, Debug)]
pub struct PathRewrite(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Full(String),
    Prefix { from: String, to: String },
    Regex { pattern: Regex, to: String },
}

impl PathRewrite {
    /// Replaces the whole path.
    ///
    /// # Errors
    /// [`BadRewrite::Path`] if the replacement is no path.
    pub fn full(path: &str) -> Result<Self, BadRewrite> {
        Ok(Self(Kind::Full(sound_path(path)?)))
    }

    /// Replaces the prefix `from`, up to a segment border, by `to`. Paths without the prefix stay.
    /// Slashes at the seam are neither doubled nor lost: `/api` to `/` makes `/api/x` into `/x`.
    ///
    /// # Errors
    /// [`BadRewrite::Path`] if either is no path.
    pub fn prefix(from: &str, to: &str) -> Result<Self, BadRewrite> {
        Ok(Self(Kind::Prefix {
            from: sound_path(from)?,
            to: sound_path(to)?,
        }))
    }

    /// Replaces every match of the expression in the path. `$1` and `${name}` in `to` stand for
    /// groups; write `${1}` when a letter, digit or `_` follows.
    ///
    /// # Errors
    /// [`BadRewrite::Pattern`] if the expression does not compile within 1 MiB,
    /// [`BadRewrite::Path`] if `to` has characters no path may have.
    pub fn regex(pattern: &str, to: &str) -> Result<Self, BadRewrite> {
        if !to.bytes().all(is_path_byte) {
            return Err(BadRewrite::Path(to.to_owned()));
        }
        Ok(Self(Kind::Regex {
            pattern: compile(pattern)?,
            to: to.to_owned(),
        }))
    }

    fn apply<'a>(&'a self, path: &'a str) -> Result<Cow<'a, str>, BadRewrite> {
        match &self.0 {
            Kind::Full(path) => Ok(Cow::Borrowed(path)),
            Kind::Prefix { from, to } if has_prefix(path, from) => {
                Ok(Cow::Owned(replace_prefix(path, from, to)))
            }
            Kind::Prefix { .. } => Ok(Cow::Borrowed(path)),
            Kind::Regex { pattern, to } => {
                match pattern.replace_all(path.as_bytes(), to.as_bytes()) {
                    Cow::Borrowed(_) => Ok(Cow::Borrowed(path)),
                    Cow::Owned(bytes) => String::from_utf8(bytes)
                        .map(|path| Cow::Owned(with_leading_slash(path)))
                        .map_err(|_| BadRewrite::Result),
                }
            }
        }
    }
}

/// What becomes of path and host. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    path: Option<PathRewrite>,
    host: Option<HeaderValue>,
}

impl Rewrite {
    /// Rewrites path and host, either of which may stay as it is. `host` is `host[:port]`.
    ///
    /// # Errors
    /// [`BadRewrite::Host`] if the host is malformed.
    pub fn new(path: Option<PathRewrite>, host: Option<&str>) -> Result<Self, BadRewrite> {
        let host = host.map(|host| {
            Authority::parse(host)
                .ok()
                .and_then(|_| HeaderValue::from_str(host).ok())
                .ok_or_else(|| BadRewrite::Host(host.to_owned()))
        });
        Ok(Self {
            path,
            host: host.transpose()?,
        })
    }

    /// Whether nothing is rewritten.
    pub fn is_empty(&self) -> bool {
        self.path.is_none() && self.host.is_none()
    }

    /// The new Host, if it changes.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// The new path with the query it came with, or `None` if the path stays. `path` is normalised
    /// and starts with a slash, and so does the result.
    ///
    /// # Errors
    /// [`BadRewrite::Result`] if a substitution yields what is no path.
    pub fn path_and_query(
        &self,
        path: &str,
        query: Option<&str>,
    ) -> Result<Option<PathAndQuery>, BadRewrite> {
        let Some(rewrite) = &self.path else {
            return Ok(None);
        };
        let new = rewrite.apply(path)?;
        if new == path {
            return Ok(None);
        }
        let mut text = String::with_capacity(new.len() + query.map_or(0, |query| query.len() + 1));
        text.push_str(&new);
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        PathAndQuery::try_from(text)
            .map(Some)
            .map_err(|_| BadRewrite::Result)
    }
}

fn replace_prefix(path: &str, from: &str, to: &str) -> String {
    let rest = &path[from.len()..];
    let is_exact = rest.is_empty() && !from.ends_with('/');
    if is_exact {
        return to.to_owned();
    }
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let to = to.strip_suffix('/').unwrap_or(to);
    format!("{to}/{rest}")
}

/// One slash, not two: `//host` at the start of a reference would name a host.
fn with_leading_slash(mut path: String) -> String {
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    let surplus = path.bytes().take_while(|byte| *byte == b'/').count() - 1;
    path.drain(..surplus);
    path
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\')
}

fn sound_path(path: &str) -> Result<String, BadRewrite> {
    if path.starts_with('/') && !path.starts_with("//") && path.bytes().all(is_path_byte) {
        Ok(path.to_owned())
    } else {
        Err(BadRewrite::Path(path.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn rewritten(rewrite: PathRewrite, path: &str, query: Option<&str>) -> String {
        let rewrite = Rewrite::new(Some(rewrite), None).unwrap();
        let new = rewrite.path_and_query(path, query).unwrap();
        new.map_or_else(|| "same".to_owned(), |new| new.to_string())
    }

    #[test]
    fn prefixes_are_replaced_without_doubling_or_losing_slashes() {
        for (from, to, path, expected) in [
            ("/api", "/", "/api/x", "/x"),
            ("/api", "/", "/api", "/"),
            ("/api", "/v1", "/api", "/v1"),
            ("/api", "/v1", "/api/", "/v1/"),
            ("/api", "/v1/", "/api/x", "/v1/x"),
            ("/api/", "/v1", "/api/x", "/v1/x"),
            ("/api/", "/v1", "/api/", "/v1/"),
            ("/", "/v1", "/x", "/v1/x"),
            ("/api", "/v1", "/apix", "same"),
        ] {
            let rewrite = PathRewrite::prefix(from, to).unwrap();
            assert_eq!(
                rewritten(rewrite, path, None),
                expected,
                "{from} {to} {path}"
            );
        }
    }

    #[test]
    fn the_query_is_kept() {
        let full = PathRewrite::full("/new").unwrap();
        assert_eq!(rewritten(full, "/old", Some("a=/b?c")), "/new?a=/b?c");
    }

    #[test]
    fn groups_are_substituted() {
        let rewrite = PathRewrite::regex(r"^/users/(\d+)", "/u/${1}x").unwrap();
        assert_eq!(rewritten(rewrite, "/users/42/y", None), "/u/42x/y");
    }

    #[test]
    fn a_path_never_loses_its_leading_slash() {
        let gone = PathRewrite::regex("^/api", "").unwrap();
        assert_eq!(rewritten(gone, "/api", Some("q")), "/?q");
        let relative = PathRewrite::regex("^/api/", "x/").unwrap();
        assert_eq!(rewritten(relative, "/api/y", None), "/x/y");
        let host = PathRewrite::regex("^/a", "//evil").unwrap();
        assert_eq!(rewritten(host, "/a/y", None), "/evil/y");
    }

    #[test]
    fn replacements_that_are_no_paths_are_refused() {
        for path in ["", "x", "//x", "/a?b", "/a#b", "/a b", "/a\r\n", "/é"] {
            assert!(PathRewrite::full(path).is_err(), "{path}");
        }
        assert!(PathRewrite::regex("(", "/").is_err());
        assert!(PathRewrite::regex("a", "?b").is_err());
        assert!(Rewrite::new(None, Some("u@h")).is_err());
        assert_eq!(
            Rewrite::new(None, Some("h:1")).unwrap().host(),
            Some(&HeaderValue::from_static("h:1"))
        );
    }
}
