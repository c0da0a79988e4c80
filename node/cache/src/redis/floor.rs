//! What in Redis may no longer be believed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Values fetched before this are not to be believed: a purge that concerns them may not have reached Redis. It only
/// rises.
#[derive(Debug, Default)]
pub(super) struct TrustFloor(AtomicU64);

impl TrustFloor {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn raise(&self, stamp: u64) {
        self.0.fetch_max(stamp, Ordering::AcqRel);
    }
}
