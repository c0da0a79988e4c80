//! When clients are sent away, so that they do not come back all at once.

use std::time::Duration;

/// How a node sends its clients away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainPlan {
    /// Clients that are told at a time.
    pub batch: usize,
    /// Between two batches.
    pub interval: Duration,
    /// Each comes back after a time of its own, up to this.
    pub window: Duration,
}

impl Default for DrainPlan {
    fn default() -> Self {
        Self {
            batch: 10_000,
            interval: Duration::from_secs(2),
            window: Duration::from_secs(10),
        }
    }
}

/// What one client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// When, since the drain began.
    pub told_after: Duration,
    /// How long it is to wait then before it comes back, whole milliseconds.
    pub reconnect_after: Duration,
}

impl DrainPlan {
    /// What the client with this number is told, from 0; `draw` is any number, evenly distributed.
    pub fn leave(&self, number: usize, draw: u64) -> Leave {
        let before = u32::try_from(number / self.batch.max(1)).unwrap_or(u32::MAX);
        let window = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX);
        Leave {
            told_after: self.interval.saturating_mul(before),
            reconnect_after: Duration::from_millis(draw % window.saturating_add(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_in_batches_and_come_back_over_the_window() {
        let plan = DrainPlan::default();
        let mut random = fastrand::Rng::with_seed(1);
        let mut seconds = [0; 11];
        for number in 0..30_000 {
            let leave = plan.leave(number, random.u64(..));
            assert_eq!(leave.told_after.as_secs(), 2 * (number as u64 / 10_000));
            assert!(leave.reconnect_after <= plan.window);
            seconds[usize::try_from(leave.reconnect_after.as_secs()).unwrap()] += 1;
        }
        assert!(
            seconds[..10]
                .iter()
                .all(|clients| (2_500..3_500).contains(clients)),
            "{seconds:?}"
        );
    }

    #[test]
    fn no_window_is_no_wait() {
        let plan = DrainPlan {
            window: Duration::ZERO,
            batch: 0,
            ..DrainPlan::default()
        };
        assert_eq!(plan.leave(0, u64::MAX).reconnect_after, Duration::ZERO);
    }
}
