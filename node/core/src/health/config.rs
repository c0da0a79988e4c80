//! How the health of a service's backends is judged.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ejection::EjectionConfig;
use super::slow_start::SlowStartConfig;

/// How long a draining backend may finish what it has, unless configured otherwise.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Share of healthy backends below which all are tried, in percent, unless configured otherwise.
pub const DEFAULT_PANIC_PERCENT: u32 = 50;

/// What an active check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Opens a connection.
    Tcp,
    /// Sends a `GET`.
    Http {
        /// Path and query to ask for.
        path: String,
        /// `Host` to send; the backend's address when `None`.
        host: Option<String>,
        /// Status codes that are good; empty means 200 to 299.
        expect_status: Vec<RangeInclusive<u16>>,
    },
    /// Calls `grpc.health.v1.Health/Check`.
    Grpc {
        /// Service to ask about; empty asks about the whole server.
        service: String,
    },
}

impl Check {
    /// Whether an HTTP status code is a good answer. Always for the other kinds, which have their
    /// own ways to fail.
    pub fn accepts_status(&self, status: u16) -> bool {
        match self {
            Self::Http { expect_status, .. } if expect_status.is_empty() => {
                (200..=299).contains(&status)
            }
            Self::Http { expect_status, .. } => {
                expect_status.iter().any(|range| range.contains(&status))
            }
            Self::Tcp | Self::Grpc { .. } => true,
        }
    }
}

/// How the health of a service's backends is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthConfig {
    /// The active check; `None` trusts traffic alone.
    pub check: Option<Check>,
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// Time a check may take before it counts as failed.
    pub timeout: Duration,
    /// Good checks in a row that bring an unhealthy backend back; 0 counts as 1.
    pub rise: u32,
    /// Failed checks in a row that make a backend unhealthy; 0 counts as 1.
    pub fall: u32,
    /// When failures in traffic take a backend out.
    pub ejection: EjectionConfig,
    /// How a backend that comes into service ramps up.
    pub slow_start: SlowStartConfig,
    /// How long a draining backend may finish what it has.
    pub drain_timeout: Duration,
    /// Share of healthy backends below which all are tried, in percent; 0 never.
    pub panic_percent: u32,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            check: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            ejection: EjectionConfig::default(),
            slow_start: SlowStartConfig::default(),
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            panic_percent: DEFAULT_PANIC_PERCENT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(expect_status: Vec<RangeInclusive<u16>>) -> Check {
        Check::Http {
            path: "/".into(),
            host: None,
            expect_status,
        }
    }

    #[test]
    fn without_a_list_any_2xx_is_good() {
        assert!(http(vec![]).accepts_status(204));
        assert!(!http(vec![]).accepts_status(301));
    }

    #[test]
    fn a_list_of_ranges_replaces_the_default() {
        let check = http(vec![200..=200, 401..=403]);
        assert!(check.accepts_status(403));
        assert!(!check.accepts_status(204));
    }
}
