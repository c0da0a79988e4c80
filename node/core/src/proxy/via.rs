//! `Via` and loops (RFC 9110 section 7.6.3).

use http::Version;
use http::header::{HeaderMap, HeaderName, HeaderValue, VIA};
use thiserror::Error;

/// The message has been through this node too often; answer `508`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the request loops")]
pub struct LoopDetected;

/// The pseudonym is not a token (RFC 9110 section 5.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the pseudonym is not a token")]
pub struct BadPseudonym;

/// Adds this node to `Via` and notices when it is there too often.
#[derive(Clone, Debug)]
pub struct Via {
    pseudonym: String,
    passes_max: usize,
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// Passes through nodes of one pseudonym before a loop is assumed. Nodes of a mesh may share
    /// theirs, and a request legitimately takes an ingress and a sidecar on each side.
    pub const PASSES_MAX: usize = 3;

    /// `pseudonym` stands for this node in `Via`, for example `weir`. At most `passes_max` mentions
    /// of it are let through.
    ///
    /// # Errors
    /// [`BadPseudonym`] if it is not a token.
    pub fn new(pseudonym: &str, passes_max: usize) -> Result<Self, BadPseudonym> {
        // A field name is a token as well.
        HeaderName::from_bytes(pseudonym.as_bytes()).map_err(|_| BadPseudonym)?;
        let line = |version: &str| {
            HeaderValue::try_from(format!("{version} {pseudonym}")).map_err(|_| BadPseudonym)
        };
        Ok(Self {
            pseudonym: pseudonym.to_owned(),
            passes_max,
            http10: line("1.0")?,
            http11: line("1.1")?,
            http2: line("2")?,
        })
    }

    /// Appends this node to a request or response received in `version`. A line of its own: the
    /// ones already there are not copied.
    pub fn append(&self, headers: &mut HeaderMap, version: Version) {
        let line = match version {
            Version::HTTP_09 | Version::HTTP_10 => &self.http10,
            Version::HTTP_11 => &self.http11,
            _ => &self.http2,
        };
        headers.append(VIA, line.clone());
    }

    /// Whether the message may go on.
    ///
    /// # Errors
    /// [`LoopDetected`] if this node's pseudonym is there more than `passes_max` times.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), LoopDetected> {
        let passes = headers
            .get_all(VIA)
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .filter(|element| self.is_own(element))
            .count();
        if passes > self.passes_max {
            Err(LoopDetected)
        } else {
            Ok(())
        }
    }

    /// `[protocol/]version received-by [comment]`
    fn is_own(&self, element: &[u8]) -> bool {
        element
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .nth(1)
            .is_some_and(|received_by| received_by.eq_ignore_ascii_case(self.pseudonym.as_bytes()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn via() -> Via {
        Via::new("weir", 2).unwrap()
    }

    #[test]
    fn the_version_received_is_named() {
        let mut headers = HeaderMap::new();
        headers.append(VIA, HeaderValue::from_static("1.0 fred"));
        via().append(&mut headers, Version::HTTP_11);
        via().append(&mut headers, Version::HTTP_2);
        let lines: Vec<_> = headers.get_all(VIA).iter().collect();
        assert_eq!(lines, ["1.0 fred", "1.1 weir", "2 weir"]);
    }

    #[test]
    fn a_loop_is_one_pass_more_than_allowed() {
        let mut headers = HeaderMap::new();
        headers.append(
            VIA,
            HeaderValue::from_static("1.1 weir, HTTP/2 Weir (x), 1.1 fred"),
        );
        assert_eq!(via().check(&headers), Ok(()));
        headers.append(VIA, HeaderValue::from_static("2 weir"));
        assert_eq!(via().check(&headers), Err(LoopDetected));
    }

    #[test]
    fn names_that_only_contain_the_pseudonym_do_not_count() {
        let mut headers = HeaderMap::new();
        for _ in 0..9 {
            headers.append(VIA, HeaderValue::from_static("1.1 weir2, 1.1 x (weir)"));
        }
        assert_eq!(via().check(&headers), Ok(()));
    }

    #[test]
    fn a_pseudonym_is_a_token() {
        assert!(Via::new("we ir", 1).is_err());
        assert!(Via::new("", 1).is_err());
        assert!(Via::new("we\nir", 1).is_err());
    }
}
