//! Bearer tokens: 256 random bits, of which only the SHA-256 is kept.
//!
//! [`Tokens`] creates, lists and revokes them in the store; [`TokenTable`] is the copy in memory that every
//! request is looked up in. A bare hash is enough, without salt or stretching: what has 256 random bits cannot
//! be guessed from it.

mod bootstrap;
mod manage;
mod plan;
mod table;

use std::fmt;

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use super::secret::Secret;
use crate::keys::{Key, Keys};

pub use bootstrap::{Admins, BOOTSTRAP_NAME, BootstrapError, Bootstrapped};
pub use manage::{Error, TABLE_LIMIT, Tokens};
pub(crate) use plan::roles;
pub use plan::{NewToken, TTL_MS_MAX, TTL_MS_MIN};
pub use table::{TokenRefused, TokenTable};

/// Most tokens at one time.
pub const TOKENS_MAX: usize = 10_000;
/// What every token begins with, so that people and scanners know it when they see it.
pub const TOKEN_PREFIX: &str = "weir_";
const SECRET_BYTES: usize = 32;

/// Names a token without giving it away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token, if the text has the form of one.
    pub fn of(token: &str) -> Option<Self> {
        let digits = token.strip_prefix(TOKEN_PREFIX)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 2 * SECRET_BYTES || !digits.bytes().all(is_digit) {
            return None;
        }
        let mut hash = Self([0; 32]);
        hash.0
            .copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Some(hash)
    }

    fn key(&self, keys: &Keys) -> Bytes {
        let hash = self.to_string();
        keys.of(&Key::Token { hash: &hash })
            .expect("digits are a name that may stand in a key")
    }

    fn of_key(keys: &Keys, key: &[u8]) -> Option<Self> {
        let Key::Token { hash: text } = keys.parse(key)? else {
            return None;
        };
        let digits = text.as_bytes();
        let mut hash = Self([0; 32]);
        if digits.len() != 2 * hash.0.len() {
            return None;
        }
        for (byte, digits) in hash.0.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        // One key for each hash: other forms of the same digits do not count.
        (hash.to_string() == text).then_some(hash)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

/// A new token.
fn fresh() -> Result<Secret, Error> {
    let bits: [u8; SECRET_BYTES] = random()?;
    Ok(Secret::new(format!("{TOKEN_PREFIX}{}", hex(&bits))))
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::Randomness)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_form_and_a_hash() {
        let (one, other) = (fresh().unwrap(), fresh().unwrap());
        assert_ne!(one, other);
        let hash = TokenHash::of(one.expose()).unwrap();
        assert_ne!(Some(hash), TokenHash::of(other.expose()));
        assert!(!format!("{hash} {hash:?} {one:?}").contains(&one.expose()[5..]));
        let upper = one.expose().to_uppercase();
        for text in ["", "weir_", "weir_12", &one.expose()[5..], &*upper] {
            assert_eq!(TokenHash::of(text), None, "{text}");
        }
    }

    #[test]
    fn a_hash_is_read_back_from_its_key() {
        let hash = TokenHash::of(fresh().unwrap().expose()).unwrap();
        let (keys, others) = (Keys::new("default").unwrap(), Keys::new("other").unwrap());
        let key = hash.key(&keys);
        assert_eq!(TokenHash::of_key(&keys, &key), Some(hash));
        assert_eq!(TokenHash::of_key(&others, &key), None);
        assert_eq!(TokenHash::of_key(&keys, &key[..key.len() - 1]), None);
        let signed = [&key[..key.len() - 2], b"+1"].concat();
        assert_eq!(TokenHash::of_key(&keys, &signed), None);
    }
}
