//! What one step of a ramp measured, and whether it holds.

use std::fmt;
use std::time::Duration;

use super::latencies::Latencies;
use crate::units::format_duration;

/// What came of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Requests a second that were to be sent.
    pub offered: u32,
    /// Requests whose time had come.
    pub due: u64,
    /// Requests that were answered, however.
    pub answered: u64,
    /// Requests without a good answer: no connection, broken off, a status of 400 or above.
    pub failed: u64,
    /// Requests that were not answered when the step's patience ended; some of them were never sent.
    pub unfinished: u64,
    /// From the first request's time to the last answer, but not less than the step's length.
    pub elapsed: Duration,
    /// From the time when a request was to begin to the end of its answer; of unfinished ones to the end of the
    /// step's patience.
    pub latency: Latencies,
    /// From when a request was written to the end of its answer.
    pub service: Latencies,
    /// How much too late requests began although a connection was free: the load generator's own fault.
    pub late: Latencies,
    /// Requests that may run at once: connections, or streams of HTTP/2.
    pub places: u32,
}

impl Step {
    /// Answers a second.
    pub fn achieved(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 {
            self.answered as f64 / seconds
        } else {
            0.0
        }
    }

    /// Share of requests without a good answer, 0 to 1; unfinished ones have none.
    pub fn failed_share(&self) -> f64 {
        (self.failed + self.unfinished) as f64 / self.due.max(1) as f64
    }

    /// Share of the places that were taken on average, 0 to 1 and above: the rate times the time that one is taken.
    pub fn places_taken(&self) -> f64 {
        let rate = self.achieved().max(f64::MIN_POSITIVE);
        rate * self.service.mean().as_secs_f64() / f64::from(self.places.max(1))
    }
}

/// When a step holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The 99th percentile is at most this.
    pub p99_max: Duration,
    /// At most this share of requests has no good answer, 0 to 1.
    pub failed_share_max: f64,
    /// At least this share of the offered rate is achieved, 0 to 1.
    pub achieved_share_min: f64,
}

/// One way in which a step does not hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Breach {
    /// The 99th percentile, and the most that it may be.
    P99(Duration, Duration),
    /// The share that failed, and the most that it may be.
    Failed(f64, f64),
    /// The share of the offered rate that was achieved, and the least that it may be.
    Achieved(f64, f64),
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P99(is, max) => {
                let (is, max) = (format_latency(*is), format_duration(*max));
                write!(f, "p99 {is} > {max}")
            }
            Self::Failed(is, max) => {
                write!(f, "failed {:.2} % > {:.2} %", is * 100.0, max * 100.0)
            }
            Self::Achieved(is, min) => {
                write!(f, "achieved {:.1} % < {:.1} %", is * 100.0, min * 100.0)
            }
        }
    }
}

/// A latency in the unit that suits it, with three digits.
pub fn format_latency(latency: Duration) -> String {
    let us = latency.as_micros() as f64;
    let (number, unit) = match us {
        us if us < 1_000.0 => return format!("{us:.0}us"),
        us if us < 1_000_000.0 => (us / 1_000.0, "ms"),
        us => (us / 1_000_000.0, "s"),
    };
    match number {
        n if n < 10.0 => format!("{n:.2}{unit}"),
        n if n < 100.0 => format!("{n:.1}{unit}"),
        n => format!("{n:.0}{unit}"),
    }
}

impl Rule {
    /// Every way in which a step does not hold.
    pub fn breaches(&self, step: &Step) -> Vec<Breach> {
        let p99 = step.latency.percentile(0.99);
        let failed = step.failed_share();
        let achieved = step.achieved() / f64::from(step.offered.max(1));
        [
            (p99 > self.p99_max).then_some(Breach::P99(p99, self.p99_max)),
            (failed > self.failed_share_max)
                .then_some(Breach::Failed(failed, self.failed_share_max)),
            (achieved < self.achieved_share_min)
                .then_some(Breach::Achieved(achieved, self.achieved_share_min)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The first step that does not hold: where the ramp breaks.
    pub fn breaking_point(&self, steps: &[Step]) -> Option<usize> {
        steps
            .iter()
            .position(|step| !self.breaches(step).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE: Rule = Rule {
        p99_max: Duration::from_millis(100),
        failed_share_max: 0.01,
        achieved_share_min: 0.95,
    };

    fn step(offered: u32, answered: u64, failed: u64, latency_ms: u64) -> Step {
        let mut step = Step {
            offered,
            due: u64::from(offered),
            answered,
            failed,
            unfinished: u64::from(offered) - answered,
            elapsed: Duration::from_secs(1),
            ..Step::default()
        };
        for _ in 0..offered {
            step.latency.record(Duration::from_millis(latency_ms));
        }
        step
    }

    #[test]
    fn the_first_step_that_breaks_the_rule_is_the_breaking_point() {
        let steps = [
            step(100, 100, 1, 20),
            step(200, 200, 0, 101),
            step(400, 100, 0, 20),
        ];
        assert_eq!(RULE.breaking_point(&steps), Some(1));
        assert_eq!(RULE.breaking_point(&steps[..1]), None);
        assert_eq!(RULE.breaking_point(&[]), None);
        let told: Vec<String> = steps
            .iter()
            .flat_map(|step| RULE.breaches(step))
            .map(|breach| breach.to_string())
            .collect();
        assert_eq!(
            told,
            [
                "p99 101ms > 100ms",
                "failed 75.00 % > 1.00 %",
                "achieved 25.0 % < 95.0 %"
            ]
        );
    }

    #[test]
    fn latencies_have_three_digits() {
        let told = |us| format_latency(Duration::from_micros(us));
        assert_eq!((told(7), told(999)), ("7us".into(), "999us".into()));
        assert_eq!(
            (told(1_234), told(12_345)),
            ("1.23ms".into(), "12.3ms".into())
        );
        assert_eq!(
            (told(123_456), told(2_500_000)),
            ("123ms".into(), "2.50s".into())
        );
    }

    proptest! {
        #[test]
        fn a_stricter_rule_breaks_no_later(
            answered in prop::collection::vec((50_u64..=100, 0_u64..50, 1_u64..300), 1..8),
            p99_ms in 1_u64..300,
        ) {
            let steps: Vec<Step> = answered
                .iter()
                .map(|(answered, failed, ms)| step(100, *answered, *failed, *ms))
                .collect();
            let stricter = Rule { p99_max: RULE.p99_max.min(Duration::from_millis(p99_ms)), ..RULE };
            let place = |rule: &Rule| rule.breaking_point(&steps).unwrap_or(steps.len());
            prop_assert!(place(&stricter) <= place(&RULE));
        }
    }
}
