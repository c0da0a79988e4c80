//! Tags of responses: `Surrogate-Key` and `Cache-Tag`.

use http::HeaderMap;
use thiserror::Error;

/// Tags of one response.
pub const TAGS_MAX: usize = 64;
/// Bytes of one tag.
pub const TAG_BYTES_MAX: usize = 256;
/// Bytes of all tag headers of a response.
pub const TAG_HEADER_BYTES_MAX: usize = 16 * 1024;

/// Why a response with these tags must not be stored by a CDN (nor here): it could not be purged by all of them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TagProblem {
    /// Too many.
    #[error("a response has at most {TAGS_MAX} tags, this one has more")]
    TooMany,
    /// One that is too long.
    #[error("tag {start:?}... has {bytes} bytes, at most {TAG_BYTES_MAX} are kept")]
    TooLong {
        /// Its first characters.
        start: String,
        /// How long it is.
        bytes: usize,
    },
    /// Too much in all.
    #[error("the tag headers have {bytes} bytes, at most {TAG_HEADER_BYTES_MAX} are read")]
    HeaderTooLong {
        /// How long they are.
        bytes: usize,
    },
    /// Not visible ASCII.
    #[error("header {header} holds what is not visible ASCII")]
    NotAscii {
        /// Which header.
        header: &'static str,
    },
}

/// The tags of a response, each once: `Surrogate-Key` between spaces, `Cache-Tag` between commas.
///
/// # Errors
///
/// A bound that is passed.
pub fn parse_tags(headers: &HeaderMap) -> Result<Vec<&str>, TagProblem> {
    panic!("not written yet: {headers:?}")
}
