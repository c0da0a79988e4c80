//! Conditions of clients, answered from a stored response (RFC 9110 section 13).

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
};
use http::{HeaderMap, Method};

use super::stored::Stored;
use super::time::UnixMs;
use super::validators::Validators;

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
    let validators = Validators {
        // Without `Last-Modified` the response was new when it was made (RFC 9111 section 4.3.2).
        last_modified: stored
            .last_modified
            .or(Some(UnixMs(stored.date.unix_s() * 1_000))),
        ..stored.validators(now)
    };
    validators.condition(request)
}

/// The fields of a 304 made from the stored response (RFC 9110 section 15.4.5): all but those that describe the body
/// that it does not have. A client updates its own copy with them.
pub fn not_modified_headers(stored: &Stored) -> HeaderMap {
    let mut headers = stored.answer_headers();
    strip_representation(&mut headers);
    headers
}

/// Takes away the fields that describe a body.
pub fn strip_representation(headers: &mut HeaderMap) {
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
}
