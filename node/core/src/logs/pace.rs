//! How often a line may be written that requests bring about.

use std::time::Duration;

/// Lines that may come at once.
const BURST: u32 = 20;
/// After that, one in this time.
const INTERVAL: Duration = Duration::from_millis(200);

/// A token bucket of lines, and what it left out.
#[derive(Clone, Copy, Debug)]
pub struct LinePace {
    left: u32,
    /// Until when what is taken has been given back.
    refilled_at: Duration,
    left_out: u64,
}

impl Default for LinePace {
    fn default() -> Self {
        Self {
            left: BURST,
            refilled_at: Duration::ZERO,
            left_out: 0,
        }
    }
}

impl LinePace {
    /// Whether a line may be written at `now` (since any moment, and not going back): then how many were left out
    /// since the last one.
    pub fn take(&mut self, now: Duration) -> Option<u64> {
        let since = now.saturating_sub(self.refilled_at);
        let refills = since.as_millis() / INTERVAL.as_millis();
        match u32::try_from(refills) {
            Ok(refills) if refills < BURST - self.left => {
                self.left += refills;
                self.refilled_at += INTERVAL * refills;
            }
            _ => {
                self.left = BURST;
                self.refilled_at = now;
            }
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_a_burst_and_then_a_few_that_tell_how_many_were_left_out() {
        let mut pace = LinePace::default();
        let mut told = Vec::new();
        // A thousand a second, for three seconds.
        for ms in 0..3_000 {
            told.extend(pace.take(Duration::from_millis(ms)));
        }
        let burst = BURST as usize;
        assert_eq!(told[..burst], vec![0; burst]);
        // Fourteen refills; the first came while the burst was under way.
        assert_eq!(told.len(), burst + 14);
        assert_eq!(told[burst], 180);
        assert!(told[burst + 1..].iter().all(|left_out| *left_out == 199));
    }

    #[test]
    fn after_a_quiet_time_there_is_a_whole_burst_again_and_no_more() {
        let mut pace = LinePace::default();
        let take = |pace: &mut LinePace, at| (0..100).filter_map(|_| pace.take(at)).count();
        assert_eq!(take(&mut pace, Duration::from_secs(1)), BURST as usize);
        assert_eq!(take(&mut pace, Duration::from_secs(1)), 0);
        assert_eq!(take(&mut pace, Duration::from_secs(3_600)), BURST as usize);
    }
}
