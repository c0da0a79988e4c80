//! Tokens as they are kept and compared.

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

/// What is kept of a token. Two are compared to their ends, and how long that takes says nothing of a token, because
/// nobody chooses its digest.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TokenDigest([u8; SHA256_OUTPUT_LEN]);

impl TokenDigest {
    pub(crate) fn of(token: &str) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Whether it is that of the token that somebody shows.
    pub(crate) fn is_of(&self, shown: &str) -> bool {
        let shown = Self::of(shown);
        let pairs = self.0.iter().zip(&shown.0);
        pairs.fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_its_own_token_alone_and_shows_nothing() {
        let digest = TokenDigest::of("s3cret");
        assert!(digest.is_of("s3cret"));
        for wrong in ["", "s3cre", "s3crett", "S3CRET"] {
            assert!(!digest.is_of(wrong), "{wrong}");
        }
        assert_eq!(format!("{digest:?}"), "TokenDigest(***)");
    }
}
