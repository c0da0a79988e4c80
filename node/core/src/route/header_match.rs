//! Conditions on headers.

use http::{HeaderMap, HeaderName, HeaderValue};
use regex::bytes::Regex;

use super::problem::{BadPattern, compile_full};

/// What a header must be.
#[derive(Clone, Debug)]
pub enum HeaderTest {
    /// There, with whatever value.
    Present,
    /// Equal to this, byte by byte.
    Exact(HeaderValue),
    /// Matched by this expression as a whole; made by [`HeaderMatch::regex`].
    Regex(Regex),
}

/// A condition on one header. Of several lines with this name one must fulfil it.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// The header's name.
    pub name: HeaderName,
    /// What it must be.
    pub test: HeaderTest,
}

impl HeaderMatch {
    /// A header whose whole value the expression matches.
    ///
    /// # Errors
    /// [`BadPattern::Regex`] if it does not compile within 1 MiB.
    pub fn regex(name: HeaderName, pattern: &str) -> Result<Self, BadPattern> {
        let test = HeaderTest::Regex(compile_full(pattern)?);
        Ok(Self { name, test })
    }

    /// Whether the headers fulfil the condition.
    pub fn matches(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(&self.name)
            .iter()
            .any(|line| match &self.test {
                HeaderTest::Present => true,
                HeaderTest::Exact(value) => line == value,
                HeaderTest::Regex(regex) => regex.is_match(line.as_bytes()),
            })
    }
}
