//! How fast a CDN may be asked.

/// A token bucket: so many requests in a period, up to `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    rate: u64,
    period_ms: u64,
    /// Tokens times `period_ms`, so that no part of one is lost.
    filled: u64,
    full: u64,
    filled_ms: u64,
}

impl TokenBucket {
    /// Full. `rate` requests in `period_ms`; zeroes count as one.
    pub fn new(rate: u32, period_ms: u32, burst: u32, now_ms: u64) -> Self {
        let period_ms = u64::from(period_ms.max(1));
        let full = u64::from(burst.max(1)) * period_ms;
        Self {
            rate: rate.max(1).into(),
            period_ms,
            filled: full,
            full,
            filled_ms: now_ms,
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    ///
    /// After how many milliseconds there is one.
    pub fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        self.fill(now_ms);
        match self.filled.checked_sub(self.period_ms) {
            Some(left) => {
                self.filled = left;
                Ok(())
            }
            None => Err((self.period_ms - self.filled).div_ceil(self.rate)),
        }
    }

    /// The CDN said that it was too much: nothing for that long.
    pub fn pause(&mut self, now_ms: u64, pause_ms: u64) {
        self.filled = 0;
        self.filled_ms = now_ms.saturating_add(pause_ms);
    }

    fn fill(&mut self, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms);
        let more = elapsed_ms.saturating_mul(self.rate);
        self.filled = self.filled.saturating_add(more).min(self.full);
        self.filled_ms = self.filled_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many tries, one each millisecond, were let through.
    fn taken(bucket: &mut TokenBucket, from_ms: u64, tries: u64) -> u64 {
        (from_ms..from_ms + tries)
            .filter(|now| bucket.take(*now).is_ok())
            .count() as u64
    }

    #[test]
    fn a_burst_goes_at_once_and_then_the_rate_holds() {
        let mut bucket = TokenBucket::new(10, 1_000, 5, 0);
        assert_eq!((0..9).filter(|_| bucket.take(0).is_ok()).count(), 5);
        assert_eq!(taken(&mut bucket, 1, 10_000), 100);
        let mut rested = bucket;
        assert_eq!(taken(&mut rested, 1_000_000, 1), 1);
        assert_eq!((0..9).filter(|_| rested.take(1_000_000).is_ok()).count(), 4);
    }

    #[test]
    fn the_wait_that_is_told_is_enough_and_no_more() {
        // Five a minute, as the smallest plans have it.
        let mut bucket = TokenBucket::new(5, 60_000, 1, 100);
        assert_eq!(bucket.take(100), Ok(()));
        assert_eq!(bucket.take(100), Err(12_000));
        assert_eq!(bucket.take(12_099), Err(1));
        assert_eq!(bucket.take(12_100), Ok(()));
    }

    #[test]
    fn a_rate_that_does_not_divide_its_period_loses_nothing() {
        let mut bucket = TokenBucket::new(7, 1_000, 2, 0);
        assert_eq!(taken(&mut bucket, 0, 100_001), 702);
    }

    #[test]
    fn after_too_much_nothing_goes_for_as_long_as_was_said() {
        let mut bucket = TokenBucket::new(10, 1_000, 5, 0);
        bucket.pause(0, 5_000);
        assert!((0..5_100).all(|now| bucket.take(now).is_err()));
        assert_eq!(bucket.take(5_100), Ok(()));
    }

    #[test]
    fn no_time_and_no_rate_overflows() {
        let mut bucket = TokenBucket::new(0, 0, 0, u64::MAX);
        bucket.pause(u64::MAX, u64::MAX);
        assert!(bucket.take(0).is_err());
        let mut bucket = TokenBucket::new(u32::MAX, u32::MAX, u32::MAX, 0);
        assert_eq!(bucket.take(u64::MAX), Ok(()));
    }
}
