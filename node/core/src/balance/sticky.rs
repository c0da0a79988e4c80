//! Sticky sessions: a cookie keeps a client at its backend, and no node remembers anything.
//!
//! The cookie says which backend by a keyed hash, so that it gives no address away and every node
//! that knows the secret reads it alike.

use std::time::Duration;

use super::hash::keyed_hash;
use crate::ids::{BackendId, ServiceName};

/// How long a client stays with its backend unless configured otherwise.
pub const DEFAULT_TTL: Duration = Duration::from_secs(3_600);

const HEX_DIGITS: usize = 16;
/// Keeps the hashes of service names apart from those of backends.
const SECRET_DOMAIN: u64 = u64::from_le_bytes(*b"weir-sec");

/// The cookie name cannot be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cookie name {0:?} is not a token: letters, digits and !#$%&'*+-.^_`|~ only")]
pub struct BadCookieName(pub String);

/// The opaque name of a backend in the cookies of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendTag(u64);

/// The sticky sessions of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    cookie_name: String,
    ttl: Duration,
    secret: u64,
}

impl Sticky {
    /// Sticky sessions under a cookie of that name, each for `ttl` (whole seconds count) from when
    /// it is issued. All nodes of a service need the same `secret`.
    ///
    /// # Errors
    /// When the name is not a token by RFC 9110.
    pub fn new(
        cookie_name: impl Into<String>,
        ttl: Duration,
        secret: u64,
    ) -> Result<Self, BadCookieName> {
        let cookie_name = cookie_name.into();
        if cookie_name.is_empty() || !cookie_name.bytes().all(is_token_byte) {
            return Err(BadCookieName(cookie_name));
        }
        Ok(Self {
            cookie_name,
            ttl,
            secret,
        })
    }

    /// A secret for a service that has none configured. It hides addresses from a casual reader,
    /// not from one who knows this function and the name.
    pub fn secret_of(service: &ServiceName) -> u64 {
        keyed_hash(SECRET_DOMAIN, 0, service.as_str().as_bytes())
    }

    /// The name of the cookie.
    pub fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    /// How long a cookie holds.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The name of a backend in cookies. Depends on nothing but its id, so it can be worked out
    /// once per snapshot instead of once per request.
    pub fn tag(&self, backend: &BackendId) -> BackendTag {
        BackendTag(keyed_hash(self.secret, 1, backend.as_str().as_bytes()))
    }

    /// The value of a new cookie for that backend; `now_unix` in seconds.
    pub fn issue(&self, backend: BackendTag, now_unix: u64) -> String {
        let expires_unix = now_unix.saturating_add(self.ttl.as_secs());
        let mask = self.expiry_mask(backend);
        format!("{:016x}{:016x}", backend.0, expires_unix ^ mask)
    }

    /// The index of the backend a cookie value names; `now_unix` in seconds.
    ///
    /// `None` when the cookie is expired, not ours, or names a backend that is not listed: list
    /// those that take work, of any tier and weight (zero too), pick anew and issue a new cookie.
    pub fn find(&self, value: &str, taking_work: &[BackendTag], now_unix: u64) -> Option<usize> {
        let (tag, expiry) = value.split_at_checked(HEX_DIGITS)?;
        let tag = BackendTag(parse_hex(tag)?);
        let expires_unix = parse_hex(expiry)? ^ self.expiry_mask(tag);
        if expires_unix <= now_unix {
            return None;
        }
        taking_work.iter().position(|listed| *listed == tag)
    }

    /// The value of a `Set-Cookie` header that carries `value`.
    pub fn set_cookie(&self, value: &str) -> String {
        format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}",
            self.cookie_name,
            self.ttl.as_secs()
        )
    }

    /// Hides when the cookie was made, which is nobody's business but the service's.
    fn expiry_mask(&self, tag: BackendTag) -> u64 {
        keyed_hash(self.secret, 2, &tag.0.to_le_bytes())
    }
}

/// The value of the cookie `name` in the value of a `Cookie` header; the first one counts.
pub fn find_cookie<'h>(header_value: &'h str, name: &str) -> Option<&'h str> {
    header_value.split(';').find_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found.trim() == name).then(|| value.trim())
    })
}

fn parse_hex(digits: &str) -> Option<u64> {
    let canonical = digits.len() == HEX_DIGITS
        && digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    canonical.then(|| u64::from_str_radix(digits, 16).ok())?
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_UNIX: u64 = 1_800_000_000;

    fn sticky() -> Sticky {
        Sticky::new("weir", DEFAULT_TTL, 42).expect("a token")
    }

    fn tags(sticky: &Sticky, ids: &[&str]) -> Vec<BackendTag> {
        ids.iter().map(|&id| sticky.tag(&id.into())).collect()
    }

    #[test]
    fn a_cookie_finds_its_backend_until_it_expires() {
        let sticky = sticky();
        let tags = tags(&sticky, &["a:1", "b:1"]);
        let value = sticky.issue(tags[1], NOW_UNIX);
        assert_eq!(sticky.find(&value, &tags, NOW_UNIX + 3_599), Some(1));
        assert_eq!(sticky.find(&value, &tags, NOW_UNIX + 3_600), None);
    }

    #[test]
    fn a_backend_that_takes_no_work_is_not_found() {
        let sticky = sticky();
        let tags = tags(&sticky, &["a:1", "b:1"]);
        let value = sticky.issue(tags[1], NOW_UNIX);
        assert_eq!(sticky.find(&value, &tags[..1], NOW_UNIX), None);
    }

    #[test]
    fn another_service_does_not_read_the_cookie() {
        let (ours, theirs) = (
            sticky(),
            Sticky::new("weir", DEFAULT_TTL, 43).expect("a token"),
        );
        let value = theirs.issue(theirs.tag(&"a:1".into()), NOW_UNIX);
        assert_eq!(ours.find(&value, &tags(&ours, &["a:1"]), NOW_UNIX), None);
    }

    #[test]
    fn the_cookie_shows_neither_address_nor_expiry() {
        let sticky = sticky();
        let value = sticky.issue(sticky.tag(&"10.0.0.1:80".into()), NOW_UNIX);
        assert!(!value.contains("10.0.0.1"));
        assert!(!value.contains(&format!("{:x}", NOW_UNIX + 3_600)));
    }

    #[test]
    fn the_set_cookie_text_is_complete() {
        assert_eq!(
            sticky().set_cookie("v"),
            "weir=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600"
        );
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let header = "weirdo=1; x=y=z;  weir=2 ; weir=3";
        assert_eq!(find_cookie(header, "weir"), Some("2"));
        assert_eq!(find_cookie(header, "x"), Some("y=z"));
        assert_eq!(find_cookie(header, "eir"), None);
        assert_eq!(find_cookie("", "weir"), None);
    }

    #[test]
    fn a_cookie_name_that_would_break_the_header_is_refused() {
        for name in ["", "a b", "a;b", "a=b", "a\r\nSet-Cookie"] {
            assert!(Sticky::new(name, DEFAULT_TTL, 0).is_err(), "{name:?}");
        }
    }

    #[test]
    fn secrets_differ_between_services() {
        assert_ne!(
            Sticky::secret_of(&"shop".into()),
            Sticky::secret_of(&"cart".into())
        );
    }
}
