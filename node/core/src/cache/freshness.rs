//! How long a response is fresh (RFC 9111 section 4.2) and what it is good for afterwards.

use std::time::Duration;

use http::header::{EXPIRES, LAST_MODIFIED, PRAGMA};
use http::{HeaderMap, StatusCode};

use super::directives::{self, Deciding};
use super::policy::{HEURISTIC_MAX, Policy};
use super::stored::Exchange;
use super::time::UnixMs;
use super::{age, dates};

/// What decided the lifetime of a response, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The route's rule.
    Rule,
    /// `max-age` or `s-maxage` of a targeted field (RFC 9213).
    Targeted,
    /// `s-maxage`.
    SMaxAge,
    /// `max-age`.
    MaxAge,
    /// `Expires`.
    Expires,
    /// The route's rule for 404 and 410, or for errors.
    Negative,
    /// A tenth of the time since `Last-Modified`.
    Heuristic,
    /// Nothing: it is stale from the start.
    None,
}

impl Source {
    /// Whether the origin itself gave the lifetime.
    pub fn is_explicit(self) -> bool {
        matches!(
            self,
            Self::Targeted | Self::SMaxAge | Self::MaxAge | Self::Expires
        )
    }
}

/// Until when a response is good for what.
pub(super) struct Lives {
    pub source: Source,
    pub born_at: UnixMs,
    pub fresh_until: UnixMs,
    pub swr_until: UnixMs,
    pub sie_until: UnixMs,
    pub disconnected_until: UnixMs,
    pub never_stale: bool,
}

pub(super) fn lives(
    exchange: &Exchange<'_>,
    deciding: &Deciding,
    date: UnixMs,
    policy: &Policy,
) -> Lives {
    let (headers, came) = (exchange.response, exchange.responded_at);
    let initial_age = age::initial(headers, date, exchange.requested_at, came);
    let born_at = UnixMs(came.0.saturating_sub(super::time::ms(initial_age)));
    let (source, lifetime) = lifetime(exchange, deciding, date, policy);
    // The route's own rules count from when the response came: they say how long this cache may take to notice.
    let counted_from = match source {
        Source::Rule | Source::Negative => came,
        _ => born_at,
    };
    let fresh_until = match deciding.directives.no_cache {
        true => came.min(counted_from),
        false => counted_from.after(lifetime.min(longest(exchange.status, policy))),
    };
    let stale = stale_windows(exchange.status, deciding, policy);
    Lives {
        source,
        born_at,
        fresh_until,
        swr_until: fresh_until.after(stale.while_revalidate),
        sie_until: fresh_until.after(stale.if_error),
        disconnected_until: fresh_until.after(stale.if_disconnected),
        never_stale: stale.never,
    }
}

/// What decides the lifetime, and the lifetime.
fn lifetime(
    exchange: &Exchange<'_>,
    deciding: &Deciding,
    date: UnixMs,
    policy: &Policy,
) -> (Source, Duration) {
    let status = exchange.status.as_u16();
    if let Some(ttl) = policy.ttl
        && matches!(status, 200 | 203 | 204 | 300 | 301 | 308)
    {
        return (Source::Rule, ttl);
    }
    if let Some(explicit) = explicit(exchange, deciding, date) {
        return explicit;
    }
    let implicit = match status {
        404 | 410 => Some(policy.negative_ttl.min(policy.ttl.unwrap_or(Duration::MAX))),
        500 | 502 | 503 | 504 => Some(policy.error_ttl),
        _ => None,
    };
    if let Some(ttl) = implicit
        && !ttl.is_zero()
    {
        return (Source::Negative, ttl);
    }
    match heuristic(exchange, deciding, date, policy) {
        Some(lifetime) => (Source::Heuristic, lifetime),
        None => (Source::None, Duration::ZERO),
    }
}

/// The lifetime that the origin gave (RFC 9111 section 4.2.1).
fn explicit(
    exchange: &Exchange<'_>,
    deciding: &Deciding,
    date: UnixMs,
) -> Option<(Source, Duration)> {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let directives = &deciding.directives;
    if deciding.target.is_some() {
        let given = directives.s_maxage_s.or(directives.max_age_s)?;
        return Some((Source::Targeted, seconds(given)));
    }
    if let Some(given) = directives.s_maxage_s {
        return Some((Source::SMaxAge, seconds(given)));
    }
    if let Some(given) = directives.max_age_s {
        return Some((Source::MaxAge, seconds(given)));
    }
    let expires = expires(exchange.response, exchange.responded_at)?;
    Some((Source::Expires, expires.since(date)))
}

/// `Expires`; what is no date, or is repeated with another, is in the past (RFC 9111 section 5.3).
fn expires(headers: &HeaderMap, now: UnixMs) -> Option<UnixMs> {
    let mut lines = headers.get_all(EXPIRES).iter();
    let first = lines.next()?;
    let is_one = lines.all(|line| line == first);
    Some(
        dates::parse(first.as_bytes(), now)
            .filter(|_| is_one)
            .unwrap_or_default(),
    )
}

/// A tenth of the time since `Last-Modified` (RFC 9111 section 4.2.2). Errors other than 404, 405 and 410 get none,
/// though the RFC lets 414 and 501: whoever provokes them would keep others from the response.
fn heuristic(
    exchange: &Exchange<'_>,
    deciding: &Deciding,
    date: UnixMs,
    policy: &Policy,
) -> Option<Duration> {
    let status = exchange.status.as_u16();
    let is_heuristic = matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410);
    let is_refused =
        (404..=410).contains(&status) && status != 405 && policy.negative_ttl.is_zero();
    let says_no_cache =
        directives::members(&exchange.response.get_all(PRAGMA)).any(|member| member.is("no-cache"));
    let may = policy.heuristic
        && (is_heuristic || deciding.directives.public)
        && !is_refused
        && !says_no_cache;
    let modified = exchange.response.get(LAST_MODIFIED).filter(|_| may)?;
    let modified = dates::parse(modified.as_bytes(), exchange.responded_at)?;
    let lifetime = date.since(modified) / 10;
    (!lifetime.is_zero()).then_some(lifetime.min(HEURISTIC_MAX))
}

/// The longest lifetime that the policy grants to a status.
fn longest(status: StatusCode, policy: &Policy) -> Duration {
    match status.as_u16() {
        404 | 410 => policy.ttl_max,
        400 | 413 | 414 | 431 => policy.ttl_max.min(policy.bad_request_ttl_max),
        400.. => policy.ttl_max.min(policy.error_ttl_max),
        _ => policy.ttl_max,
    }
}

struct Stale {
    while_revalidate: Duration,
    if_error: Duration,
    if_disconnected: Duration,
    never: bool,
}

/// How long the response may be served stale, and whether it may at all (RFC 9111 section 4.2.4). What the origin
/// says about errors counts, what the policy says does not: they are not worth keeping.
fn stale_windows(status: StatusCode, deciding: &Deciding, policy: &Policy) -> Stale {
    let directives = &deciding.directives;
    let given = [
        directives.stale_while_revalidate_s,
        directives.stale_if_error_s,
    ];
    let s_maxage_forbids = directives.s_maxage_s.is_some()
        && !(policy.stale_despite_s_maxage && given.iter().any(Option::is_some));
    let never = directives.no_cache
        || directives.must_revalidate
        || directives.proxy_revalidate
        || s_maxage_forbids;
    let is_worth = !(status.is_client_error() || status.is_server_error());
    let window = |given: Option<u32>, default: Duration| match given {
        _ if never => Duration::ZERO,
        Some(seconds) => Duration::from_secs(u64::from(seconds)),
        None if is_worth => default,
        None => Duration::ZERO,
    };
    let [while_revalidate, if_error] = given;
    let if_error = window(if_error, policy.stale_if_error);
    Stale {
        while_revalidate: window(while_revalidate, policy.stale_while_revalidate),
        if_error,
        if_disconnected: window(None, policy.stale_if_disconnected).max(if_error),
        never,
    }
}
