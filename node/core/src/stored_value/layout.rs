//! The layout.

use thiserror::Error;

use crate::purge::Hlc;

/// Bytes of a stored value, all in all.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Tags of a stored value.
pub const TAGS_MAX: usize = 64;

/// How the body is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// As the origin sent it.
    Raw,
    /// Compressed with Zstandard for storage; not a content coding.
    Zstd,
}

/// The times of a stored response, in milliseconds since 1970 where not said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When its fetch began, as purges compare it.
    pub fetched_at: Hlc,
    /// When the response came.
    pub response_unix_ms: u64,
    /// How old it was then (RFC 9111 section 4.2.3), in milliseconds.
    pub initial_age_ms: u64,
    /// How long the fetch took, in milliseconds.
    pub fetch_cost_ms: u32,
    /// Until when it is fresh.
    pub fresh_until_ms: u64,
    /// Until when it may be served while it is revalidated.
    pub revalidate_until_ms: u64,
    /// Until when it may be served if the origin fails.
    pub error_until_ms: u64,
    /// Until when its validator is kept.
    pub keep_until_ms: u64,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredValue<'a> {
    /// The full key, compared when it is read: two keys may have one hash.
    pub key: &'a [u8],
    /// Its status.
    pub status: u16,
    /// Its times.
    pub times: Times,
    /// [`crate::purge::tag_id`] of each tag.
    pub tags: Vec<u64>,
    /// Its headers, in whatever form the caller writes them.
    pub headers: &'a [u8],
    /// How the body is stored.
    pub body_form: BodyForm,
    /// Bytes of the body before it was compressed for storage.
    pub body_bytes: u64,
    /// The body as stored.
    pub body: &'a [u8],
}

/// A response that is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{field} is {found}, a stored value takes at most {bound}")]
pub struct TooLarge {
    /// What is too large.
    pub field: &'static str,
    /// How large it is.
    pub found: usize,
    /// How large it may be.
    pub bound: usize,
}

/// Bytes that are no stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Corrupt {
    /// Of another version, or not of Weir.
    #[error("version {found}, expected {expected}")]
    Version {
        /// What is there.
        found: u8,
        /// What this version reads.
        expected: u8,
    },
    /// Shorter or longer than it says.
    #[error("{found} bytes, expected {expected}")]
    Length {
        /// How many there are.
        found: usize,
        /// How many it says.
        expected: usize,
    },
    /// A byte differs.
    #[error("the checksum does not match")]
    Checksum,
    /// A field with a value that it cannot have.
    #[error("field {field} has value {found}")]
    Field {
        /// Which field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// The value of another key.
    #[error("it is the value of another key")]
    OtherKey,
}

/// The bytes of a response.
///
/// # Errors
///
/// What is too large.
pub fn encode(value: &StoredValue<'_>) -> Result<Vec<u8>, TooLarge> {
    panic!("not written yet: {value:?}")
}

/// The response of bytes, which may be anything.
///
/// # Errors
///
/// Why they are not the response of that key.
pub fn decode<'a>(bytes: &'a [u8], expected_key: &[u8]) -> Result<StoredValue<'a>, Corrupt> {
    panic!("not written yet: {bytes:?} {expected_key:?}")
}
