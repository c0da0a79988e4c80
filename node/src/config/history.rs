//! How much history a node keeps of itself.

use std::time::Duration;

use weir_core::tuning::knobs::telemetry;

use super::reader::{Problem, Section};

/// How much history a node keeps of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistorySettings {
    /// Samples kept of each series.
    pub samples_max: usize,
    /// Between two samples.
    pub interval: Duration,
}

impl HistorySettings {
    pub(super) fn read(s: &mut Section, problems: &mut Vec<Problem>) -> Self {
        Self {
            samples_max: s.tuned(
                problems,
                "metric_samples_max",
                &telemetry::METRIC_SAMPLES_MAX,
            ),
            interval: s.tuned(problems, "metric_interval", &telemetry::METRIC_INTERVAL),
        }
    }

    /// Between two samples, in milliseconds.
    pub fn interval_ms(&self) -> u64 {
        u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX)
    }
}
