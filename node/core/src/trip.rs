//! When something outside fails too often to be asked on.
//!
//! Unlike the breaker of `provision`, which counts rare starts whatever else worked, this weighs failures against the
//! many calls around them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TripConfig {
    /// Failures in a row that are too many; below it no share of failures counts either.
    pub failures_min: u32,
    /// The largest share of calls within [`Self::window`] that may fail, in percent.
    pub failed_percent_max: u32,
    /// What the share is taken of.
    pub window: Duration,
}

impl TripConfig {
    /// Whether so many failures one after the other are too many by themselves.
    pub const fn is_too_many_in_a_row(&self, failures: u32) -> bool {
        failures >= self.failures_min
    }
}

/// How calls ended since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls that worked.
    pub succeeded: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Calls that failed since the last one that worked.
    pub failed_in_a_row: u32,
}

/// Why nothing more should be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Tripped {
    /// So many calls failed one after the other.
    #[error("{0} calls failed in a row")]
    InARow(u32),
    /// Too large a share failed.
    #[error("{failed} of {calls} calls failed")]
    Share {
        /// How many failed within the window.
        failed: u64,
        /// Of how many.
        calls: u64,
    },
}

/// Looks at totals from time to time and says when there are too many failures.
#[derive(Clone, Debug)]
pub struct Trip {
    config: TripConfig,
    /// Earlier totals, oldest first, a quarter of the window apart.
    marks: VecDeque<(Instant, Totals)>,
}

impl Trip {
    /// Begins to watch.
    pub fn new(config: TripConfig, now: Instant) -> Self {
        Self {
            config,
            marks: VecDeque::from([(now, Totals::default())]),
        }
    }

    /// Whether it is too much. To be asked after each failure and at least every quarter of the window.
    pub fn look(&mut self, now: Instant, totals: Totals) -> Option<Tripped> {
        let base = self.base(now);
        let failed = totals.failed.saturating_sub(base.failed);
        let calls = failed + totals.succeeded.saturating_sub(base.succeeded);
        let quarter = self.config.window / 4;
        let newest = self.marks.back().map(|(at, _)| *at);
        if newest.is_none_or(|at| now.saturating_duration_since(at) >= quarter) {
            self.marks.push_back((now, totals));
        }
        if self.config.is_too_many_in_a_row(totals.failed_in_a_row) {
            return Some(Tripped::InARow(totals.failed_in_a_row));
        }
        let too_many = failed * 100 > calls * u64::from(self.config.failed_percent_max);
        let are_few = failed < u64::from(self.config.failures_min);
        (too_many && !are_few).then_some(Tripped::Share { failed, calls })
    }

    /// The totals when the window began, or soon after.
    fn base(&mut self, now: Instant) -> Totals {
        let window = self.config.window;
        let is_old = |at: Instant| now.saturating_duration_since(at) > window;
        while self.marks.len() > 1 && self.marks.front().is_some_and(|(at, _)| is_old(*at)) {
            self.marks.pop_front();
        }
        self.marks
            .front()
            .map(|(_, totals)| *totals)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: TripConfig = TripConfig {
        failures_min: 5,
        failed_percent_max: 20,
        window: Duration::from_secs(1),
    };

    fn totals(succeeded: u64, failed: u64, failed_in_a_row: u32) -> Totals {
        Totals {
            succeeded,
            failed,
            failed_in_a_row,
        }
    }

    #[test]
    fn five_failures_in_a_row_are_too_many_however_slow() {
        let mut now = Instant::now();
        let mut trip = Trip::new(CONFIG, now);
        for failures in 1..5 {
            now += Duration::from_secs(10);
            assert_eq!(trip.look(now, totals(0, failures.into(), failures)), None);
        }
        now += Duration::from_secs(10);
        assert_eq!(trip.look(now, totals(0, 5, 5)), Some(Tripped::InARow(5)));
    }

    #[test]
    fn a_fifth_of_the_calls_may_fail_and_not_more() {
        let start = Instant::now();
        let mut trip = Trip::new(CONFIG, start);
        let now = start + Duration::from_millis(900);
        assert_eq!(trip.look(now, totals(80, 20, 1)), None);
        let tripped = Tripped::Share {
            failed: 21,
            calls: 101,
        };
        assert_eq!(trip.look(now, totals(80, 21, 1)), Some(tripped));
    }

    #[test]
    fn few_failures_of_few_calls_say_nothing() {
        let start = Instant::now();
        let mut trip = Trip::new(CONFIG, start);
        assert_eq!(trip.look(start, totals(0, 4, 4)), None);
        assert_eq!(trip.look(start, totals(1, 4, 0)), None);
    }

    #[test]
    fn what_failed_before_the_window_is_forgotten() {
        let mut now = Instant::now();
        let mut trip = Trip::new(CONFIG, now);
        assert_eq!(trip.look(now, totals(0, 4, 4)), None);
        for _ in 0..12 {
            now += Duration::from_millis(250);
            assert_eq!(trip.look(now, totals(1, 4, 0)), None);
        }
        assert_eq!(trip.look(now, totals(1, 8, 4)), None);
        assert!(trip.marks.len() <= 6);
        assert!(trip.look(now, totals(1, 9, 1)).is_some());
    }

    #[test]
    fn calls_that_worked_before_the_window_excuse_nothing() {
        let mut now = Instant::now();
        let mut trip = Trip::new(CONFIG, now);
        for _ in 0..8 {
            now += Duration::from_millis(250);
            assert_eq!(trip.look(now, totals(10_000, 0, 0)), None);
        }
        now += Duration::from_millis(250);
        let tripped = Tripped::Share {
            failed: 5,
            calls: 6,
        };
        assert_eq!(trip.look(now, totals(10_001, 5, 1)), Some(tripped));
    }
}
