//! What is kept of a response beside its body.

use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::freshness::Source;
use super::time::UnixMs;
use super::validators::Validators;
use super::vary::Variant;

/// Bytes of memory that every stored response takes, whatever is in it.
pub const OVERHEAD_BYTES: u64 = 200;

/// A request and what the origin answered.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// Method of the request.
    pub method: &'a Method,
    /// Path and query as they were sent to the origin.
    pub path_and_query: &'a str,
    /// Fields of the request as the client sent them.
    pub request: &'a HeaderMap,
    /// Status of the final response.
    pub status: StatusCode,
    /// Fields of the final response as the origin sent them.
    pub response: &'a HeaderMap,
    /// When the request was sent to the origin.
    pub requested_at: UnixMs,
    /// When the head of the response came.
    pub responded_at: UnixMs,
}

/// What is kept of a response beside its body. Everything that is asked at a hit is read at store time.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Status of the response.
    pub status: StatusCode,
    /// Fields without those that may not be stored; `Age` is not among them.
    pub headers: HeaderMap,
    /// For which requests of its key the response is, if it has a `Vary`.
    pub variant: Option<Variant>,
    /// When the request that fetched it was sent; purges compare with this.
    pub requested_at: UnixMs,
    /// When its head came.
    pub responded_at: UnixMs,
    /// When it would have been made by the origin if nobody's clock were wrong: the age at any time is counted from
    /// here (RFC 9111 section 4.2.3).
    pub born_at: UnixMs,
    /// Fresh before this.
    pub fresh_until: UnixMs,
    /// May be served while it is validated before this; `fresh_until` if never.
    pub swr_until: UnixMs,
    /// May be served instead of an error of the origin before this; `fresh_until` if never.
    pub sie_until: UnixMs,
    /// May be served while no origin can be reached before this; `fresh_until` if never.
    pub disconnected_until: UnixMs,
    /// Nothing can be done with it from here on; it may be dropped.
    pub keep_until: UnixMs,
    /// What decided `fresh_until`.
    pub source: Source,
    /// What it may not be used for.
    pub flags: Flags,
    /// Its `Last-Modified`, if that can be read.
    pub last_modified: Option<UnixMs>,
    /// Its `Date`, or when it came if that cannot be read.
    pub date: UnixMs,
}

/// Fields that answers get beside the stored ones: `Age`, `Cache-Status`, `Via` and what another node is told.
const ANSWER_FIELDS: usize = 5;

impl Stored {
    /// The stored fields for an answer, with room for those that every answer gets.
    pub fn answer_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + ANSWER_FIELDS);
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        headers
    }

    /// Its `ETag`, if it is well-formed.
    pub fn etag(&self) -> Option<&HeaderValue> {
        self.flags
            .has_etag
            .then(|| self.headers.get(http::header::ETAG))?
    }

    /// What tells it from others.
    pub fn validators(&self, now: UnixMs) -> Validators<'_> {
        let has_date = self.headers.contains_key(http::header::DATE);
        Validators {
            etag: self.etag(),
            last_modified: self.last_modified,
            date: has_date.then_some(self.date),
            now,
        }
    }

    /// Whether the origin can be asked whether it is still good.
    pub fn has_validator(&self) -> bool {
        self.flags.has_etag || self.last_modified.is_some()
    }

    /// The value of `Age` for a response made now, in whole seconds (RFC 9111 section 5.1).
    pub fn age_s(&self, now: UnixMs) -> u64 {
        now.since(self.born_at).as_secs()
    }

    /// Seconds for which it stays fresh, for `Cache-Status`; negative once it is stale.
    pub fn ttl_s(&self, now: UnixMs) -> i64 {
        let (until, now) = (self.fresh_until.unix_s(), now.unix_s());
        let until = i64::try_from(until).unwrap_or(i64::MAX);
        until.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX))
    }

    /// Seconds for which it stays fresh, rounded down, so that they are negative as soon as it is stale: -1 within the
    /// first second. For people, who see when it is; `Cache-Status` counts by the seconds of dates.
    pub fn fresh_s(&self, now: UnixMs) -> i64 {
        if now < self.fresh_until {
            let left = self.fresh_until.since(now).as_secs();
            return i64::try_from(left).unwrap_or(i64::MAX);
        }
        let stale = now.since(self.fresh_until).as_secs();
        -i64::try_from(stale).unwrap_or(i64::MAX - 1) - 1
    }

    /// Stale from `at` on though its fields say later, as whoever passed it on knew; what it may be used for after
    /// that stays.
    pub fn stale_from(&mut self, at: UnixMs) {
        let was = self.fresh_until;
        self.fresh_until = was.min(at);
        for until in [
            &mut self.swr_until,
            &mut self.sie_until,
            &mut self.disconnected_until,
        ] {
            if *until <= was {
                *until = self.fresh_until;
            }
        }
    }

    /// Bytes of memory that it takes beside key and body, about: names and values of its fields, its variant and
    /// [`OVERHEAD_BYTES`].
    pub fn bytes(&self) -> u64 {
        let fields = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        let variant = self
            .variant
            .as_ref()
            .map_or(0, |variant| variant.key().len());
        (fields.sum::<usize>() + variant) as u64 + OVERHEAD_BYTES
    }

    /// How long the origin took: what a refresh costs.
    pub fn fetch_ms(&self) -> u64 {
        self.responded_at.0.saturating_sub(self.requested_at.0)
    }

    /// Whether this is the response for a request with these fields.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.variant
            .as_ref()
            .is_none_or(|variant| variant.matches(request))
    }
}

/// What a stored response may and may not be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Validated before every use (`no-cache`).
    pub no_cache: bool,
    /// Never served stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`, `no-cache`).
    pub never_stale: bool,
    /// Not validated while fresh, even if a client asks (`immutable`, RFC 8246).
    pub immutable: bool,
    /// May not be transformed (`no-transform`).
    pub no_transform: bool,
    /// Has a well-formed `ETag`.
    pub has_etag: bool,
}
