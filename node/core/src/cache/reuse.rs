//! Whether a stored response may answer a request (RFC 9111 section 4).

use std::time::Duration;

use http::StatusCode;

use super::lookup::{Lookup, RequestDirectives};
use super::stored::Stored;
use super::time::UnixMs;

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
    /// Of a stored response that may be served while it is validated: all the more if that fails.
    pub fn while_revalidated(stored: &Stored) -> Self {
        Self {
            conditional: stored.has_validator(),
            on_error_until: stored.sie_until.max(stored.swr_until),
            disconnected_until: stored.disconnected_until.max(stored.swr_until),
        }
    }

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
