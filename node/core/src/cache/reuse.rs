//! Whether a stored response may answer a request (RFC 9111 section 4).

use std::time::Duration;

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, PRAGMA, RANGE, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method, StatusCode};

use super::directives::{Member, SECONDS_MAX, members};
use super::policy::{Policy, RequestCookie};
use super::stored::Stored;
use super::time::UnixMs;

/// Why a request passes by the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// Neither GET nor HEAD.
    Method,
    /// A GET with content.
    Content,
    /// A `Cookie`, and the route passes them.
    Cookie,
    /// `If-Match` or `If-Unmodified-Since`, which only the origin can judge (RFC 9111 section 4.3.2).
    Precondition,
}

/// What a request wants of the cache; read once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// What `Cache-Control` and `Pragma` say, if anything.
    pub directives: Option<RequestDirectives>,
    /// Has a `Range`.
    pub has_range: bool,
    /// Has `If-None-Match` or `If-Modified-Since`.
    pub has_condition: bool,
}

/// The directives of a request (RFC 9111 section 5.2.1). Of repeated ones the most restrictive counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `max-age`, in seconds.
    pub max_age_s: Option<u32>,
    /// `min-fresh`, in seconds.
    pub min_fresh_s: Option<u32>,
    /// `max-stale`, in seconds; the longest there is if it has no value.
    pub max_stale_s: Option<u32>,
    /// `stale-if-error`, in seconds (RFC 5861 section 4).
    pub stale_if_error_s: Option<u32>,
    /// `no-cache`, or `Pragma: no-cache` without any `Cache-Control`.
    pub no_cache: bool,
    /// `no-store`: the response is not stored; a stored one may answer (RFC 9111 section 5.2.1.5).
    pub no_store: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// What a request with these fields says; `None` if nothing that is known.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut found = Self::default();
        if headers.contains_key(CACHE_CONTROL) {
            for member in members(&headers.get_all(CACHE_CONTROL)) {
                found.add(&member);
            }
        } else if headers.contains_key(PRAGMA) {
            found.no_cache = members(&headers.get_all(PRAGMA)).any(|member| member.is("no-cache"));
        }
        (found != Self::default()).then_some(found)
    }

    fn add(&mut self, member: &Member<'_>) {
        let seconds = member.seconds();
        let lesser = |slot: &mut Option<u32>| {
            *slot = Some(slot.map_or(seconds, |before| before.min(seconds)));
        };
        if member.is("max-age") {
            lesser(&mut self.max_age_s);
        } else if member.is("stale-if-error") {
            lesser(&mut self.stale_if_error_s);
        } else if member.is("min-fresh") {
            self.min_fresh_s = Some(self.min_fresh_s.unwrap_or(0).max(seconds));
        } else if member.is("max-stale") {
            let seconds = member.argument.as_ref().map_or(SECONDS_MAX, |_| seconds);
            self.max_stale_s = Some(self.max_stale_s.unwrap_or(SECONDS_MAX).min(seconds));
        } else if member.is("no-cache") {
            self.no_cache = true;
        } else if member.is("no-store") {
            self.no_store = true;
        } else if member.is("only-if-cached") {
            self.only_if_cached = true;
        }
    }
}

impl Lookup {
    /// What a request with these fields wants. Does not allocate unless `Cache-Control` escapes characters in quotes.
    ///
    /// # Errors
    /// [`Bypass`] if it is none of the cache's business.
    pub fn of(method: &Method, headers: &HeaderMap, policy: &Policy) -> Result<Self, Bypass> {
        if *method != Method::GET && *method != Method::HEAD {
            return Err(Bypass::Method);
        }
        let has_content = headers.contains_key(TRANSFER_ENCODING)
            || headers
                .get(CONTENT_LENGTH)
                .is_some_and(|length| length != "0");
        if has_content {
            return Err(Bypass::Content);
        }
        if policy.request_cookie == RequestCookie::Pass && headers.contains_key(COOKIE) {
            return Err(Bypass::Cookie);
        }
        if headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE) {
            return Err(Bypass::Precondition);
        }
        let directives = match policy.client_directives {
            true => RequestDirectives::of(headers),
            false => None,
        };
        Ok(Self {
            directives,
            has_range: headers.contains_key(RANGE),
            has_condition: headers.contains_key(IF_NONE_MATCH)
                || headers.contains_key(IF_MODIFIED_SINCE),
        })
    }

    fn only_if_cached(&self) -> bool {
        self.directives
            .is_some_and(|directives| directives.only_if_cached)
    }
}

/// What becomes of a request for which there is a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// The stored response answers.
    Fresh,
    /// The stored response answers though it is stale, as the client wishes (`max-stale`).
    Stale,
    /// The stored response answers, and is validated or fetched anew beside that.
    StaleWhileRevalidate,
    /// The origin is asked first.
    Revalidate(Fallback),
    /// Nothing of the stored response may be used.
    MustFetch,
    /// The client wants no request to the origin: 504 (`only-if-cached`).
    GatewayTimeout,
}

/// Until when a stored response may be served if the origin fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// Whether the request to the origin can carry validators of the stored response.
    pub conditional: bool,
    /// Instead of 500, 502, 503 or 504, before this.
    pub on_error_until: UnixMs,
    /// While no origin can be reached, before this.
    pub disconnected_until: UnixMs,
}

/// How an origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, no complete head, or a time-out.
    Disconnected,
    /// Its answer has this status.
    Status(StatusCode),
}

impl Fallback {
    /// Whether the stored response answers a request that failed this way.
    pub fn allows(&self, failure: Failure, now: UnixMs) -> bool {
        match failure {
            Failure::Disconnected => now < self.disconnected_until || now < self.on_error_until,
            Failure::Status(status) => {
                matches!(status.as_u16(), 500 | 502 | 503 | 504) && now < self.on_error_until
            }
        }
    }
}

/// Whether the stored response answers the request. It must be of the request's key and variant.
pub fn reuse(lookup: &Lookup, stored: &Stored, now: UnixMs) -> Reuse {
    let is_fresh = now < stored.fresh_until && !stored.flags.no_cache;
    let Some(wishes) = &lookup.directives else {
        return match is_fresh {
            true => Reuse::Fresh,
            false if may_be_stale(stored) && now < stored.swr_until => Reuse::StaleWhileRevalidate,
            false => ask(stored, 0, now),
        };
    };
    let as_wished = is_fresh && (stored.flags.immutable || are_met(wishes, stored, now));
    let while_revalidate = !is_fresh
        && may_be_stale(stored)
        && now < stored.swr_until
        && wishes
            .max_stale_s
            .is_none_or(|max_s| staleness_s(stored, now) <= u64::from(max_s))
        && accepts_stale(wishes, stored, now);
    if as_wished {
        Reuse::Fresh
    } else if while_revalidate {
        Reuse::StaleWhileRevalidate
    } else if !is_fresh && is_stale_wished(wishes, stored, now) {
        Reuse::Stale
    } else if wishes.only_if_cached {
        Reuse::GatewayTimeout
    } else {
        ask(stored, wishes.stale_if_error_s.unwrap_or(0), now)
    }
}

/// What becomes of a request for which there is no stored response.
pub fn on_miss(lookup: &Lookup) -> Reuse {
    match lookup.only_if_cached() {
        true => Reuse::GatewayTimeout,
        false => Reuse::MustFetch,
    }
}

/// Whether a fresh response is what the client wishes.
fn are_met(wishes: &RequestDirectives, stored: &Stored, now: UnixMs) -> bool {
    let remaining = stored.fresh_until.since(now);
    !wishes.no_cache
        && wishes
            .max_age_s
            .is_none_or(|max_s| stored.age_s(now) <= u64::from(max_s))
        && wishes
            .min_fresh_s
            .is_none_or(|min_s| remaining.as_secs() >= u64::from(min_s))
}

fn may_be_stale(stored: &Stored) -> bool {
    !stored.flags.never_stale && !stored.flags.no_cache
}

/// Seconds that a response has been stale, rounded up.
fn staleness_s(stored: &Stored, now: UnixMs) -> u64 {
    now.since(stored.fresh_until).as_millis().div_ceil(1_000) as u64
}

/// Whether the client lets a stale response answer at all: `max-age` without `max-stale` does not
/// (RFC 9111 section 5.2.1.1).
fn accepts_stale(wishes: &RequestDirectives, stored: &Stored, now: UnixMs) -> bool {
    let is_young_enough = wishes
        .max_age_s
        .is_none_or(|max_s| wishes.max_stale_s.is_some() && stored.age_s(now) <= u64::from(max_s));
    !wishes.no_cache && wishes.min_fresh_s.is_none() && is_young_enough
}

/// Whether the client asks for the stale response itself (RFC 9111 section 5.2.1.2).
fn is_stale_wished(wishes: &RequestDirectives, stored: &Stored, now: UnixMs) -> bool {
    may_be_stale(stored)
        && now < stored.keep_until
        && wishes
            .max_stale_s
            .is_some_and(|max_s| staleness_s(stored, now) <= u64::from(max_s))
        && accepts_stale(wishes, stored, now)
}

/// The origin is asked; what the stored response is good for meanwhile.
fn ask(stored: &Stored, stale_if_error_s: u32, now: UnixMs) -> Reuse {
    let conditional = stored.has_validator() && now < stored.keep_until;
    let fallback = match may_be_stale(stored) {
        true => {
            let wished = Duration::from_secs(u64::from(stale_if_error_s));
            let on_error_until = stored.sie_until.max(stored.fresh_until.after(wished));
            Fallback {
                conditional,
                on_error_until,
                disconnected_until: stored.disconnected_until.max(on_error_until),
            }
        }
        false => Fallback {
            conditional,
            on_error_until: UnixMs(0),
            disconnected_until: UnixMs(0),
        },
    };
    match conditional || now < fallback.disconnected_until {
        true => Reuse::Revalidate(fallback),
        false => Reuse::MustFetch,
    }
}
