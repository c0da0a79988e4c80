//! Asking the origin whether a stored response is still good (RFC 9111 section 4.3).

use http::HeaderMap;
use thiserror::Error;

use super::policy::Policy;
use super::stored::{Exchange, Stored};

/// The 304 is about another response than the stored one; it has to be fetched anew without conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the 304 is not about the stored response")]
pub struct NotSelected;

/// Replaces the conditions of a request by those that validate the stored response.
pub fn condition(stored: &Stored, request: &mut HeaderMap) {
    let _ = (stored, request);
}

/// Removes all conditions and `Range`, so that the answer is whole: for requests that fill the cache.
pub fn uncondition(request: &mut HeaderMap) {
    let _ = request;
}

/// The stored response as a 304 renews it (RFC 9111 section 3.2 and 4.3.4).
///
/// # Errors
/// [`NotSelected`] if the validators in the 304 are not those of the stored response.
pub fn freshen(
    stored: &Stored,
    not_modified: &Exchange<'_>,
    policy: &Policy,
) -> Result<Stored, NotSelected> {
    let _ = (stored, not_modified, policy);
    Err(NotSelected)
}

/// What a response to HEAD says about the stored response to GET (RFC 9111 section 4.3.5).
#[derive(Clone, Debug)]
pub enum HeadUpdate {
    /// It is still the same; this is it, renewed.
    Renewed(Box<Stored>),
    /// It is another now: the stored one is stale.
    Invalid,
}

/// What a response to HEAD says about the stored response to GET. `body_bytes` is the length of the stored body.
pub fn head_update(
    stored: &Stored,
    body_bytes: u64,
    head: &Exchange<'_>,
    policy: &Policy,
) -> HeadUpdate {
    let _ = (stored, body_bytes, head, policy);
    HeadUpdate::Invalid
}
