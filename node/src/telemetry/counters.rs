//! Counters that one core writes and anyone reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only its own core changes, so that no core ever takes a cache line from another.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `by` more.
    pub fn add(&self, by: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(by),
            Ordering::Relaxed,
        );
    }

    /// One less.
    pub fn decrement(&self) {
        self.0.store(
            self.0.load(Ordering::Relaxed).saturating_sub(1),
            Ordering::Relaxed,
        );
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the latency buckets, in microseconds. The last bucket has no bound.
pub const LATENCY_BUCKETS_US: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 60_000_000,
];

/// The bucket that holds so many microseconds.
pub fn bucket_of(us: u64) -> usize {
    LATENCY_BUCKETS_US.partition_point(|bound| *bound < us)
}

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    buckets: [Counter; LATENCY_BUCKETS_US.len() + 1],
    sum_us: Counter,
}

impl LatencyHistogram {
    /// Counts one duration.
    pub fn observe(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(us)].increment();
        self.sum_us.add(us);
    }

    /// Adds what this one counted to `total`.
    pub fn add_to(&self, total: &mut LatencyTotals) {
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        total.sum_us += self.sum_us.get();
    }
}

/// Histograms of all cores together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyTotals {
    /// Counts by bucket, not cumulative.
    pub buckets: [u64; LATENCY_BUCKETS_US.len() + 1],
    /// Sum of all durations in microseconds.
    pub sum_us: u64,
}

impl LatencyTotals {
    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The mean, zero when nothing was counted.
    pub fn mean(&self) -> Duration {
        Duration::from_micros(self.sum_us.checked_div(self.count()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = LatencyHistogram::default();
        for us in [0, 250, 251, 100_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let mut totals = LatencyTotals::default();
        histogram.add_to(&mut totals);
        assert_eq!(totals.buckets[0], 2);
        assert_eq!(totals.buckets[1], 1);
        assert_eq!(totals.buckets[LATENCY_BUCKETS_US.len()], 1);
        assert_eq!(totals.count(), 4);
        assert_eq!(totals.mean(), Duration::from_micros(100_000_501 / 4));
    }
}
