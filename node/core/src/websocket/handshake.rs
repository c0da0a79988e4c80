//! Whether a request may become a WebSocket, and what is answered (RFC 6455, sections 4.2.1 and 4.2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Method, Version};
use sha1::{Digest as _, Sha1};
use thiserror::Error;

/// The one version that is spoken.
pub const VERSION: &str = "13";
/// Bytes behind a key.
const KEY_BYTES: usize = 16;
/// What every server lays beside a key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request does not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadHandshake {
    /// Another method than GET.
    #[error("method: a WebSocket begins with GET")]
    Method,
    /// HTTP/1.0, or HTTP/2, whose way to WebSockets (RFC 8441) is not spoken.
    #[error("version: a WebSocket begins with HTTP/1.1")]
    HttpVersion,
    /// It does not ask for one.
    #[error("upgrade, connection: have to say websocket and upgrade")]
    NoUpgrade,
    /// A version that is not spoken.
    #[error("sec-websocket-version: only 13 is spoken")]
    Version,
    /// No key, or one that is not 16 bytes in base64.
    #[error("sec-websocket-key: has to be one, of 16 bytes in base64")]
    Key,
    /// None of the subprotocols that it names is spoken.
    #[error("sec-websocket-protocol: none of these is spoken")]
    Protocol,
}

/// A handshake that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// Which of the subprotocols it is; `None` if the client named none.
    pub protocol: Option<usize>,
    /// What is agreed on if messages are to be compressed; `None` if the client offers nothing of that that can be
    /// taken.
    pub deflate: Option<super::Agreed>,
}

/// Looks at a request; `protocols` are spoken, those that the client names first are liked most.
///
/// # Errors
///
/// The first thing about it that does not do.
pub fn handshake(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    protocols: &[&str],
) -> Result<Handshake, BadHandshake> {
    if method != Method::GET {
        return Err(BadHandshake::Method);
    }
    if version != Version::HTTP_11 {
        return Err(BadHandshake::HttpVersion);
    }
    if !names(headers, &UPGRADE, "websocket") || !names(headers, &CONNECTION, "upgrade") {
        return Err(BadHandshake::NoUpgrade);
    }
    if one(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(BadHandshake::Version);
    }
    let key = one(headers, &SEC_WEBSOCKET_KEY).ok_or(BadHandshake::Key)?;
    if STANDARD.decode(key).map_or(0, |bytes| bytes.len()) != KEY_BYTES {
        return Err(BadHandshake::Key);
    }
    Ok(Handshake {
        accept: accept_key(key),
        protocol: choose(headers, protocols)?,
        deflate: super::deflate::answer(headers),
    })
}

/// The value of `Sec-WebSocket-Accept` for a key.
pub fn accept_key(key: &str) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(GUID.as_bytes());
    STANDARD.encode(sha1.finalize())
}

fn choose(headers: &HeaderMap, protocols: &[&str]) -> Result<Option<usize>, BadHandshake> {
    let mut named = list(headers, &SEC_WEBSOCKET_PROTOCOL).peekable();
    if named.peek().is_none() {
        return Ok(None);
    }
    let found = named.find_map(|name| protocols.iter().position(|spoken| *spoken == name));
    found.map(Some).ok_or(BadHandshake::Protocol)
}

/// The value of a field that may be there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

fn names(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name).any(|value| value.eq_ignore_ascii_case(token))
}

pub(super) fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    let values = values.filter_map(|value: &HeaderValue| value.to_str().ok());
    let tokens = values.flat_map(|value| value.split(',')).map(str::trim);
    tokens.filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const SPOKEN: [&str; 2] = ["weir.v1.json", "weir.v1.proto"];

    fn asked(change: &[(&'static str, &'static str)]) -> Result<Handshake, BadHandshake> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in change {
            headers.remove(*name);
            if !value.is_empty() {
                headers.insert(*name, HeaderValue::from_static(value));
            }
        }
        handshake(&Method::GET, Version::HTTP_11, &headers, &SPOKEN)
    }

    #[test]
    fn the_published_example_is_answered() {
        let sound = asked(&[]).unwrap();
        assert_eq!(sound.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(sound.protocol, None);
    }

    #[test]
    fn a_request_that_does_not_do_is_told_why() {
        for (name, value, why) in [
            ("connection", "", BadHandshake::NoUpgrade),
            ("connection", "close", BadHandshake::NoUpgrade),
            ("upgrade", "h2c", BadHandshake::NoUpgrade),
            ("sec-websocket-version", "8", BadHandshake::Version),
            ("sec-websocket-version", "", BadHandshake::Version),
            ("sec-websocket-key", "", BadHandshake::Key),
            ("sec-websocket-key", "c2hvcnQ=", BadHandshake::Key),
            (
                "sec-websocket-key",
                "dGhlIHNhbXBsZSBub25jZQ",
                BadHandshake::Key,
            ),
            (
                "sec-websocket-protocol",
                "mqtt, other",
                BadHandshake::Protocol,
            ),
        ] {
            assert_eq!(asked(&[(name, value)]), Err(why), "{name}: {value}");
        }
        let headers = HeaderMap::new();
        let get = |method, version| handshake(&method, version, &headers, &SPOKEN);
        assert_eq!(
            get(Method::POST, Version::HTTP_11),
            Err(BadHandshake::Method)
        );
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(get(Method::GET, version), Err(BadHandshake::HttpVersion));
        }
    }

    #[test]
    fn two_keys_are_none() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append("sec-websocket-key", HeaderValue::from_static(KEY));
        }
        assert_eq!(one(&headers, &SEC_WEBSOCKET_KEY), None);
    }

    #[test]
    fn the_subprotocol_is_the_first_of_the_clients_that_is_spoken() {
        let chosen = |named| {
            let protocols = [("sec-websocket-protocol", named)];
            asked(&protocols).unwrap().protocol
        };
        assert_eq!(chosen("x, weir.v1.proto, weir.v1.json"), Some(1));
        assert_eq!(chosen("weir.v1.json"), Some(0));
    }
}
