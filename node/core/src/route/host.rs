//! Hosts a route answers for.

use crate::proxy::Authority;

use super::problem::BadPattern;

/// Hosts a route answers for, in lower case and without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Every host, and requests that name none.
    Any,
    /// This host only.
    Exact(String),
    /// Hosts that end in this suffix, which starts with a dot, and have at least one label before
    /// it: `*.example.com` matches `a.example.com` and `a.b.example.com`, not `example.com`.
    Suffix(String),
}

impl HostPattern {
    /// Reads `*`, `*.suffix` or a host, in any letter case.
    ///
    /// # Errors
    /// [`BadPattern::Host`] for anything else, a port included.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (is_wildcard, host) = match text.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, text),
        };
        let is_whole = Authority::parse(host).is_ok_and(|authority| authority.host() == host);
        let is_suffix_of_names = !host.starts_with(['[', '.']);
        if !is_whole || (is_wildcard && !is_suffix_of_names) {
            return Err(BadPattern::Host(text.to_owned()));
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Ok(if is_wildcard {
            Self::Suffix(format!(".{host}"))
        } else {
            Self::Exact(host)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_lower_cased() {
        assert_eq!(
            HostPattern::parse("*.Example.COM"),
            Ok(HostPattern::Suffix(".example.com".into()))
        );
        assert_eq!(
            HostPattern::parse("Example.com."),
            Ok(HostPattern::Exact("example.com".into()))
        );
        assert_eq!(HostPattern::parse("*"), Ok(HostPattern::Any));
    }

    #[test]
    fn ports_and_inner_wildcards_are_refused() {
        for text in [
            "", "a:80", "a.*.b", "*a", "*.", "**", "*.[::1]", "a b", "a/",
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }
}
