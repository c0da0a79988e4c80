//! What is dropped because it is old, or because there is too much.

use std::sync::atomic::Ordering;

use weir_core::broadcast::Limits;
use weir_core::cache::UnixMs;

use super::Topics;

impl Topics {
    /// Drops what is too old, and topics that nobody wants anything of. Once a second is enough.
    pub fn sweep(&self, now: UnixMs) {
        let limits = self.limits.load();
        for lane in &self.lanes {
            let gone = {
                let mut lane = lane.lock();
                lane.sweep(now, &limits.history, &self.account)
            };
            self.topics.fetch_sub(gone, Ordering::Relaxed);
        }
        if self.account.bytes() > limits.retained_bytes_max {
            self.evict(&limits);
        }
    }

    /// Drops the oldest messages of all topics until there is room again, or nothing is kept. What waits in outboxes is
    /// held until it is written or shed.
    pub(super) fn evict(&self, limits: &Limits) {
        let Some(_alone) = self.evicting.try_lock() else {
            return;
        };
        let enough = limits.retained_bytes_max - limits.retained_bytes_max / 32;
        while self.account.bytes() > enough {
            // The lane with the oldest, and up to when it has the oldest of all.
            let mut oldest: Vec<_> = self
                .lanes
                .iter()
                .enumerate()
                .filter_map(|(n, lane)| Some((lane.lock().oldest_at()?, n)))
                .collect();
            oldest.sort_unstable();
            let Some((_, first)) = oldest.first().copied() else {
                return;
            };
            let until = oldest.get(1).map_or(UnixMs::NEVER, |(at, _)| *at);
            let mut lane = self.lanes[first].lock();
            loop {
                lane.evict();
                let next = lane.oldest_at().filter(|at| *at <= until);
                if next.is_none() || self.account.bytes() <= enough {
                    break;
                }
            }
        }
    }
}
