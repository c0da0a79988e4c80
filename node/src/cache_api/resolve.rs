//! From a URL as clients write it to the key under which its answer is kept.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use weir_cache::Resource;
use weir_core::cache::{Key, Target};
use weir_core::proxy::{Authority, Scheme};
use weir_core::route::{RouteRequest, normalise_path};

use super::{CacheApi, Error};
use crate::config::RouteCache;

/// Bytes of a URL, and fields of a request, that are read.
const URL_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 100;

/// A URL in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: Scheme,
    pub(super) authority: String,
    /// From its slash on; empty without.
    pub(super) target: String,
}

impl Url {
    /// `[http[s]://]host[:port][/path][?query][#fragment]`. What clients reach over TLS, through a proxy that says so,
    /// has keys of its own.
    pub(super) fn parse(field: &'static str, text: &str) -> Result<Self, Error> {
        let invalid = |why: &str| Error::invalid(field, format!("`{text}` {why}"));
        if text.len() > URL_BYTES_MAX {
            let why = format!("{} bytes, at most {URL_BYTES_MAX} are read", text.len());
            return Err(Error::invalid(field, why));
        }
        if !text.contains(['/', '.', ':']) {
            return Err(invalid("is no URL; expected http://HOST/PATH"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (scheme, own_port) = match &*scheme.to_ascii_lowercase() {
            "http" => (Scheme::Http, ":80"),
            "https" => (Scheme::Https, ":443"),
            _ => return Err(invalid("is neither http:// nor https://")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = authority.strip_suffix(own_port).unwrap_or(authority);
        Authority::parse(authority).map_err(|bad| invalid(&format!("has no host: {bad}")))?;
        Ok(Self {
            scheme,
            authority: authority.to_owned(),
            target: target.to_owned(),
        })
    }
}

impl Url {
    /// Scheme, host and path, whatever was left out.
    pub(super) fn absolute(&self) -> String {
        let slash = if self.target.starts_with('/') {
            ""
        } else {
            "/"
        };
        format!(
            "{}://{}{slash}{}",
            self.scheme.as_str(),
            self.authority,
            self.target
        )
    }
}

/// A request as the cache sees it.
pub(super) struct Resolved {
    pub(super) scheme: Scheme,
    pub(super) route: String,
    pub(super) cache: Option<RouteCache>,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    /// The path as clients write it.
    pub(super) path: String,
    pub(super) authority: String,
    /// As it is sent to the origin.
    pub(super) target: PathAndQuery,
}

impl Resolved {
    /// Under which key its answer is kept.
    pub(super) fn resource(&self, cache: &RouteCache, scheme: Scheme) -> Result<Resource, Error> {
        let target = Target {
            namespace: &cache.namespace,
            scheme,
            authority: &self.authority,
            path_and_query: self.target.as_str(),
        };
        let key = Key::of(&target).map_err(|why| Error::invalid("url", why.to_string()))?;
        let path = self.target.as_str();
        Ok(Resource::new(key, &cache.namespace, &self.authority, path))
    }
}

impl CacheApi {
    /// The route of a request, and what the origin is asked for.
    pub(super) fn resolve(
        &self,
        url: &str,
        method: &str,
        fields: &[String],
    ) -> Result<Resolved, Error> {
        let parsed = Url::parse("url", url)?;
        let method = match method {
            "" => Method::GET,
            text => text
                .parse()
                .map_err(|_| Error::invalid("method", format!("`{text}` is no method")))?,
        };
        let headers = read_headers(fields)?;
        let bad_path = |why: String| Error::invalid("url", format!("`{url}`: {why}"));
        let (path, query) = match parsed.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*parsed.target, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        let path = normalise_path(path).map_err(|bad| bad_path(bad.to_string()))?;
        let authority =
            Authority::parse(&parsed.authority).map_err(|bad| bad_path(bad.to_string()))?;
        let routing = self.routing.load();
        let found = routing.table.find(&RouteRequest {
            host: &authority.routing_host(),
            path: &path,
            method: &method,
            headers: &headers,
        });
        let route = found.and_then(|at| Some((at, routing.table.get(at)?)));
        let (at, route) = route.ok_or_else(|| bad_path("no route takes it".to_owned()))?;
        let written = query.map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
        let rewritten = route.rewrite.path_and_query(&path, query);
        let rewritten = rewritten.map_err(|bad| bad_path(bad.to_string()))?;
        let target = match rewritten {
            Some(target) => target,
            None => written
                .parse()
                .map_err(|_| bad_path("is no path".to_owned()))?,
        };
        Ok(Resolved {
            scheme: parsed.scheme,
            route: route.name.clone(),
            cache: routing.routes[at].cache.clone(),
            method,
            headers,
            path: target.path().to_owned(),
            authority: parsed.authority,
            target,
        })
    }
}

fn read_headers(fields: &[String]) -> Result<HeaderMap, Error> {
    if fields.len() > HEADERS_MAX {
        let why = format!("{}, at most {HEADERS_MAX} are read", fields.len());
        return Err(Error::invalid("headers", why));
    }
    let mut headers = HeaderMap::new();
    for field in fields {
        let read = field.split_once(':').and_then(|(name, value)| {
            let name: HeaderName = name.trim().parse().ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let (name, value) = read
            .ok_or_else(|| Error::invalid("headers", format!("`{field}` is no `name: value`")))?;
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_people_write_them() {
        let url = |text| {
            let url = Url::parse("url", text).unwrap();
            (url.authority, url.target)
        };
        let is = |authority: &str, target: &str| (authority.to_owned(), target.to_owned());
        assert_eq!(url("http://a.example/b?c#d"), is("a.example", "/b?c"));
        assert_eq!(url("https://a.example:443"), is("a.example", ""));
        assert_eq!(url("a.example:8080/x"), is("a.example:8080", "/x"));
        assert_eq!(url("HTTP://[::1]:80/"), is("[::1]", "/"));
        let told = Url::parse("url", "notaurl").unwrap_err().to_string();
        assert_eq!(told, "url: `notaurl` is no URL; expected http://HOST/PATH");
        for text in ["ftp://a/", "http:///x", "", "a b/"] {
            let told = Url::parse("url", text).unwrap_err().to_string();
            assert!(told.starts_with("url: `"), "{told}");
        }
    }

    #[test]
    fn a_field_that_is_none_is_told() {
        let told = read_headers(&["accept".to_owned()])
            .unwrap_err()
            .to_string();
        assert_eq!(told, "headers: `accept` is no `name: value`");
        let read = read_headers(&["Accept: a/b".to_owned()]).unwrap();
        assert_eq!(read["accept"], "a/b");
    }
}
