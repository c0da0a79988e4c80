//! How fast a CDN may be asked.

/// A token bucket: `rate` in a period, `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    burst: u32,
}

impl TokenBucket {
    /// Full. `rate` requests in `period_ms`; zeroes count as one.
    pub fn new(rate: u32, period_ms: u64, burst: u32, now_ms: u64) -> Self {
        let _ = (rate, period_ms, now_ms);
        Self { burst }
    }

    /// Takes one token.
    ///
    /// # Errors
    ///
    /// After how many milliseconds there is one.
    pub fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        panic!("not written yet: {now_ms} {}", self.burst)
    }
}
