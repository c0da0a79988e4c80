//! How often something is asked for.

/// Rates are of the last such many milliseconds.
pub const WINDOW_MS: u64 = 10_000;
/// A rate of less than this is none, in milliseconds: two requests at once are no load.
pub const WINDOW_MIN_MS: u64 = 100;

/// Requests of one key within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    started_ms: u64,
}

impl Rate {
    /// The first request.
    pub fn new(now_ms: u64) -> Self {
        Self { started_ms: now_ms }
    }

    /// One more request.
    pub fn count(&mut self, now_ms: u64) {
        panic!("not written yet: {now_ms} {}", self.started_ms)
    }

    /// Requests in 1,000 seconds (millirequests a second); 0 until it was watched for [`WINDOW_MIN_MS`].
    pub fn per_kilosecond(&self, now_ms: u64) -> u64 {
        panic!("not written yet: {now_ms}")
    }
}
