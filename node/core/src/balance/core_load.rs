//! The slot of one core in the load of a backend.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::ewma;

/// Cost bits of a core that has not measured the backend yet; samples are at least 1 ns.
const UNMEASURED: u64 = 0;

/// What one core knows about one backend. Written by that core alone, readable by all.
///
/// Aligned to 128 bytes because common processors fetch cache lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CoreLoad {
    in_flight: AtomicU32,
    pub(super) current_weight: AtomicI64,
    cost_ns_bits: AtomicU64,
    cost_stamp_ns: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    /// Nanoseconds since the epoch, plus one; 0 before the first pick.
    picked_ns: AtomicU64,
}

impl CoreLoad {
    /// Requests this core has sent to the backend that have not ended.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Requests this core has ever started.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Requests of this core that ever ended in [`super::Outcome::Failure`].
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Peak-EWMA cost in nanoseconds as of its last sample; `None` before the first one.
    pub fn cost_ns(&self) -> Option<f64> {
        match self.cost_ns_bits.load(Relaxed) {
            UNMEASURED => None,
            bits => Some(f64::from_bits(bits)),
        }
    }

    /// Time since the last sample, in nanoseconds, at `now_ns` after the epoch of the load.
    pub(super) fn cost_age_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.cost_stamp_ns.load(Relaxed))
    }

    pub(super) fn started(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self) {
        // Saturating, because a wrapped counter would shut the backend out for good.
        let _ = self
            .in_flight
            .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    }

    pub(super) fn picked(&self, now_ns: u64) {
        self.picked_ns.store(now_ns.saturating_add(1), Relaxed);
    }

    /// When it was picked last, in nanoseconds since the epoch of the load.
    pub(super) fn picked_ns(&self) -> Option<u64> {
        self.picked_ns.load(Relaxed).checked_sub(1)
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn sample(&self, now_ns: u64, sample: Duration, decay_ns: u64) {
        let sample_ns = (sample.as_nanos() as f64).max(1.0);
        let cost_ns = self.cost_ns().map_or(sample_ns, |cost_ns| {
            ewma::updated(cost_ns, self.cost_age_ns(now_ns), sample_ns, decay_ns)
        });
        self.cost_ns_bits.store(cost_ns.to_bits(), Relaxed);
        self.cost_stamp_ns.store(now_ns, Relaxed);
    }
}
