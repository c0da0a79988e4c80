//! `Cache-Status` (RFC 9211).

use std::fmt;

/// Why a request went to the origin (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// The cache was not to be asked.
    Bypass,
    /// The method is not answered from caches.
    Method,
    /// Nothing is stored for the key.
    UriMiss,
    /// Something is stored for the key, but not for these fields.
    VaryMiss,
    /// Nothing that is stored can be used.
    Miss,
    /// A fresh response is stored, but the request demands to ask the origin.
    Request,
    /// A response is stored, but stale.
    Stale,
    /// Part of what is asked is stored.
    Partial,
}

/// What a cache did with a request; displays as one member of `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus<'a> {
    /// Name of the cache: an sf-token; other characters are replaced.
    pub cache: &'a str,
    /// A stored response answered without waiting for the origin.
    pub hit: bool,
    /// Why the request went to the origin.
    pub forwarded: Option<Forwarded>,
    /// What the origin answered, if that is not the status of this response.
    pub forwarded_status: Option<u16>,
    /// Whether the response is being stored.
    pub stored: bool,
    /// Whether the request waited for another's.
    pub collapsed: bool,
    /// Seconds that the response stays fresh; negative if it is stale.
    pub ttl_s: Option<i64>,
    /// What else there is to say; an sf-token.
    pub detail: Option<&'a str>,
}

impl fmt::Display for CacheStatus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cache)
    }
}
