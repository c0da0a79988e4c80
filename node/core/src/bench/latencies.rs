//! Latencies in a histogram of bounded size, fine enough for percentiles.

use std::time::Duration;

/// Buckets of each power of two, as a power of two: a bucket is at most 1/64 wider than what it begins with.
const FINE_BITS: u32 = 6;
/// Everything longer (19 hours) counts as this long.
const LONGEST_BITS: u32 = 36;
const BUCKETS: usize = ((LONGEST_BITS - FINE_BITS + 1) as usize) << FINE_BITS;

/// How long requests took, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    buckets: Box<[u64]>,
    count: u64,
    sum_us: u64,
    max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS].into_boxed_slice(),
            count: 0,
            sum_us: 0,
            max_us: 0,
        }
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let us = us.min((1 << LONGEST_BITS) - 1);
        self.buckets[bucket_of(us)] += 1;
        self.count += 1;
        self.sum_us += us;
        self.max_us = self.max_us.max(us);
    }

    /// Adds all that another one counted.
    pub fn add(&mut self, other: &Self) {
        for (own, others) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += others;
        }
        self.count += other.count;
        self.sum_us += other.sum_us;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many were counted.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The longest; zero when nothing was counted.
    pub const fn max(&self) -> Duration {
        Duration::from_micros(self.max_us)
    }

    /// The mean; zero when nothing was counted.
    pub fn mean(&self) -> Duration {
        Duration::from_micros(self.sum_us.checked_div(self.count).unwrap_or(0))
    }

    /// The latency that this share (0 to 1) of all did not exceed, by nearest rank: at most 1/64 above the exact
    /// one and never below it; zero when nothing was counted.
    pub fn percentile(&self, share: f64) -> Duration {
        if self.count == 0 {
            return Duration::ZERO;
        }
        let rank = (share.clamp(0.0, 1.0) * self.count as f64).ceil() as u64;
        let rank = rank.clamp(1, self.count);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(last_of(bucket).min(self.max_us));
            }
        }
        self.max()
    }
}

fn bucket_of(us: u64) -> usize {
    let Some(coarse) = us
        .checked_ilog2()
        .and_then(|log| log.checked_sub(FINE_BITS))
    else {
        return us as usize;
    };
    let fine = (us >> coarse) as usize - (1 << FINE_BITS);
    ((coarse as usize + 1) << FINE_BITS) + fine
}

/// The largest number of microseconds that a bucket holds.
fn last_of(bucket: usize) -> u64 {
    let (power, fine) = (
        bucket >> FINE_BITS,
        (bucket & ((1 << FINE_BITS) - 1)) as u64,
    );
    match power.checked_sub(1) {
        None => fine,
        Some(coarse) => ((fine + (1 << FINE_BITS) + 1) << coarse) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(all: &[u64]) -> Latencies {
        let mut latencies = Latencies::default();
        for us in all {
            latencies.record(Duration::from_micros(*us));
        }
        latencies
    }

    proptest! {
        #[test]
        fn a_percentile_is_the_exact_one_or_a_little_more(
            mut all in prop::collection::vec(0_u64..200_000_000, 1..200),
            share in 0.0_f64..=1.0,
        ) {
            let latencies = of(&all);
            all.sort_unstable();
            let rank = ((share * all.len() as f64).ceil() as usize).clamp(1, all.len());
            let (exact, told) = (all[rank - 1], latencies.percentile(share).as_micros() as u64);
            prop_assert!(told >= exact && told <= exact + exact / 64, "{told} of {exact}");
        }

        #[test]
        fn parts_together_are_the_whole(
            one in prop::collection::vec(any::<u32>(), 0..50),
            other in prop::collection::vec(any::<u32>(), 0..50),
        ) {
            let wide = |all: &[u32]| all.iter().map(|us| u64::from(*us)).collect::<Vec<_>>();
            let mut sum = of(&wide(&one));
            sum.add(&of(&wide(&other)));
            prop_assert_eq!(sum, of(&wide(&[one, other].concat())));
        }

        #[test]
        fn a_bucket_holds_what_falls_into_it(us in 0_u64..1 << LONGEST_BITS) {
            let bucket = bucket_of(us);
            prop_assert!(bucket < BUCKETS && us <= last_of(bucket));
            prop_assert!(bucket == 0 || us > last_of(bucket - 1));
        }
    }

    #[test]
    fn every_short_latency_falls_into_a_bucket_that_holds_it() {
        for us in 0..20_000 {
            let bucket = bucket_of(us);
            assert!(us <= last_of(bucket), "{us}");
            assert!(bucket == 0 || us > last_of(bucket - 1), "{us}");
        }
    }

    #[test]
    fn nothing_counted_took_no_time() {
        let none = Latencies::default();
        assert_eq!(none.percentile(0.99), Duration::ZERO);
        assert_eq!((none.mean(), none.max()), (Duration::ZERO, Duration::ZERO));
    }
}
