//! What a route's rules and the tuning profile say about caching.

use std::time::Duration;

use http::HeaderName;

/// The longest lifetime that a response may get by heuristic.
pub const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What becomes of responses with `Set-Cookie`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetCookie {
    /// They are not stored: a cookie is nearly always for one client (RFC 6265 section 3, RFC 9111 section 7.3).
    #[default]
    Refuse,
    /// They are stored without the cookie; only the client whose request fetched them gets it.
    Strip,
}

/// What a `Cookie` in a request means.
///
/// RFC 9111 gives the field no meaning: an origin whose answers depend on cookies has to say so with `Vary`,
/// `private` or `no-store`. Many forget, so by default an answer to a request with cookies is stored only if it says
/// that it is for everybody; answers that were fetched without any cookie are reused for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestCookie {
    /// Answers to requests with cookies are stored only with `public`, `s-maxage` or a targeted field.
    #[default]
    StoreIfPublic,
    /// Cookies mean nothing: the route has no answers that depend on them.
    Ignore,
    /// Requests with cookies pass by the cache.
    Pass,
}

/// What a route's rules and the tuning profile say about caching. Nothing here makes a response storable that
/// forbids it (`no-store`, `private`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The lifetime of storable responses with status 200, 203, 204, 300, 301 or 308, from when they came, whatever
    /// lifetime the origin gives them.
    pub ttl: Option<Duration>,
    /// No response is fresh for longer.
    pub ttl_max: Duration,
    /// The lifetime of 404 and 410 that bring none. Never longer than `ttl`. Zero: not stored.
    pub negative_ttl: Duration,
    /// The lifetime of 500, 502, 503 and 504 that bring none. Zero, the default: not stored.
    pub error_ttl: Duration,
    /// No error other than 404 and 410 is fresh for longer, whatever the origin says. Whoever can provoke an error
    /// with a request that has the same key as others' can deny them the response for as long. Zero: not stored.
    pub error_ttl_max: Duration,
    /// The same for 400, 413, 414 and 431: they are nearly always about fields that no key holds, so one request that
    /// is malformed, or too large for the origin alone, would deny everybody the response. Zero: not stored.
    pub bad_request_ttl_max: Duration,
    /// How long a stale response may be served while a new one is fetched, if the origin says nothing (RFC 5861).
    pub stale_while_revalidate: Duration,
    /// How long a stale response may be served instead of an error, if the origin says nothing (RFC 5861).
    pub stale_if_error: Duration,
    /// How long a stale response may be served while no origin can be reached (RFC 9111 section 4.2.4), if the origin
    /// does not prohibit it.
    pub stale_if_disconnected: Duration,
    /// Whether a response with `s-maxage` may be served stale if it also has `stale-while-revalidate` or
    /// `stale-if-error`. RFC 9111 section 5.2.2.10 says no; origins that send both mean yes.
    pub stale_despite_s_maxage: bool,
    /// How long a stale response with a validator is kept to be validated.
    pub keep: Duration,
    /// Whether responses without explicit lifetime get 10 % of the time since `Last-Modified`
    /// (RFC 9111 section 4.2.2).
    pub heuristic: bool,
    /// Targeted fields that are for this cache, the most specific first (RFC 9213 section 2.2).
    pub targets: Vec<HeaderName>,
    /// What becomes of responses with `Set-Cookie`.
    pub set_cookie: SetCookie,
    /// What a `Cookie` in a request means.
    pub request_cookie: RequestCookie,
    /// Whether `Cache-Control` and `Pragma` of requests count. They are advice (RFC 9111 section 5.2.1).
    pub client_directives: bool,
    /// Whether responses are refused whose `Content-Type` is not what the extension of the path promises: such a path
    /// may have been made up to have a private page stored.
    pub check_extension: bool,
    /// Bytes of the longest body that is stored.
    pub body_bytes_max: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ttl: None,
            ttl_max: Duration::from_secs(86_400 * 365),
            negative_ttl: Duration::from_secs(3),
            error_ttl: Duration::ZERO,
            error_ttl_max: Duration::from_secs(10),
            bad_request_ttl_max: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_if_disconnected: Duration::from_secs(60),
            stale_despite_s_maxage: false,
            keep: Duration::from_secs(300),
            heuristic: true,
            targets: vec![HeaderName::from_static("cdn-cache-control")],
            set_cookie: SetCookie::default(),
            request_cookie: RequestCookie::default(),
            client_directives: true,
            check_extension: false,
            body_bytes_max: 64 << 20,
        }
    }
}
