//! How long a response is fresh (RFC 9111 section 4.2) and what it is good for afterwards.

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
