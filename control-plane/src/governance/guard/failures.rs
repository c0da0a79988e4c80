//! Counts failed logins and bounds how many are answered in full.

use std::sync::atomic::{AtomicU64, Ordering};

/// Failed logins a second that are explained and logged.
const RATE_PER_S: u64 = 50;
/// As many may come at once.
const BURST: u64 = 50;
const SPACING_MS: u64 = 1000 / RATE_PER_S;

/// A token bucket without a lock: it keeps the time until which its tokens are given away.
#[derive(Debug, Default)]
pub(super) struct Failures {
    spent_until_ms: AtomicU64,
    total: AtomicU64,
}

impl Failures {
    /// Counts one; whether it is within the rate.
    pub(super) fn count(&self, now_unix_ms: u64) -> bool {
        self.total.fetch_add(1, Ordering::Relaxed);
        let ahead_max = BURST * SPACING_MS;
        let spend = |spent_until: u64| {
            // Further ahead than it can be: the wall clock was put back, and the bucket begins anew.
            let is_stale = spent_until > now_unix_ms.saturating_add(ahead_max);
            let spent_until = if is_stale {
                now_unix_ms
            } else {
                spent_until.max(now_unix_ms)
            };
            let next = spent_until.saturating_add(SPACING_MS);
            (next <= now_unix_ms.saturating_add(ahead_max)).then_some(next)
        };
        self.spent_until_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .is_ok()
    }

    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_fifty_a_second_pass() {
        let failures = Failures::default();
        let passed = |at_ms| (0..200).filter(|_| failures.count(at_ms)).count();
        assert_eq!(passed(1_000_000), 50);
        assert_eq!(passed(1_000_100), 5);
        assert_eq!(passed(1_060_000), 50);
        assert_eq!(failures.total(), 600);
    }

    #[test]
    fn a_clock_put_back_does_not_keep_the_bucket_empty() {
        let failures = Failures::default();
        assert!((0..50).all(|_| failures.count(1_000_000)));
        assert!(!failures.count(1_000_000));
        assert!(failures.count(5_000));
    }
}
