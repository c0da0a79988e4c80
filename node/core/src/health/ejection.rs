//! Taking a backend out because traffic to it fails, or because the operator says so.

use std::time::{Duration, Instant};

/// When failures in traffic take a backend out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionConfig {
    /// Failures in a row that take a backend out; 0 turns passive ejection off.
    pub consecutive_failures: u32,
    /// Length of a first ejection. Each further one lately lasts as much longer, and each such time
    /// in service takes one off that count.
    pub base_ejection: Duration,
    /// Longest ejection.
    pub max_ejection: Duration,
    /// Most of a pool that may be ejected at a time, in percent; see [`may_eject`].
    pub ejected_percent_max: u32,
    /// Whether a good active check ends an ejection before its time. Off by default: a check is one
    /// cheap request, and that it passes says little about the traffic that failed.
    pub good_check_restores: bool,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: 3,
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            ejected_percent_max: 10,
            good_check_restores: false,
        }
    }
}

/// Whether one more backend of a pool may be ejected for its failures when `ejected_now` are.
///
/// One of a pool of two or more always may, whatever the percentage: a small pool would never be
/// protected otherwise. The only backend never may.
pub fn may_eject(config: &EjectionConfig, pool_size: usize, ejected_now: usize) -> bool {
    let percent = config.ejected_percent_max.min(100) as usize;
    let most = (pool_size.saturating_mul(percent) / 100).max(1);
    pool_size >= 2 && ejected_now < most
}

/// A backend is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ejection {
    /// When it comes back by itself; `None` waits for the operator.
    pub(super) until: Option<Instant>,
    pub(super) by_hand: bool,
    /// The failures in a row that led to it.
    pub(super) run: u32,
}

/// The ejections of one backend, and the failures that lead to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Ejections {
    current: Option<Ejection>,
    lately: u32,
    returned_at: Option<Instant>,
    run: u32,
    /// Failures from before the last return. Only a success resets the counter they come from, and
    /// counting them again would eject the backend before its first request.
    forgiven: u32,
}

impl Ejections {
    pub(super) fn current(&self) -> Option<Ejection> {
        self.current
    }

    /// Takes note of the run of failures; says whether it is long enough for an ejection.
    pub(super) fn observe(&mut self, config: &EjectionConfig, run: u32) -> bool {
        if run < self.forgiven {
            self.forgiven = 0;
        }
        self.run = run;
        config.consecutive_failures > 0 && self.fresh_run() >= config.consecutive_failures
    }

    fn fresh_run(&self) -> u32 {
        self.run - self.forgiven
    }

    pub(super) fn eject(&mut self, config: &EjectionConfig, now: Instant) {
        let served = self
            .returned_at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.lately = self
            .lately
            .saturating_sub(periods(served, config.base_ejection));
        // Counting on beyond the maximum would only make the count take longer to fall again.
        if config.base_ejection.saturating_mul(self.lately) < config.max_ejection {
            self.lately = self.lately.saturating_add(1);
        }
        let length = config
            .base_ejection
            .saturating_mul(self.lately)
            .min(config.max_ejection);
        self.current = Some(Ejection {
            until: now.checked_add(length),
            by_hand: false,
            run: self.fresh_run(),
        });
    }

    pub(super) fn eject_by_hand(&mut self, now: Instant, duration: Option<Duration>) {
        self.current = Some(Ejection {
            until: duration.and_then(|duration| now.checked_add(duration)),
            by_hand: true,
            run: 0,
        });
    }

    pub(super) fn end(&mut self, now: Instant) {
        if self.current.take().is_some() {
            self.returned_at = Some(now);
            self.forgiven = self.run;
        }
    }

    pub(super) fn end_if_over(&mut self, now: Instant) {
        let over = |ejection: Ejection| ejection.until.is_some_and(|until| now >= until);
        if self.current.is_some_and(over) {
            self.end(now);
        }
    }
}

/// Whole periods in `span`; none when the period is zero.
fn periods(span: Duration, period: Duration) -> u32 {
    let count = span.as_nanos().checked_div(period.as_nanos()).unwrap_or(0);
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(30);

    /// Ejects at `now` and returns for how long.
    fn length(ejections: &mut Ejections, now: Instant) -> Duration {
        ejections.eject(&EjectionConfig::default(), now);
        let until = ejections.current().and_then(|ejection| ejection.until);
        until.expect("a passive ejection ends") - now
    }

    #[test]
    fn one_of_two_may_be_ejected_but_never_the_only_one() {
        let config = EjectionConfig::default();
        assert!(may_eject(&config, 2, 0));
        assert!(!may_eject(&config, 2, 1));
        assert!(!may_eject(&config, 1, 0));
        assert!(!may_eject(&config, 0, 0));
        assert!(may_eject(&config, 30, 2));
        assert!(!may_eject(&config, 30, 3));
    }

    #[test]
    fn each_ejection_lately_lasts_longer_up_to_the_maximum() {
        let mut ejections = Ejections::default();
        let mut now = Instant::now();
        let mut lengths = vec![];
        for _ in 0..12 {
            let length = length(&mut ejections, now);
            lengths.push(length.as_secs());
            now += length;
            ejections.end_if_over(now);
        }
        assert_eq!(
            lengths,
            [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]
        );
    }

    #[test]
    fn time_in_service_takes_earlier_ejections_off_the_count() {
        let mut ejections = Ejections::default();
        let start = Instant::now();
        for _ in 0..3 {
            ejections.eject(&EjectionConfig::default(), start);
            ejections.end(start);
        }
        assert_eq!(length(&mut ejections, start + 2 * BASE), 2 * BASE);
    }

    #[test]
    fn failures_from_before_the_return_do_not_count_again() {
        let config = EjectionConfig::default();
        let mut ejections = Ejections::default();
        let now = Instant::now();
        assert!(ejections.observe(&config, 3));
        ejections.eject(&config, now);
        ejections.observe(&config, 4);
        ejections.end(now);
        assert!(!ejections.observe(&config, 6));
        assert!(ejections.observe(&config, 7));
        assert!(!ejections.observe(&config, 0));
        assert!(ejections.observe(&config, 3));
    }

    #[test]
    fn a_zero_base_does_not_divide_by_zero() {
        assert_eq!(periods(BASE, Duration::ZERO), 0);
    }
}
