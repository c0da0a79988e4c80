//! Who a request is for (RFC 9110 section 7.2, RFC 9112 section 3.2, RFC 9113 section 8.3.1).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Uri, Version};
use thiserror::Error;

/// The request does not say in one voice which host it is for; answer `400`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadAuthority {
    /// No Host and no authority in the target, though the version demands one.
    #[error("no host")]
    Missing,
    /// More than one Host line.
    #[error("more than one host")]
    Repeated,
    /// Not `host[:port]`; user information is not accepted either (RFC 9110 section 4.2.4).
    #[error("malformed host")]
    Malformed,
    /// HTTP/2 `:authority` and Host differ.
    #[error("authority and host differ")]
    Mismatch,
}

/// A valid `host[:port]`.
///
/// The host is a name of letters, digits, `-`, `.`, `_` and `~`, an IPv4 address, or an IPv6
/// address in brackets. RFC 3986 allows more (percent-encoding, `!$&'()*+,;=`), which no real host
/// has and which is read differently by different servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    text: &'a str,
    host_bytes: usize,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// No authority: what an HTTP/1.0 request without Host is for.
    const EMPTY: Self = Self {
        text: "",
        host_bytes: 0,
        port: None,
    };

    /// Reads `host[:port]`.
    ///
    /// # Errors
    /// [`BadAuthority::Malformed`] for anything else, the empty text included.
    pub fn parse(text: &'a str) -> Result<Self, BadAuthority> {
        let host_bytes = host_bytes(text).ok_or(BadAuthority::Malformed)?;
        let port = match &text.as_bytes()[host_bytes..] {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(parse_port(digits).ok_or(BadAuthority::Malformed)?),
            _ => return Err(BadAuthority::Malformed),
        };
        Ok(Self {
            text,
            host_bytes,
            port,
        })
    }

    /// Like [`parse`](Self::parse), for bytes that may not be text.
    ///
    /// # Errors
    /// [`BadAuthority::Malformed`] as `parse`.
    pub fn parse_bytes(bytes: &'a [u8]) -> Result<Self, BadAuthority> {
        std::str::from_utf8(bytes)
            .map_err(|_| BadAuthority::Malformed)
            .and_then(Self::parse)
    }

    /// As the client wrote it, port included. Empty if the client named no host.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The host as the client wrote it, without port; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &'a str {
        &self.text[..self.host_bytes]
    }

    /// The port, if one is given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The host in lower case, as routes are matched by; borrowed if it already was.
    /// One trailing dot is dropped: `example.com.` is the same name.
    pub fn routing_host(&self) -> Cow<'a, str> {
        let host = self.host();
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        }
    }
}

/// Length of the host at the start of the text.
fn host_bytes(text: &str) -> Option<usize> {
    if let Some(rest) = text.strip_prefix('[') {
        let close = rest.find(']')?;
        rest[..close].parse::<Ipv6Addr>().ok()?;
        return Some(close + 2);
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let length = text.bytes().take_while(is_name).count();
    (length > 0).then_some(length)
}

/// Five digits at most: `str::parse` alone would accept a sign and any number of zeros.
fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Which host the request is for.
///
/// In HTTP/1 an absolute-form target wins over Host (RFC 9112 section 3.2.2). In HTTP/2 both may be
/// there but must agree, letter case aside. An HTTP/1.0 request may name none: its authority is
/// empty.
///
/// # Errors
/// [`BadAuthority`] if the host is missing, repeated, malformed or ambiguous.
pub fn effective_host<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
    version: Version,
) -> Result<Authority<'a>, BadAuthority> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(BadAuthority::Repeated);
    }
    let target = uri.authority().map(http::uri::Authority::as_str);
    if let (Some(target), Some(host)) = (target, host)
        && version >= Version::HTTP_2
        && !target.as_bytes().eq_ignore_ascii_case(host.as_bytes())
    {
        return Err(BadAuthority::Mismatch);
    }
    match (target, host) {
        (Some(target), _) => Authority::parse(target),
        (None, Some(host)) => Authority::parse_bytes(host.as_bytes()),
        (None, None) if version <= Version::HTTP_10 => Ok(Authority::EMPTY),
        (None, None) => Err(BadAuthority::Missing),
    }
}

/// Makes Host the one authority of a request that is forwarded over HTTP/1: that of the target, if
/// it has one. Nothing is done when Host already says so.
pub fn pin_host(uri: &Uri, headers: &mut HeaderMap) {
    let Some(target) = uri.authority() else {
        return;
    };
    let mut hosts = headers.get_all(HOST).iter();
    let is_pinned = hosts.next().is_some_and(|host| host == target.as_str());
    if is_pinned && hosts.next().is_none() {
        return;
    }
    let value = HeaderValue::from_str(target.as_str())
        .expect("a URI's authority has no characters that a header value cannot hold");
    headers.insert(HOST, value);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn host_of(uri: &str, hosts: &[&str], version: Version) -> Result<String, BadAuthority> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        effective_host(&uri.parse().unwrap(), &headers, version)
            .map(|authority| authority.as_str().to_owned())
    }

    #[test]
    fn absolute_form_wins_over_host_in_http_1() {
        let found = host_of("http://a.example/x", &["b.example"], Version::HTTP_11);
        assert_eq!(found.as_deref(), Ok("a.example"));
    }

    #[test]
    fn host_and_authority_must_agree_in_http_2() {
        let uri = "http://a.example/x";
        assert_eq!(
            host_of(uri, &["b.example"], Version::HTTP_2),
            Err(BadAuthority::Mismatch)
        );
        assert!(host_of(uri, &["A.example"], Version::HTTP_2).is_ok());
        assert!(host_of(uri, &[], Version::HTTP_2).is_ok());
        assert!(host_of("/x", &["a.example"], Version::HTTP_2).is_ok());
    }

    #[test]
    fn two_hosts_are_refused_even_if_equal() {
        assert_eq!(
            host_of("/", &["a", "a"], Version::HTTP_11),
            Err(BadAuthority::Repeated)
        );
    }

    #[test]
    fn only_http_1_0_may_name_no_host() {
        assert_eq!(host_of("/", &[], Version::HTTP_10), Ok(String::new()));
        assert_eq!(
            host_of("/", &[], Version::HTTP_11),
            Err(BadAuthority::Missing)
        );
        assert_eq!(
            host_of("/", &[], Version::HTTP_2),
            Err(BadAuthority::Missing)
        );
    }

    #[test]
    fn user_information_and_odd_characters_are_refused() {
        for text in [
            "",
            "u@a",
            "u:p@a",
            "a b",
            "a,b",
            "a/b",
            ":80",
            "a:80:80",
            "a:+1",
            "a:65536",
            "[::1",
            "[zz]",
            "[::1]x",
            "a:000080",
            "a%2eb",
            "[::1%25eth0]",
        ] {
            assert_eq!(
                Authority::parse(text),
                Err(BadAuthority::Malformed),
                "{text}"
            );
        }
        assert_eq!(
            host_of("http://user@a.example/", &[], Version::HTTP_11),
            Err(BadAuthority::Malformed)
        );
    }

    #[test]
    fn routing_ignores_port_letter_case_and_the_root_dot() {
        for (text, host, port) in [
            ("A.Example:8080", "a.example", Some(8080)),
            ("a.example.", "a.example", None),
            ("a.example:", "a.example", None),
            ("[::1]:443", "[::1]", Some(443)),
        ] {
            let authority = Authority::parse(text).unwrap();
            assert_eq!(authority.routing_host(), host);
            assert_eq!(authority.port(), port);
        }
    }

    #[test]
    fn a_lower_case_host_is_not_copied() {
        let authority = Authority::parse("a.example:1").unwrap();
        assert!(matches!(authority.routing_host(), Cow::Borrowed(_)));
    }

    #[test]
    fn exactly_one_host_is_forwarded() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("b"));
        headers.append(HOST, HeaderValue::from_static("a"));
        pin_host(&Uri::from_static("http://a/x"), &mut headers);
        let hosts: Vec<_> = headers.get_all(HOST).iter().collect();
        assert_eq!(hosts, ["a"]);
    }
}
