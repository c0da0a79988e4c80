//! What is worth compressing.

use http::{HeaderMap, StatusCode};
use thiserror::Error;

/// What is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressionRules {
    /// In bytes.
    pub bytes_min: u64,
    /// In bytes.
    pub bytes_max: u64,
    /// Media types, lower case: `text/html`, `text/*`, or `+json` for any that ends so.
    pub types: Vec<String>,
}

/// Why a response is sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotCompressible {
    /// 204, 206, 304 and other answers without a whole body.
    #[error("status {0} has no whole body")]
    Status(u16),
    /// `Content-Encoding` is set.
    #[error("it is encoded already")]
    Encoded,
    /// `Cache-Control: no-transform` (RFC 9111 section 5.2.2.6).
    #[error("it is marked no-transform")]
    NoTransform,
    /// No or an unlisted `Content-Type`.
    #[error("its media type is not listed")]
    Type,
    /// Smaller or larger than what is worth it.
    #[error("its {bytes} bytes are out of {min} to {max}")]
    Size {
        /// Of the body.
        bytes: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

/// A whole response.
#[derive(Clone, Copy, Debug)]
pub struct Representation<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Of its body.
    pub bytes: u64,
}

impl CompressionRules {
    /// Whether variants of a response may be made. If so, every variant of it, the identity too, says
    /// `Vary: Accept-Encoding`.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self, response: &Representation<'_>) -> Result<(), NotCompressible> {
        panic!("not written yet: {response:?}")
    }
}
