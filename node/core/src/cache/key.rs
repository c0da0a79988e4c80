//! The primary key of a response (RFC 9111 section 2).

use std::borrow::Cow;

use thiserror::Error;

use crate::proxy::{Authority, Scheme};

/// Bytes of the longest key.
pub const KEY_BYTES_MAX: usize = 8 << 10;

/// What a request is for, as the client sees it and as it is sent to the origin.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Namespace of the cache, usually the route's.
    pub namespace: &'a str,
    /// How the client reached the node.
    pub scheme: Scheme,
    /// `host[:port]` as the client wrote it.
    pub authority: &'a str,
    /// Path and query exactly as they are sent to the origin.
    pub path_and_query: &'a str,
}

/// The primary key of a response; GET and HEAD have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

/// The key would be longer than [`KEY_BYTES_MAX`]; the request passes by the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the key has {bytes} bytes, more than {KEY_BYTES_MAX}")]
pub struct KeyTooLong {
    /// How long it would be.
    pub bytes: usize,
}

impl Key {
    /// The key of a target: namespace, scheme, authority in its canonical form (lower case, without the scheme's
    /// own port and the root's dot), path and query.
    ///
    /// # Errors
    /// [`KeyTooLong`].
    pub fn of(target: &Target<'_>) -> Result<Self, KeyTooLong> {
        Self::of_in(target, String::new())
    }

    /// The same in the memory of a key that nobody needs any more ([`Key::into_text`]); nothing is allocated if it
    /// fits.
    ///
    /// # Errors
    /// [`KeyTooLong`].
    pub fn of_in(target: &Target<'_>, mut text: String) -> Result<Self, KeyTooLong> {
        let scheme = target.scheme.as_str();
        let (host, port) = canonical(target.scheme, target.authority);
        let mut digits = [0; PORT_BYTES_MAX];
        let port = port.map_or("", |port| port_text(port, &mut digits));
        let parts = [
            target.namespace,
            "\n",
            scheme,
            "://",
            &host,
            port,
            target.path_and_query,
        ];
        let bytes = parts.iter().map(|part| part.len()).sum();
        if bytes > KEY_BYTES_MAX {
            return Err(KeyTooLong { bytes });
        }
        text.clear();
        text.reserve_exact(bytes);
        parts.iter().for_each(|part| text.push_str(part));
        Ok(Self(text))
    }

    /// The text, whose memory the next key may take.
    pub fn into_text(self) -> String {
        self.0
    }

    /// The key of a value that an application puts under a name, which no request has.
    ///
    /// # Errors
    /// [`KeyTooLong`].
    pub fn of_value(namespace: &str, name: &str) -> Result<Self, KeyTooLong> {
        let text = [namespace, "\nvalue:", name].concat();
        match text.len() <= KEY_BYTES_MAX {
            true => Ok(Self(text)),
            false => Err(KeyTooLong { bytes: text.len() }),
        }
    }

    /// The key as text; whole keys are compared, hashes only find them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace, which may not hold a line feed.
    pub fn namespace(&self) -> &str {
        self.0
            .split_once('\n')
            .map_or("", |(namespace, _)| namespace)
    }

    /// The URI, whose beginnings prefixes of purges are compared with.
    pub fn uri(&self) -> &str {
        self.0
            .split_once('\n')
            .map_or(self.as_str(), |(_, uri)| uri)
    }
}

/// Bytes of the longest [`port_text`].
const PORT_BYTES_MAX: usize = ":65535".len();

/// `:` and the port.
fn port_text(port: u16, digits: &mut [u8; PORT_BYTES_MAX]) -> &str {
    let mut begin = PORT_BYTES_MAX;
    let mut rest = port;
    loop {
        begin -= 1;
        digits[begin] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    begin -= 1;
    digits[begin] = b':';
    std::str::from_utf8(&digits[begin..]).unwrap_or_default()
}

/// Host and port as all spellings of one authority have them, no port if it is the scheme's own; what is no authority
/// is only put in lower case.
pub(super) fn canonical(scheme: Scheme, authority: &str) -> (Cow<'_, str>, Option<u16>) {
    let Ok(parsed) = Authority::parse(authority) else {
        return (Cow::Owned(authority.to_ascii_lowercase()), None);
    };
    let own_port = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let port = parsed.port().filter(|port| *port != own_port);
    (parsed.routing_host(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scheme: Scheme, authority: &str, path_and_query: &str) -> String {
        let target = Target {
            namespace: "shop",
            scheme,
            authority,
            path_and_query,
        };
        Key::of(&target).unwrap().as_str().to_owned()
    }

    #[test]
    fn spellings_of_one_authority_have_one_key() {
        let expected = "shop\nhttps://a.example/p?q";
        for authority in [
            "a.example",
            "A.Example",
            "a.example:443",
            "a.example.",
            "a.example.:443",
            "a.example:",
        ] {
            assert_eq!(
                key(Scheme::Https, authority, "/p?q"),
                expected,
                "{authority}"
            );
        }
    }

    #[test]
    fn what_a_client_or_origin_tells_apart_has_other_keys() {
        let plain = key(Scheme::Https, "a.example", "/p?q");
        for other in [
            key(Scheme::Http, "a.example", "/p?q"),
            key(Scheme::Https, "a.example:80", "/p?q"),
            key(Scheme::Https, "b.example", "/p?q"),
            key(Scheme::Https, "a.example", "/P?q"),
            key(Scheme::Https, "a.example", "/p?Q"),
            key(Scheme::Https, "a.example", "/p"),
            key(Scheme::Https, "a.example", "/p?"),
            key(Scheme::Https, "a.example", "/%70?q"),
        ] {
            assert_ne!(plain, other);
        }
    }

    #[test]
    fn ports_are_written_in_full() {
        for port in [1, 9, 10, 81, 8_080, 65_535] {
            let expected = format!("shop\nhttp://a.example:{port}/");
            let authority = format!("A.example:{port}");
            assert_eq!(key(Scheme::Http, &authority, "/"), expected);
        }
    }

    #[test]
    fn a_key_takes_the_memory_of_one_before() {
        let target = |path_and_query| Target {
            namespace: "shop",
            scheme: Scheme::Http,
            authority: "a.example",
            path_and_query,
        };
        let first = Key::of(&target("/a/longer/one")).unwrap().into_text();
        let (place, capacity) = (first.as_ptr(), first.capacity());
        let second = Key::of_in(&target("/short"), first).unwrap();
        assert_eq!(second.as_str(), "shop\nhttp://a.example/short");
        assert_eq!(second, Key::of(&target("/short")).unwrap());
        let second = second.into_text();
        assert_eq!((second.as_ptr(), second.capacity()), (place, capacity));
        let third = "x".repeat(100);
        let third = format!("/{third}");
        assert!(
            Key::of_in(&target(&third), second)
                .unwrap()
                .as_str()
                .ends_with(&third)
        );
    }

    #[test]
    fn a_key_is_bounded() {
        let path = format!("/{}", "a".repeat(KEY_BYTES_MAX));
        let target = Target {
            namespace: "",
            scheme: Scheme::Http,
            authority: "a",
            path_and_query: &path,
        };
        let bytes = 1 + "http://a".len() + path.len();
        assert_eq!(Key::of(&target), Err(KeyTooLong { bytes }));
        let fits = &path[..path.len() - (bytes - KEY_BYTES_MAX)];
        let target = Target {
            path_and_query: fits,
            ..target
        };
        assert_eq!(Key::of(&target).unwrap().uri().len(), KEY_BYTES_MAX - 1);
    }
}
