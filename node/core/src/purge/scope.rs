//! What a purge is of.

use std::sync::Arc;

use super::Hlc;
use crate::balance::hash_key;

/// A purge ends what is cached (hard), or lets it be served only as stale (soft).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hardness {
    /// Served while it is revalidated, or when the origin fails.
    Soft,
    /// Never served again.
    Hard,
}

/// What a purge is of. Namespaces, keys, tags and hosts are hashes: two that collide are purged together, which costs a
/// fetch and is never wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One key with all its variants.
    Key(u64),
    /// Whatever carries the tag.
    Tag(u64),
    /// Paths of one host that begin with this text, byte by byte.
    Prefix {
        /// [`host_id`].
        host: u64,
        /// How the path begins.
        path: Arc<str>,
    },
    /// Everything of one host: [`host_id`].
    Host(u64),
    /// Everything of a namespace: [`namespace_id`].
    All(u64),
}

/// One purge: what, how, when and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// What of.
    pub scope: Scope,
    /// How.
    pub hardness: Hardness,
    /// Whatever was fetched at this time or before is purged: [`super::Skew::purge_stamp`]. It may be later than now,
    /// so no clock follows it.
    pub at: Hlc,
    /// The process that made it: a node in one of its lives.
    pub origin: u64,
    /// Which of that process' purges, from 1.
    pub seq: u64,
}

impl Purge {
    /// The purge as a node applies it: what is further ahead of its wall clock than the bound is cut to the bound.
    /// Whatever this node has fetched is purged all the same, and nobody's broken clock makes things uncacheable for
    /// long.
    #[must_use]
    pub fn clamped(mut self, wall_unix_ms: u64, drift_max_ms: u64) -> Self {
        let latest = Hlc::new(
            wall_unix_ms.saturating_add(drift_max_ms),
            u16::MAX,
            u32::MAX,
        );
        self.at = self.at.min(latest);
        self
    }
}

/// The number of a namespace.
pub fn namespace_id(namespace: &str) -> u64 {
    hash_key(namespace.as_bytes())
}

/// The number of a tag of a namespace.
pub fn tag_id(namespace: &str, tag: &str) -> u64 {
    joined(namespace, tag)
}

/// The number of a host of a namespace, whatever its case.
pub fn host_id(namespace: &str, host: &str) -> u64 {
    joined(namespace, &host.to_ascii_lowercase())
}

/// The number of a key of a namespace.
pub fn key_id(namespace: &str, key: &str) -> u64 {
    joined(namespace, key)
}

fn joined(namespace: &str, name: &str) -> u64 {
    let mut bytes = Vec::with_capacity(namespace.len() + name.len() + 1);
    bytes.extend_from_slice(namespace.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(name.as_bytes());
    hash_key(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_two_namespaces_are_two_names() {
        assert_ne!(tag_id("a", "bc"), tag_id("ab", "c"));
        assert_ne!(key_id("a", "/x"), key_id("b", "/x"));
        assert_eq!(host_id("a", "WWW.Example"), host_id("a", "www.example"));
    }

    #[test]
    fn a_purge_from_the_far_future_is_cut_and_not_lost() {
        let purge = |at| Purge {
            scope: Scope::Key(1),
            hardness: Hardness::Hard,
            at,
            origin: 1,
            seq: 1,
        };
        let cut = purge(Hlc::new(9_000_000, 3, 1)).clamped(10_000, 2_000);
        assert_eq!(cut.at.unix_ms(), 12_000);
        let at = Hlc::new(12_000, 3, 1);
        assert_eq!(purge(at).clamped(10_000, 2_000).at, at);
    }
}
