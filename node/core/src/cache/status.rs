//! `Cache-Status` (RFC 9211).

use std::fmt::{self, Write as _};

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
    /// Name of the cache.
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
    /// What else there is to say.
    pub detail: Option<&'a str>,
}

impl Forwarded {
    /// As it stands in `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl<'a> CacheStatus<'a> {
    /// What the cache of this name did with a request that a stored response answered.
    pub const fn hit(cache: &'a str) -> Self {
        Self {
            cache,
            hit: true,
            forwarded: None,
            forwarded_status: None,
            stored: false,
            collapsed: false,
            ttl_s: None,
            detail: None,
        }
    }

    /// What the cache of this name did with a request that went to the origin.
    pub const fn forwarded(cache: &'a str, reason: Forwarded) -> Self {
        Self {
            hit: false,
            forwarded: Some(reason),
            ..Self::hit(cache)
        }
    }
}

impl fmt::Display for CacheStatus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        token_or_string(f, self.cache)?;
        // A response either is a hit or was forwarded (RFC 9211 section 2.2).
        if let Some(reason) = self.forwarded {
            write!(f, "; fwd={}", reason.as_str())?;
            if let Some(status) = self.forwarded_status {
                write!(f, "; fwd-status={status}")?;
            }
            if self.stored {
                f.write_str("; stored")?;
            }
            if self.collapsed {
                f.write_str("; collapsed")?;
            }
        } else if self.hit {
            f.write_str("; hit")?;
        }
        if let Some(ttl_s) = self.ttl_s {
            write!(f, "; ttl={ttl_s}")?;
        }
        if let Some(detail) = self.detail {
            f.write_str("; detail=")?;
            token_or_string(f, detail)?;
        }
        Ok(())
    }
}

/// As a token if it is one, else as a string; what no string may hold becomes `?` (RFC 9651 section 4.1).
fn token_or_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let is_token = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte));
    if is_token {
        return f.write_str(text);
    }
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            ' '..='~' => f.write_char(c)?,
            _ => f.write_char('?')?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_tells_how_long_it_is_fresh() {
        let mut status = CacheStatus::hit("weir");
        assert_eq!(status.to_string(), "weir; hit");
        status.ttl_s = Some(-3);
        status.detail = Some("stale-while-revalidate");
        assert_eq!(
            status.to_string(),
            "weir; hit; ttl=-3; detail=stale-while-revalidate"
        );
    }

    #[test]
    fn a_forwarded_request_tells_why_and_what_came() {
        let status = CacheStatus {
            forwarded_status: Some(304),
            stored: true,
            collapsed: true,
            ttl_s: Some(60),
            ..CacheStatus::forwarded("weir", Forwarded::Stale)
        };
        assert_eq!(
            status.to_string(),
            "weir; fwd=stale; fwd-status=304; stored; collapsed; ttl=60"
        );
    }

    #[test]
    fn names_that_are_no_tokens_are_strings() {
        let status = CacheStatus::hit("node \"1\" \u{e9}\n");
        assert_eq!(status.to_string(), r#""node \"1\" ??"; hit"#);
        assert_eq!(CacheStatus::hit("").to_string(), "\"\"; hit");
    }
}
