//! What a node shows to a control server.

use std::fmt;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::error::InvalidServer;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a node shows to a control server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    #[default]
    None,
    /// An API key, in the header `X-API-Key`: in the query it would break most routes.
    ApiKey(Secret),
    /// A user name and a password (RFC 7617).
    Basic {
        /// The user; holds no colon.
        user: String,
        /// The password.
        password: Secret,
    },
}

impl Credential {
    /// The header that shows it, marked as not to be logged.
    pub(super) fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>, InvalidServer> {
        let (name, what, text) = match self {
            Self::None => return Ok(None),
            Self::ApiKey(key) => (API_KEY, "API key", key.0.clone()),
            Self::Basic { user, .. } if user.contains(':') => return Err(InvalidServer::User),
            Self::Basic { user, password } => {
                let pair = format!("{user}:{}", password.0);
                (
                    AUTHORIZATION,
                    "password",
                    format!("Basic {}", base64(pair.as_bytes())),
                )
            }
        };
        let mut value = HeaderValue::from_str(&text)
            .ok()
            .filter(|value| !value.is_empty())
            .ok_or(InvalidServer::Credential(what))?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or_default());
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            match i <= chunk.len() {
                true => {
                    let index = (word >> (18 - 6 * i)) & 0x3f;
                    text.push(char::from(ALPHABET[index as usize]));
                }
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_of_base64_hold() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn a_secret_is_shown_nowhere() {
        let key = Credential::ApiKey("hunter2".into());
        let basic = Credential::Basic {
            user: "me".into(),
            password: "hunter2".into(),
        };
        for credential in [key, basic] {
            let (_, header) = credential.header().unwrap().unwrap();
            let shown = format!("{credential:?} {header:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(!shown.contains("bWU6"), "encoded: {shown}");
        }
    }

    #[test]
    fn a_credential_that_no_header_can_carry_is_refused_without_showing_it() {
        let broken = Credential::ApiKey("hunter2\r\nX: y".into());
        let error = broken.header().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(Credential::ApiKey("".into()).header().is_err());
        let user = "a:b".into();
        let password = "c".into();
        assert!(Credential::Basic { user, password }.header().is_err());
    }
}
