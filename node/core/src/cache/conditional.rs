//! Conditions of clients, answered from a stored response (RFC 9110 section 13).

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    IF_MODIFIED_SINCE, IF_NONE_MATCH,
};
use http::{HeaderMap, Method};

use super::dates;
use super::etag::{Tag, tags};
use super::stored::Stored;
use super::time::UnixMs;

/// What a stored response answers to a request with conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Itself.
    Full,
    /// 304.
    NotModified,
}

/// What the stored response answers (RFC 9111 section 4.3.2): `If-None-Match` decides if there is one, else
/// `If-Modified-Since`. Conditions on what is not a success mean nothing (RFC 9110 section 13.2.1).
///
/// `If-Match` and `If-Unmodified-Since` are for the origin; [`Lookup::of`](super::Lookup::of) passes them by.
pub fn evaluate(method: &Method, request: &HeaderMap, stored: &Stored, now: UnixMs) -> Condition {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    if !is_read || !stored.status.is_success() {
        return Condition::Full;
    }
    let holds = match request.contains_key(IF_NONE_MATCH) {
        true => !is_known(request, stored),
        false => is_newer(request, stored, now),
    };
    match holds {
        true => Condition::Full,
        false => Condition::NotModified,
    }
}

/// Whether the client has what is stored, by `If-None-Match`.
fn is_known(request: &HeaderMap, stored: &Stored) -> bool {
    let ours = stored.etag().and_then(|etag| Tag::of(etag.as_bytes()));
    request.get_all(IF_NONE_MATCH).iter().any(|line| {
        let line = line.as_bytes().trim_ascii();
        line == b"*" || ours.is_some_and(|ours| tags(line).any(|tag| tag.is_like(&ours)))
    })
}

/// Whether what is stored is newer than what the client has, by `If-Modified-Since`. Without `Last-Modified` the
/// response was new when it was made (RFC 9111 section 4.3.2).
fn is_newer(request: &HeaderMap, stored: &Stored, now: UnixMs) -> bool {
    let mut lines = request.get_all(IF_MODIFIED_SINCE).iter();
    let since = match (lines.next(), lines.next()) {
        (Some(line), None) => dates::parse(line.as_bytes(), now),
        _ => None,
    };
    let changed = stored
        .last_modified
        .unwrap_or(UnixMs(stored.date.unix_s() * 1_000));
    since.is_none_or(|since| changed > since)
}

/// The fields of a 304 made from the stored response (RFC 9110 section 15.4.5): all but those that describe the body
/// that it does not have. A client updates its own copy with them.
pub fn not_modified_headers(stored: &Stored) -> HeaderMap {
    let mut headers = stored.headers.clone();
    for name in [
        ACCEPT_RANGES,
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
    ] {
        headers.remove(name);
    }
    headers
}
