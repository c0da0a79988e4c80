//! What a request wants of the cache (RFC 9111 section 5.2.1).

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, Method};

use super::directives::{Member, SECONDS_MAX, members};
use super::policy::{Policy, RequestCookie};

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

    /// By what it takes no answer that was fetched for others, or none of its is kept for them: requests share a fetch
    /// only with those that say the same. `None`: nothing of the kind. `min-fresh` is not: what is just fetched is as
    /// fresh as can be.
    pub fn apart(&self) -> Option<[u8; 5]> {
        let flags = u8::from(self.no_cache) | u8::from(self.no_store) << 1;
        let is_apart = flags != 0 || self.max_age_s.is_some();
        let [a, b, c, d] = self.max_age_s.unwrap_or(u32::MAX).to_be_bytes();
        is_apart.then_some([flags, a, b, c, d])
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
        let mut lookup = Self::default();
        let mut has_directives = false;
        // Few of these fields are ever there, and a look-up costs a hash even then.
        for (name, value) in headers {
            match name.as_str() {
                "transfer-encoding" => return Err(Bypass::Content),
                "content-length" if value != "0" => return Err(Bypass::Content),
                "cookie" if policy.request_cookie == RequestCookie::Pass => {
                    return Err(Bypass::Cookie);
                }
                "if-match" | "if-unmodified-since" => return Err(Bypass::Precondition),
                "if-none-match" | "if-modified-since" => lookup.has_condition = true,
                "range" => lookup.has_range = true,
                "cache-control" | "pragma" => has_directives = true,
                _ => {}
            }
        }
        if has_directives && policy.client_directives {
            lookup.directives = RequestDirectives::of(headers);
        }
        Ok(lookup)
    }

    /// Whether it wants a part of what may not be stored for it: a fetch of the whole would be of no use to anybody.
    pub fn is_unkept_part(&self) -> bool {
        self.has_range
            && self
                .directives
                .is_some_and(|directives| directives.no_store)
    }

    pub(super) fn only_if_cached(&self) -> bool {
        self.directives
            .is_some_and(|directives| directives.only_if_cached)
    }
}
