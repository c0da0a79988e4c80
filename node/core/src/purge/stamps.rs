//! The newest purge of everything.

use std::sync::Arc;

use super::{Hlc, Purge};

/// What purges say of an entry; a later variant is stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// No purge is of it.
    Valid,
    /// Purged softly: stale, whatever its lifetime says. May be served as stale responses may.
    Stale,
    /// The purge that would tell may be forgotten: to be validated with the origin before it is used, never served stale.
    Unsure,
    /// Purged: never to be served; its validator is of no use.
    Gone,
}

/// What of an entry purges are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'a> {
    /// [`super::namespace_id`].
    pub namespace: u64,
    /// [`super::key_id`], of the key without variants.
    pub key: u64,
    /// [`super::host_id`].
    pub host: u64,
    /// The path, as in the key.
    pub path: &'a str,
    /// [`super::tag_id`] of each.
    pub tags: &'a [u64],
    /// When its fetch began, not when it ended.
    pub at: Hlc,
}

/// How many purges are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampLimits {
    /// Keys.
    pub keys_max: usize,
    /// Tags.
    pub tags_max: usize,
    /// Prefixes, hosts and namespaces together.
    pub wide_max: usize,
}

impl Default for StampLimits {
    fn default() -> Self {
        Self {
            keys_max: 1_000_000,
            tags_max: 1_000_000,
            wide_max: 1_024,
        }
    }
}

/// The newest purge of everything, as of when it was published and of what its writer adds.
#[derive(Debug)]
pub struct Stamps {}

impl Stamps {
    /// What purges say of an entry. Takes no lock and allocates nothing.
    pub fn verdict(&self, entry: &Fetched<'_>) -> Verdict {
        panic!("not written yet: {entry:?}")
    }

    /// Changes with every purge. An entry that was [`Verdict::Valid`] after this was read is so while it is the same, so
    /// that a hit may compare one number. Compare for equality only.
    pub fn version(&self) -> u64 {
        panic!("not written yet")
    }
}

/// What merging a purge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Whether anything is purged that was not.
    pub changed: bool,
    /// Whether [`StampWriter::stamps`] is another one now and is to be published before the purge is acknowledged.
    pub republish: bool,
}

/// The one who writes.
#[derive(Debug)]
pub struct StampWriter {
    published: Arc<Stamps>,
}

impl StampWriter {
    /// Nothing is purged.
    pub fn new(limits: StampLimits) -> Self {
        panic!("not written yet: {limits:?}")
    }

    /// What readers are to read.
    pub fn stamps(&self) -> Arc<Stamps> {
        Arc::clone(&self.published)
    }

    /// Takes a purge, of this node or of another one. Any order and any number of times comes to the same.
    pub fn merge(&mut self, purge: &Purge) -> Merged {
        panic!("not written yet: {purge:?}")
    }

    /// Purges are missing: whatever was fetched at that time or before is [`Verdict::Unsure`].
    pub fn raise_floor(&mut self, at: Hlc) {
        panic!("not written yet: {at:?}")
    }
}
