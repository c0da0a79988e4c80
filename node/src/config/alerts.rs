//! Limits beyond which a node tells an alert of itself.

use std::time::Duration;

use weir_core::alerts::Name;
use weir_core::tuning::knobs::telemetry;

use super::reader::{Problem, Section};

/// The limit of each alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertLimits {
    /// Percent of the client connections that there may be.
    pub connections_percent: u32,
    /// Of the 95th percentile of latency.
    pub p95: Duration,
    /// Requests or starts of engines that wait.
    pub queue_max: u64,
    /// Percent of a backend's pool.
    pub pool_percent: u32,
    /// Percent of what Redis may use.
    pub redis_memory_percent: u32,
}

impl AlertLimits {
    pub(super) fn read(s: &mut Section, problems: &mut Vec<Problem>) -> Self {
        Self {
            connections_percent: s.tuned(
                problems,
                "alert_connections_percent",
                &telemetry::ALERT_CONNECTIONS_PERCENT,
            ),
            p95: s.tuned(problems, "alert_p95", &telemetry::ALERT_P95),
            queue_max: s.tuned(problems, "alert_queue_max", &telemetry::ALERT_QUEUE_MAX),
            pool_percent: s.tuned(
                problems,
                "alert_pool_percent",
                &telemetry::ALERT_POOL_PERCENT,
            ),
            redis_memory_percent: s.tuned(
                problems,
                "alert_redis_memory_percent",
                &telemetry::ALERT_REDIS_MEMORY_PERCENT,
            ),
        }
    }

    /// That of one alert, in its unit.
    #[expect(clippy::cast_precision_loss, reason = "compared with what is measured")]
    pub fn of(&self, name: Name) -> f64 {
        let share = |percent: u32| f64::from(percent) / 100.0;
        match name {
            Name::Connections => share(self.connections_percent),
            Name::LatencyP95 => self.p95.as_secs_f64(),
            Name::Queue => self.queue_max as f64,
            Name::Pool => share(self.pool_percent),
            Name::RedisMemory => share(self.redis_memory_percent),
        }
    }
}
