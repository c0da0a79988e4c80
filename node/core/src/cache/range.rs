//! Parts of a stored whole (RFC 9110 section 14).

use std::ops::Range;

use http::{HeaderMap, Method};

use super::stored::Stored;

/// Ranges of one request beyond which the whole is sent.
pub const RANGES_MAX: usize = 8;

/// Which part of a stored body answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it, with its own status.
    Whole,
    /// 206 with these bytes.
    Single(Range<u64>),
    /// 206 with `multipart/byteranges`, in the order they were asked; two or more.
    Multiple(Vec<Range<u64>>),
    /// 416 with `Content-Range: bytes */length`.
    Unsatisfiable,
}

/// Which part of a stored body of `body_bytes` answers a request.
pub fn select(method: &Method, request: &HeaderMap, stored: &Stored, body_bytes: u64) -> Part {
    let _ = (method, request, stored, body_bytes);
    Part::Whole
}

/// `Content-Range` of these bytes of a body of `body_bytes`.
pub fn content_range(range: &Range<u64>, body_bytes: u64) -> String {
    format!(
        "bytes {}-{}/{body_bytes}",
        range.start,
        range.end.saturating_sub(1)
    )
}

/// `Content-Range` of a 416.
pub fn content_range_unsatisfiable(body_bytes: u64) -> String {
    format!("bytes */{body_bytes}")
}
