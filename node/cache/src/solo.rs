//! What cannot be shared, so that nobody waits for a fetch whose answer is not for them ("hit for miss").

use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;
use weir_core::cache::UnixMs;

const KEYS_MAX: usize = 100_000;

/// Keys whose responses were not shared lately.
#[derive(Debug)]
pub(crate) struct Solo(Cache<Box<[u8]>, UnixMs, UnitWeighter>);

impl Solo {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(
            KEYS_MAX,
            KEYS_MAX as u64,
            UnitWeighter,
        ))
    }

    pub(crate) fn remember(&self, id: &[u8], until: UnixMs) {
        self.0.insert(id.into(), until);
    }

    pub(crate) fn forget(&self, id: &[u8]) {
        self.0.remove(id);
    }

    pub(crate) fn contains(&self, id: &[u8], now: UnixMs) -> bool {
        self.0.get(id).is_some_and(|until| now < until)
    }
}
