//! Slow start: a backend that comes into service gets its share of work by and by.

use std::time::Duration;

/// The share of a backend that is not in slow start.
pub(super) const FULL_PERMILLE: u32 = 1_000;
/// Shares move in steps of one percent, so that a ramp does not rebuild the selector at each tick.
const STEP_PERMILLE: u32 = 10;

/// How a backend that comes into service ramps up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStartConfig {
    /// Time until the full share; zero turns slow start off.
    pub window: Duration,
    /// Share at the start, in percent of the full share; at least 1.
    pub min_percent: u32,
    /// Shape of the ramp: 1.0 is linear, more gives work sooner, less (above 0) later.
    pub aggression: f64,
}

impl Default for SlowStartConfig {
    fn default() -> Self {
        Self {
            window: Duration::ZERO,
            min_percent: 10,
            aggression: 1.0,
        }
    }
}

impl SlowStartConfig {
    /// The share of a backend that has been in service for `age`, in thousandths of its weight:
    /// never zero, never falling with age, 1000 from the end of the window on.
    pub fn share_permille(&self, age: Duration) -> u32 {
        if age >= self.window {
            return FULL_PERMILLE;
        }
        let elapsed = age.as_secs_f64() / self.window.as_secs_f64();
        let ramp = elapsed.powf(1.0 / self.aggression.max(f64::MIN_POSITIVE));
        let steps = (ramp * f64::from(FULL_PERMILLE / STEP_PERMILLE)) as u32;
        (steps * STEP_PERMILLE)
            .max(self.min_percent.clamp(1, 100) * STEP_PERMILLE)
            .min(FULL_PERMILLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(aggression: f64, age_s: u64) -> u32 {
        SlowStartConfig {
            window: Duration::from_secs(100),
            min_percent: 10,
            aggression,
        }
        .share_permille(Duration::from_secs(age_s))
    }

    #[test]
    fn a_linear_ramp_starts_at_the_minimum_and_ends_full() {
        assert_eq!(
            [0, 5, 40, 99, 100].map(|age| at(1.0, age)),
            [100, 100, 400, 990, 1_000]
        );
    }

    #[test]
    fn more_aggression_gives_work_sooner() {
        assert!(at(2.0, 30) > at(1.0, 30));
        assert!(at(0.5, 30) < at(1.0, 30));
    }

    #[test]
    fn without_a_window_the_share_is_full_at_once() {
        assert_eq!(
            SlowStartConfig::default().share_permille(Duration::ZERO),
            1_000
        );
    }
}
