//! A request as it is made by nobody in particular.

use http::header::HeaderName;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use thiserror::Error;

use crate::proxy::{Authority, Scheme};

/// Bytes of a URL.
pub const URL_BYTES_MAX: usize = 8 << 10;
/// Fields of a request that are kept.
const FIELDS_MAX: usize = 8;
/// Bytes of all their values.
const FIELD_BYTES_MAX: usize = 512;

/// Fields on which answers may depend and that say nothing of who asks. Whatever is not among them is never kept.
const FIELDS: [&str; 10] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "origin",
    "save-data",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "user-agent",
    "x-requested-with",
];

/// Words in the names of query parameters that may hold a credential.
const SECRET_WORDS: [&str; 14] = [
    "token",
    "secret",
    "passw",
    "pwd",
    "auth",
    "session",
    "sid",
    "sig",
    "key",
    "credential",
    "jwt",
    "code",
    "ticket",
    "nonce",
];

/// Why something cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadAsked {
    /// Too long.
    #[error("{bytes} bytes, at most {URL_BYTES_MAX} are read")]
    Long {
        /// How long it is.
        bytes: usize,
    },
    /// Another scheme.
    #[error("`{url}` is neither http:// nor https://")]
    Scheme {
        /// As it was written.
        url: String,
    },
    /// No host that is one.
    #[error("`{url}` has no host: {why}")]
    Host {
        /// As it was written.
        url: String,
        /// In words.
        why: String,
    },
    /// No path that is one.
    #[error("`{url}` has no path that is one")]
    Path {
        /// As it was written.
        url: String,
    },
    /// A field that is never kept, or no field.
    #[error("field `{name}` is not kept")]
    Field {
        /// Its name.
        name: String,
    },
    /// More fields, or longer ones, than are kept.
    #[error("at most {FIELDS_MAX} fields of {FIELD_BYTES_MAX} bytes are kept")]
    Fields,
}

/// What is asked for: authority and target as clients write them, and the fields on which the answer depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    scheme: Scheme,
    authority: Box<str>,
    target: PathAndQuery,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Asked {
    /// What a URL asks for: `[http[s]://]host[:port][/path][?query][#fragment]`. `https` is what clients reach
    /// through a proxy that ends TLS and says so.
    ///
    /// # Errors
    /// [`BadAsked`]; user information is no part of a host.
    pub fn of_url(text: &str) -> Result<Self, BadAsked> {
        if text.len() > URL_BYTES_MAX {
            return Err(BadAsked::Long { bytes: text.len() });
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (scheme, own_port) = match &*scheme.to_ascii_lowercase() {
            "http" => (Scheme::Http, ":80"),
            "https" => (Scheme::Https, ":443"),
            _ => {
                let url = text.to_owned();
                return Err(BadAsked::Scheme { url });
            }
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = authority.strip_suffix(own_port).unwrap_or(authority);
        let target = match target {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            target => target.to_owned(),
        };
        Self::new(scheme, authority, &target)
    }

    /// What scheme, authority and target ask for.
    ///
    /// # Errors
    /// [`BadAsked`].
    pub fn new(scheme: Scheme, authority: &str, target: &str) -> Result<Self, BadAsked> {
        let bytes = authority.len() + target.len();
        if bytes > URL_BYTES_MAX {
            return Err(BadAsked::Long { bytes });
        }
        let url = || format!("{authority}{target}");
        Authority::parse(authority).map_err(|bad| BadAsked::Host {
            url: url(),
            why: bad.to_string(),
        })?;
        let is_target = target.starts_with('/') && target.bytes().all(|b| b.is_ascii_graphic());
        let parsed = target.parse().ok().filter(|_| is_target);
        Ok(Self {
            scheme,
            authority: authority.into(),
            target: parsed.ok_or_else(|| BadAsked::Path { url: url() })?,
            fields: Vec::new(),
        })
    }

    /// The same on another host; the target is shared.
    ///
    /// # Errors
    /// [`BadAsked`].
    pub fn on_host(&self, authority: &str) -> Result<Self, BadAsked> {
        let bytes = authority.len() + self.target.as_str().len();
        if bytes > URL_BYTES_MAX {
            return Err(BadAsked::Long { bytes });
        }
        Authority::parse(authority).map_err(|bad| BadAsked::Host {
            url: format!("{authority}{}", self.target),
            why: bad.to_string(),
        })?;
        Ok(Self {
            authority: authority.into(),
            ..self.clone()
        })
    }

    /// The same with a field.
    ///
    /// # Errors
    /// [`BadAsked::Field`] if it is none that says nothing of who asks; [`BadAsked::Fields`] beyond the bounds.
    pub fn with(mut self, name: &str, value: &[u8]) -> Result<Self, BadAsked> {
        let bad = || BadAsked::Field {
            name: name.to_owned(),
        };
        let parsed: HeaderName = name.parse().map_err(|_| bad())?;
        if !FIELDS.contains(&parsed.as_str()) {
            return Err(bad());
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| bad())?;
        self.fields.push((parsed, value));
        let bytes: usize = self.fields.iter().map(|(_, value)| value.len()).sum();
        match self.fields.len() <= FIELDS_MAX && bytes <= FIELD_BYTES_MAX {
            true => Ok(self),
            false => Err(BadAsked::Fields),
        }
    }

    /// The same with those fields of a request that an answer depends on; `None` if one of them may say who asks.
    pub fn with_all(self, names: &[HeaderName], request: &HeaderMap) -> Option<Self> {
        names.iter().try_fold(self, |asked, name| {
            if !FIELDS.contains(&name.as_str()) {
                return None;
            }
            let mut values = request.get_all(name).iter();
            match (values.next(), values.next()) {
                (None, _) => Some(asked),
                (Some(value), None) => asked.with(name.as_str(), value.as_bytes()).ok(),
                _ => None,
            }
        })
    }

    /// By which clients reach it.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `host[:port]`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query.
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// Fields on which the answer depends.
    pub fn fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.fields
    }

    /// As people write it.
    pub fn url(&self) -> String {
        let scheme = self.scheme.as_str();
        format!("{scheme}://{}{}", self.authority, self.target)
    }

    /// Whether a parameter of the query may be a credential: such a URL is written to no disk.
    pub fn may_hold_credentials(&self) -> bool {
        let query = self.target.query().unwrap_or_default();
        let mut names = query
            .split(['&', ';'])
            .map(|pair| pair.split('=').next().unwrap_or_default());
        names.any(|name| {
            let name = name.to_ascii_lowercase();
            // What is written in escapes may be any word.
            name.contains('%') || SECRET_WORDS.iter().any(|word| name.contains(word))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_people_write_them() {
        let read = |text| {
            let asked = Asked::of_url(text).unwrap();
            (asked.authority().to_owned(), asked.target().to_string())
        };
        let is = |authority: &str, target: &str| (authority.to_owned(), target.to_owned());
        assert_eq!(read("http://a.example/b?c#d"), is("a.example", "/b?c"));
        assert_eq!(read("https://a.example:443"), is("a.example", "/"));
        assert_eq!(read("a.example:8080?x"), is("a.example:8080", "/?x"));
    }

    #[test]
    fn what_is_no_url_of_a_route_is_told() {
        for text in [
            "ftp://a/",
            "http:///x",
            "",
            "http://u:p@a/",
            "a/\u{e9}",
            "a/b c",
        ] {
            assert!(Asked::of_url(text).is_err(), "{text}");
        }
        let long = "a".repeat(URL_BYTES_MAX + 1);
        assert_eq!(
            Asked::of_url(&long).unwrap_err().to_string(),
            "8193 bytes, at most 8192 are read"
        );
    }

    #[test]
    fn no_field_that_may_say_who_asks_is_kept() {
        let asked = Asked::of_url("a.example/").unwrap();
        for name in [
            "authorization",
            "Cookie",
            "x-api-key",
            "x-user",
            "host",
            "a b",
        ] {
            assert!(asked.clone().with(name, b"x").is_err(), "{name}");
        }
        assert!(asked.clone().with("accept", b"a\r\nb").is_err());
        assert!(asked.clone().with("accept", &[b'a'; 600]).is_err());
        let names = [HeaderName::from_static("cookie")];
        assert_eq!(asked.clone().with_all(&names, &HeaderMap::new()), None);
        let names = [HeaderName::from_static("accept-language")];
        let mut request = HeaderMap::new();
        request.insert("accept-language", HeaderValue::from_static("de"));
        request.insert("cookie", HeaderValue::from_static("a=b"));
        let kept = asked.with_all(&names, &request).unwrap();
        assert_eq!(kept.fields().len(), 1);
    }

    #[test]
    fn a_query_that_may_hold_a_credential_is_known() {
        let may = |target| {
            let asked = Asked::new(Scheme::Http, "a.example", target).unwrap();
            asked.may_hold_credentials()
        };
        assert!(may("/?access_token=x"));
        assert!(may("/?a=b&X-Amz-Signature=x"));
        assert!(may("/?a=b;PassWord=x"));
        assert!(may("/?%74oken=x"));
        assert!(!may("/?page=2&lang=de"));
        assert!(!may("/token"));
    }
}
