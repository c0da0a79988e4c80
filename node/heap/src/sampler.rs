//! The one sampler of the process: what rate is in force, and where samples go.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use weir_core::heap::stands_for;

use crate::countdown::Busy;
use crate::live::{Entry, Live};
use crate::stacks::{DEPTH_MAX, Stacks};

/// Sampled allocations that are told apart, times 8: at 512 KiB between two samples, 16 GiB of them.
const BUCKETS: usize = 4_096;
/// Stacks that are told apart.
const STACKS: usize = 4_096;

/// On lines of cache that nothing else is on, because each allocation of each core reads it.
#[repr(align(128))]
struct Rate {
    in_force: AtomicU64,
    /// Whether anything was ever sampled.
    has_sampled: AtomicBool,
}

static RATE: Rate = Rate {
    in_force: AtomicU64::new(0),
    has_sampled: AtomicBool::new(false),
};

/// The sampler of [`crate::Sampled`].
pub(crate) static SAMPLER: Sampler = Sampler::new();

/// What is in force: 0 samples nothing.
#[inline]
pub(crate) fn rate() -> u64 {
    RATE.in_force.load(Ordering::Relaxed)
}

/// Whether there may be samples. It is set before a sample is handed out, so whoever has one sees it.
#[inline]
pub(crate) fn has_sampled() -> bool {
    RATE.has_sampled.load(Ordering::Relaxed)
}

pub(crate) fn set_rate(rate: u64) {
    RATE.in_force.store(rate, Ordering::Relaxed);
}

/// Samples. All of it is memory that is never touched while nothing is sampled.
pub(crate) struct Sampler<const LIVE: usize = BUCKETS, const PLACES: usize = STACKS> {
    pub(crate) live: Live<LIVE>,
    pub(crate) stacks: Stacks<PLACES>,
    /// Counted up as a window begins and as it ends.
    pub(crate) window: AtomicU32,
    pub(crate) dropped: AtomicU64,
}

impl<const LIVE: usize, const PLACES: usize> Sampler<LIVE, PLACES> {
    pub(crate) const fn new() -> Self {
        Self {
            live: Live::new(),
            stacks: Stacks::new(),
            window: AtomicU32::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Takes a sample of what was just allocated, with the stack of whoever calls.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_sample(&self, address: usize, size: usize, rate: u64) {
        let Some(_busy) = Busy::begin() else {
            return;
        };
        if !has_sampled() {
            RATE.has_sampled.store(true, Ordering::Relaxed);
        }
        let mut calls = [0; DEPTH_MAX];
        let depth = crate::unwind::calls(&mut calls);
        let entry = Entry {
            size: size as u64,
            rate,
            stack: self.stacks.place(calls.get(..depth).unwrap_or_default()),
            window: self.window.load(Ordering::Relaxed),
        };
        self.keep(address, entry);
    }

    /// Counts a sample, and keeps it if there is a place.
    pub(crate) fn keep(&self, address: usize, entry: Entry) {
        let times = stands_for(entry.size, entry.rate);
        self.stacks.count(entry.stack, entry.size, times);
        if !self.live.put(address, entry) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_core::heap::rate;

    use super::*;

    #[test]
    fn a_full_table_drops_samples_and_counts_them_and_what_was_allocated_in_all_is_whole() {
        let sampler = Sampler::<1, 2>::new();
        let entry = Entry {
            size: 1 << 30,
            rate: rate(0),
            stack: sampler.stacks.place(&[1, 2]),
            window: 0,
        };
        for at in 1..=20 {
            sampler.keep(at << 12, entry);
        }
        assert_eq!(sampler.dropped.load(Ordering::Relaxed), 12);
        let bytes: u64 = sampler.stacks.sums().iter().map(|sum| sum.bytes).sum();
        assert_eq!(bytes, 20 << 30);
        assert!(sampler.live.take(1 << 12).is_some());
        sampler.keep(21 << 12, entry);
        assert_eq!(sampler.dropped.load(Ordering::Relaxed), 12);
    }
}
