//! What cannot be shared, so that nobody waits for a fetch whose answer is not for them ("hit for miss").

use std::hash::BuildHasher as _;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, UnitWeighter};
use weir_core::cache::{NotStored, UnixMs};

const KEYS_MAX: usize = 100_000;

/// Keys whose responses were not shared lately, by their hashes: whoever is taken for another one only fetches alone.
#[derive(Debug)]
pub(crate) struct Solo {
    until: Cache<u64, (UnixMs, NotStored), UnitWeighter>,
    hasher: DefaultHashBuilder,
}

impl Solo {
    pub(crate) fn new() -> Self {
        Self {
            until: Cache::with_weighter(KEYS_MAX, KEYS_MAX as u64, UnitWeighter),
            hasher: DefaultHashBuilder::default(),
        }
    }

    pub(crate) fn remember(&self, id: &[u8], until: UnixMs, why: NotStored) {
        self.until.insert(self.hasher.hash_one(id), (until, why));
    }

    pub(crate) fn forget(&self, id: &[u8]) {
        self.until.remove(&self.hasher.hash_one(id));
    }

    /// Why the last response was not shared, as long as that is remembered.
    pub(crate) fn why(&self, id: &[u8], now: UnixMs) -> Option<NotStored> {
        let (until, why) = self.until.get(&self.hasher.hash_one(id))?;
        (now < until).then_some(why)
    }
}
