//! How often something is asked for.

/// Rates are of the last such many milliseconds.
pub const WINDOW_MS: u64 = 10_000;
/// In less than this no rate is seen, in milliseconds: two requests at once are no load.
pub const WINDOW_MIN_MS: u64 = 100;

/// Requests of one key within a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    started_ms: u64,
    count: u64,
    /// Of the window before; none: it was not watched then.
    before: Option<u64>,
}

impl Rate {
    /// The first request.
    pub fn new(now_ms: u64) -> Self {
        Self {
            started_ms: now_ms,
            count: 1,
            before: None,
        }
    }

    /// One more request.
    pub fn count(&mut self, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.started_ms);
        if elapsed_ms >= 2 * WINDOW_MS {
            *self = Self::new(now_ms);
            return;
        }
        if elapsed_ms >= WINDOW_MS {
            self.started_ms += WINDOW_MS;
            self.before = Some(self.count);
            self.count = 0;
        }
        self.count += 1;
    }

    /// Requests in 1,000 seconds; 0 until it was watched for [`WINDOW_MIN_MS`], and after a window of silence.
    pub fn per_kilosecond(&self, now_ms: u64) -> u64 {
        let elapsed_ms = now_ms.saturating_sub(self.started_ms);
        if elapsed_ms >= 2 * WINDOW_MS {
            return 0;
        }
        if elapsed_ms >= WINDOW_MS {
            // The window has passed and nothing came since: it slides out.
            return self.count * (2 * WINDOW_MS - elapsed_ms) * 1_000_000 / (WINDOW_MS * WINDOW_MS);
        }
        match self.before {
            Some(before) => {
                let slid = before * (WINDOW_MS - elapsed_ms) / WINDOW_MS;
                (self.count + slid) * 1_000_000 / WINDOW_MS
            }
            None if elapsed_ms < WINDOW_MIN_MS => 0,
            // The first one began the time and is not of it.
            None => (self.count - 1) * 1_000_000 / elapsed_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asked for every `every_ms`, from 0 to `until_ms`.
    fn steady(every_ms: u64, until_ms: u64) -> Rate {
        let mut rate = Rate::new(0);
        for now_ms in (every_ms..=until_ms).step_by(every_ms as usize) {
            rate.count(now_ms);
        }
        rate
    }

    #[test]
    fn a_steady_rate_is_seen_from_a_tenth_of_a_second_on() {
        for until_ms in [100, 1_000, 9_990, 10_000, 15_000, 123_450] {
            let seen = steady(10, until_ms).per_kilosecond(until_ms);
            assert!((99_000..=101_000).contains(&seen), "{seen} at {until_ms}");
        }
    }

    #[test]
    fn requests_at_once_are_no_rate() {
        let mut rate = Rate::new(5);
        (0..1_000).for_each(|_| rate.count(5));
        assert_eq!(rate.per_kilosecond(5 + WINDOW_MIN_MS - 1), 0);
        assert_eq!(Rate::new(5).per_kilosecond(5 + WINDOW_MIN_MS), 0);
    }

    #[test]
    fn silence_brings_a_rate_down_to_nothing() {
        let rate = steady(10, 30_000);
        let seen =
            [30_000, 35_000, 40_000, 45_000, 50_000, u64::MAX].map(|at| rate.per_kilosecond(at));
        assert!(seen.windows(2).all(|pair| pair[0] >= pair[1]), "{seen:?}");
        assert_eq!(seen[4..], [0, 0]);
    }

    #[test]
    fn after_silence_a_rate_begins_anew() {
        let mut rate = steady(10, 30_000);
        rate.count(90_000);
        assert_eq!(rate, Rate::new(90_000));
    }
}
