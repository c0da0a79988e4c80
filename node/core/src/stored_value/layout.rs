//! The layout, version 1. All numbers are little-endian.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version |
//! | 1 | 1 | form of the body: 0 raw, 1 Zstandard |
//! | 2 | 2 | status |
//! | 4 | 4 | CRC-32 of all other bytes |
//! | 8 | 12 | `fetched_at`: time, node |
//! | 20 | 4 | cost of the fetch |
//! | 24 | 48 | when the response came, its age, and until when it is fresh, revalidated, used on errors, kept |
//! | 72 | 8 | bytes of the body before storage |
//! | 80 | 16 | bytes of key, headers, body; number of tags |
//! | 96 | | key, tags (8 bytes each), headers, body |

use thiserror::Error;

use crate::purge::Hlc;

/// Bytes of a stored value, all in all.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 8 << 10;
/// Tags of a stored value.
pub const TAGS_MAX: usize = 64;
/// Bytes of a body before it was compressed for storage, so that a decompressor is never asked for more.
pub const BODY_BYTES_MAX: u64 = 64 << 20;

pub(super) const VERSION: u8 = 1;
pub(super) const FIXED_BYTES: usize = 96;
pub(super) const CHECKSUM_AT: usize = 4;
pub(super) const CHECKSUM_ENDS: usize = 8;

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
    /// Shorter than any value is.
    #[error("shorter than any stored value")]
    Short,
    /// Shorter or longer than it says, or longer than any value is.
    #[error("{found} bytes, which is not what it says or more than {VALUE_BYTES_MAX}")]
    Length {
        /// How many there are.
        found: usize,
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

/// Of all bytes but its own.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..CHECKSUM_AT]);
    hasher.update(&bytes[CHECKSUM_ENDS..]);
    hasher.finalize()
}
