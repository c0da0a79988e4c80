//! What an unsafe request makes invalid (RFC 9111 section 4.4).

use http::header::{CONTENT_LOCATION, HeaderValue, LOCATION};
use http::{HeaderMap, Method, StatusCode};

use super::key::{Target, canonical};

/// Paths with queries that a response to an unsafe request makes invalid, of the same namespace, scheme and
/// authority: the request's own, and what `Location` and `Content-Location` name there. Empty if the method is safe
/// or the answer an error; at most three.
pub fn invalidated(
    method: &Method,
    target: &Target<'_>,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<String> {
    if method.is_safe() || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut paths = vec![target.path_and_query.to_owned()];
    for name in [LOCATION, CONTENT_LOCATION] {
        let named = response.get(name).and_then(|value| resolve(value, target));
        if let Some(path) = named
            && !paths.contains(&path)
        {
            paths.push(path);
        }
    }
    paths
}

/// What a reference names if that is of the same origin as the target (RFC 3986 section 5.2.2).
fn resolve(reference: &HeaderValue, target: &Target<'_>) -> Option<String> {
    let reference = reference.to_str().ok()?.trim();
    let reference = reference.split('#').next()?;
    let scheme = target.scheme.as_str();
    let rest = match reference.split_once(':') {
        Some((given, rest)) if is_scheme(given) => {
            (given.eq_ignore_ascii_case(scheme) && rest.starts_with("//")).then_some(rest)?
        }
        _ => reference,
    };
    if let Some(rest) = rest.strip_prefix("//") {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let is_same =
            canonical(target.scheme, authority) == canonical(target.scheme, target.authority);
        return is_same.then(|| with_root(path));
    }
    let (base, _) = split_query(target.path_and_query);
    let (path, query) = split_query(rest);
    let path = match path {
        "" if query.is_empty() => return Some(target.path_and_query.to_owned()),
        "" => base.to_owned(),
        _ if path.starts_with('/') => without_dots(path),
        _ => {
            let folder = base.rfind('/').map_or("/", |slash| &base[..=slash]);
            without_dots(&format!("{folder}{path}"))
        }
    };
    Some(format!("{path}{query}"))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn with_root(path: &str) -> String {
    let (path, query) = split_query(path);
    match path {
        "" => format!("/{query}"),
        _ => format!("{}{query}", without_dots(path)),
    }
}

/// The path, and the query with its mark.
fn split_query(text: &str) -> (&str, &str) {
    text.split_at(text.find('?').unwrap_or(text.len()))
}

/// The path without `.` and `..` (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(segment) = parts.next() {
        let is_last = parts.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if is_last {
                    segments.push("");
                }
            }
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Scheme;

    const TARGET: Target<'_> = Target {
        namespace: "",
        scheme: Scheme::Http,
        authority: "a.example",
        path_and_query: "/x/y?q",
    };

    fn by_location(location: &str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_str(location).unwrap());
        let mut paths = invalidated(&Method::POST, &TARGET, StatusCode::CREATED, &headers);
        assert_eq!(paths.remove(0), "/x/y?q");
        paths
    }

    #[test]
    fn a_location_of_the_same_origin_becomes_invalid() {
        for (location, path) in [
            ("/z", "/z"),
            ("/z?a#b", "/z?a"),
            ("z", "/x/z"),
            ("../z", "/z"),
            ("../../../z", "/z"),
            ("./", "/x/"),
            ("..", "/"),
            ("?r", "/x/y?r"),
            ("http://a.example/z", "/z"),
            ("HTTP://A.example:80?z", "/?z"),
            ("//a.example/z/../w", "/w"),
            ("/z:1", "/z:1"),
        ] {
            assert_eq!(by_location(location), [path], "{location}");
        }
    }

    #[test]
    fn a_location_elsewhere_does_not() {
        for location in [
            "https://a.example/z",
            "http://b.example/z",
            "//a.example:81/z",
            "mailto:a@b",
            "http:z",
            "",
            "#z",
            "http://u@a.example/z",
            "y?q",
        ] {
            assert_eq!(by_location(location), [""; 0], "{location}");
        }
    }

    #[test]
    fn only_successful_unsafe_requests_make_anything_invalid() {
        let of = |method, status| {
            let status = StatusCode::from_u16(status).unwrap();
            invalidated(&method, &TARGET, status, &HeaderMap::new()).len()
        };
        let unknown = Method::from_bytes(b"M-SEARCH").unwrap();
        for method in [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            unknown,
        ] {
            assert_eq!([of(method.clone(), 200), of(method.clone(), 303)], [1, 1]);
            assert_eq!([of(method.clone(), 404), of(method, 500)], [0, 0]);
        }
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert_eq!(of(method, 200), 0);
        }
    }
}
