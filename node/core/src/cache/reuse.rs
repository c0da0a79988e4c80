//! Whether a stored response may answer a request (RFC 9111 section 4).

use http::{HeaderMap, Method, StatusCode};

use super::policy::Policy;
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
}

/// What a request wants of the cache; read once, without allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// `max-age`, in milliseconds.
    pub max_age_ms: Option<u64>,
    /// `min-fresh`, in milliseconds.
    pub min_fresh_ms: Option<u64>,
    /// `max-stale`, in milliseconds; any if it has no value.
    pub max_stale_ms: Option<u64>,
    /// `stale-if-error`, in milliseconds (RFC 5861 section 4).
    pub stale_if_error_ms: Option<u64>,
    /// `no-cache`, or `Pragma: no-cache` without any `Cache-Control`.
    pub no_cache: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
    /// Has a `Range`.
    pub has_range: bool,
    /// Has a condition: `If-None-Match`, `If-Modified-Since`, `If-Match` or `If-Unmodified-Since`.
    pub has_condition: bool,
}

impl Lookup {
    /// What a request with these fields wants.
    ///
    /// # Errors
    /// [`Bypass`] if it is none of the cache's business.
    pub fn of(method: &Method, headers: &HeaderMap, policy: &Policy) -> Result<Self, Bypass> {
        let _ = (headers, policy);
        match *method == Method::GET || *method == Method::HEAD {
            true => Ok(Self::default()),
            false => Err(Bypass::Method),
        }
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
    let _ = (stored, now);
    match lookup.only_if_cached {
        true => Reuse::GatewayTimeout,
        false => Reuse::MustFetch,
    }
}

/// What becomes of a request for which there is no stored response.
pub fn on_miss(lookup: &Lookup) -> Reuse {
    match lookup.only_if_cached {
        true => Reuse::GatewayTimeout,
        false => Reuse::MustFetch,
    }
}
