//! Asking the origin whether a stored response is still good (RFC 9111 section 4.3).

use std::time::Duration;

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use thiserror::Error;

use crate::proxy::{TooManyNominees, strip_hop_by_hop};

use super::directives::Deciding;
use super::etag::Tag;
use super::policy::{Policy, RequestCookie};
use super::storage::{self, NotStored};
use super::stored::{Exchange, Stored};
use super::time::UnixMs;
use super::{dates, headers};

/// The 304 is about another response than the stored one; it has to be fetched anew without conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the 304 is not about the stored response")]
pub struct NotSelected;

/// A stored response with the fields that a newer answer of the origin brought.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// What answers the request.
    pub stored: Stored,
    /// Whether it may answer others too.
    pub may_keep: Result<(), NotStored>,
}

impl Renewed {
    /// Whether the older stored response has to go though this one may not take its place. It may stay if only the
    /// request that validated it is to blame: its credentials or its wish.
    pub fn drops_older(&self) -> bool {
        use NotStored::{Authorization, RequestNoStore};
        matches!(self.may_keep, Err(reason) if !matches!(reason, Authorization | RequestNoStore))
    }
}

/// What a response to HEAD says about the stored response to GET (RFC 9111 section 4.3.5).
#[derive(Clone, Debug)]
pub enum HeadUpdate {
    /// It is still the same; this is it, renewed.
    Renewed(Box<Renewed>),
    /// It is another now: the stored one is stale.
    Invalid,
    /// Nothing: it is no 200, or has no validator to compare, and does not tell what GET would bring.
    Nothing,
}

static CONDITIONS: [HeaderName; 6] = [
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
];

/// Replaces the conditions of a request, and `Range`, by what validates the stored response.
pub fn condition(stored: &Stored, request: &mut HeaderMap) {
    uncondition(request);
    if let Some(etag) = stored.etag() {
        request.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(modified) = stored.headers.get(LAST_MODIFIED)
        && stored.last_modified.is_some()
    {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
}

/// Removes all conditions and `Range`, so that the answer is whole: for requests that fill the cache.
pub fn uncondition(request: &mut HeaderMap) {
    for name in &CONDITIONS {
        request.remove(name);
    }
}

/// The stored response as a 304 renews it (RFC 9111 sections 3.2 and 4.3.4). The request of the exchange is the one
/// that the 304 answers, with [`condition`]s of this stored response.
///
/// # Errors
/// [`NotSelected`] if the validators in the 304 are not those of the stored response.
pub fn freshen(
    stored: &Stored,
    not_modified: &Exchange<'_>,
    policy: &Policy,
) -> Result<Renewed, NotSelected> {
    match is_same(stored, not_modified) {
        true => renew(stored, not_modified, policy),
        false => Err(NotSelected),
    }
}

/// How long a stored response answers before a response to HEAD may end it, in milliseconds.
const HEAD_ENDS_AFTER_MS: u64 = 1_000;

/// Whether a response to HEAD may end at `now` what was fetched at `fetched_at`. Only what is fetched after a purge is
/// valid again, so clients who repeat HEAD cause at most one purge of a key a second.
pub fn may_end_by_head(stored: &Stored, fetched_at: UnixMs, now: UnixMs) -> bool {
    let ends_after = Duration::from_millis(HEAD_ENDS_AFTER_MS);
    now < stored.fresh_until && now.since(fetched_at) >= ends_after
}

/// What a response to HEAD says about the stored response to GET. `body_bytes` is the length of the stored body.
/// Only 200 says anything: origins that know no HEAD refuse it, whatever they have for GET. Without a validator on both
/// sides it renews nothing: a body of the same length may be another. Many origins say that a HEAD has no content, so
/// a length of 0 is no difference.
pub fn head_update(
    stored: &Stored,
    body_bytes: u64,
    head: &Exchange<'_>,
    policy: &Policy,
) -> HeadUpdate {
    if head.status != StatusCode::OK {
        return HeadUpdate::Nothing;
    }
    let length = headers::content_length(head.response).filter(|bytes| *bytes != 0);
    let is_other_length = length.is_some_and(|bytes| bytes != body_bytes);
    if is_other_length || head.status != stored.status {
        return HeadUpdate::Invalid;
    }
    match compare(stored, head) {
        Some(true) => renew(stored, head, policy).map_or(HeadUpdate::Invalid, |renewed| {
            HeadUpdate::Renewed(Box::new(renewed))
        }),
        Some(false) => HeadUpdate::Invalid,
        None => HeadUpdate::Nothing,
    }
}

/// Whether the validators of the newer answer are the stored ones: those of `ETag` by weak comparison (RFC 9110 section
/// 8.8.3.2), else those of `Last-Modified`. `None` if not both have one of a kind.
fn compare(stored: &Stored, newer: &Exchange<'_>) -> Option<bool> {
    let tag = newer.response.get(ETAG);
    let ours = stored.etag().and_then(|ours| Tag::of(ours.as_bytes()));
    if let Some((newer, ours)) = tag.and_then(|tag| Tag::of(tag.as_bytes())).zip(ours) {
        return Some(newer.is_like(&ours));
    }
    let modified = newer.response.get(LAST_MODIFIED)?;
    let date = dates::parse(modified.as_bytes(), newer.responded_at);
    date.zip(stored.last_modified)
        .map(|(newer, ours)| newer == ours)
}

/// Whether the 304 is about the same representation: its `ETag` decides, else its `Last-Modified`. One
/// without either can only be about what was asked.
fn is_same(stored: &Stored, newer: &Exchange<'_>) -> bool {
    let modified = newer.response.get(LAST_MODIFIED);
    let is_same_date = modified.map(|value| {
        let date = dates::parse(value.as_bytes(), newer.responded_at);
        date.is_some() && date == stored.last_modified
    });
    let Some(etag) = newer.response.get(ETAG) else {
        return is_same_date.unwrap_or(true);
    };
    match (Tag::of(etag.as_bytes()), stored.etag()) {
        (Some(newer), Some(ours)) => {
            Tag::of(ours.as_bytes()).is_some_and(|ours| ours.is_like(&newer))
        }
        _ => is_same_date.unwrap_or(false),
    }
}

fn renew(stored: &Stored, newer: &Exchange<'_>, policy: &Policy) -> Result<Renewed, NotSelected> {
    let merged = merge(&stored.headers, newer.response).map_err(|TooManyNominees| NotSelected)?;
    let exchange = Exchange {
        method: &Method::GET,
        status: stored.status,
        response: &merged,
        ..*newer
    };
    // The body is the one that was stored by this rule; a cookie of whoever validates it changes nothing about that.
    let policy = &Policy {
        request_cookie: RequestCookie::Ignore,
        ..policy.clone()
    };
    let may_keep = storage::store(&exchange, policy);
    if let Ok(stored) = may_keep {
        return Ok(Renewed {
            stored,
            may_keep: Ok(()),
        });
    }
    let deciding = Deciding::of(&merged, &policy.targets);
    let stored = storage::build(&exchange, &deciding, stored.variant.clone(), policy);
    Ok(Renewed {
        stored: stored.map_err(|_| NotSelected)?,
        may_keep: may_keep.map(|_| ()),
    })
}

/// The stored fields, each replaced by the newer ones of the same name (RFC 9111 section 3.2).
fn merge(stored: &HeaderMap, newer: &HeaderMap) -> Result<HeaderMap, TooManyNominees> {
    let mut newer = newer.clone();
    strip_hop_by_hop(&mut newer)?;
    let mut merged = stored.clone();
    // A 304 without a date was made when it came.
    merged.remove(DATE);
    for name in newer.keys().filter(|name| is_updated(name)) {
        merged.remove(name);
        for value in newer.get_all(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    Ok(merged)
}

/// Whether a newer field replaces the stored one. Those that tell how the stored body is framed and coded do not; a
/// cookie is for the client whose request it answers.
fn is_updated(name: &HeaderName) -> bool {
    let describes_body = [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, SET_COOKIE];
    !describes_body.contains(name)
}
