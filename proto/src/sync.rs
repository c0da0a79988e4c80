//! Hashes that both ends of a node's stream compute.

use ring::digest::{SHA256, digest};

/// Names a content, or the content of a whole set.
pub type ContentHash = [u8; 16];

/// Names a payload: the first 16 bytes of its SHA-256.
pub fn content_hash(payload: &[u8]) -> ContentHash {
    let digest = digest(&SHA256, payload);
    let mut hash = ContentHash::default();
    hash.copy_from_slice(&digest.as_ref()[..16]);
    hash
}

/// The hash of a set of named resources. It does not depend on their order, and adding or removing one resource
/// changes it by [`toggle`] alone.
pub fn set_hash<'a>(resources: impl IntoIterator<Item = (&'a str, ContentHash)>) -> ContentHash {
    let mut hash = ContentHash::default();
    for (name, content) in resources {
        toggle(&mut hash, name, content);
    }
    hash
}

/// Adds a resource to a set's hash, or takes it out again.
pub fn toggle(set: &mut ContentHash, name: &str, content: ContentHash) {
    let member = content_hash(&[name.as_bytes(), &[0], &content].concat());
    for (byte, other) in set.iter_mut().zip(member) {
        *byte ^= other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_known_by_its_members_in_any_order() {
        let (a, b) = (content_hash(b"a"), content_hash(b"b"));
        let mut set = set_hash([("x", a), ("y", b)]);
        assert_eq!(set, set_hash([("y", b), ("x", a)]));
        assert_ne!(set, set_hash([("x", b), ("y", a)]));
        toggle(&mut set, "x", a);
        assert_eq!(set, set_hash([("y", b)]));
    }
}
