//! The primary key of a response (RFC 9111 section 2).

use thiserror::Error;

use crate::proxy::Scheme;

/// Bytes of the longest key.
pub const KEY_BYTES_MAX: usize = 8 << 10;

/// What a request is for, as the client sees it and as it is sent to the origin.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Namespace of the cache, usually the route's.
    pub namespace: &'a str,
    /// How the client reached the node.
    pub scheme: Scheme,
    /// `host[:port]` as the client wrote it.
    pub authority: &'a str,
    /// Path and query exactly as they are sent to the origin.
    pub path_and_query: &'a str,
}

/// The primary key of a response; GET and HEAD have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

/// The key would be longer than [`KEY_BYTES_MAX`]; the request passes by the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the key has {bytes} bytes, more than {KEY_BYTES_MAX}")]
pub struct KeyTooLong {
    /// How long it would be.
    pub bytes: usize,
}

impl Key {
    /// The key of a target.
    ///
    /// # Errors
    /// [`KeyTooLong`].
    pub fn of(target: &Target<'_>) -> Result<Self, KeyTooLong> {
        let text = format!(
            "{} {:?}://{}{}",
            target.namespace, target.scheme, target.authority, target.path_and_query
        );
        match text.len() <= KEY_BYTES_MAX {
            true => Ok(Self(text.into())),
            false => Err(KeyTooLong { bytes: text.len() }),
        }
    }

    /// The key as text; whole keys are compared, hashes only find them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
