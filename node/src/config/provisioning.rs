//! The limits of provisioning and of asking VPNs, on one node.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Table;
use weir_core::tuning::knobs::{port_cache, provision};
use weir_core::units::format_duration;

use super::engines::read_ports;
use super::reader::{Problem, Section};
use super::tuned::Reading;

/// The limits of provisioning on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionSettings {
    /// Provisions in flight on this node.
    pub concurrent_max: usize,
    /// Provisions in flight in the whole mesh; 0 for no bound.
    pub fleet_concurrent_max: u32,
    /// Between the starts of two provisions.
    pub interval_min: Duration,
    /// Between the starts of two jobs in the whole mesh; zero for no bound.
    pub fleet_interval_min: Duration,
    /// Jobs that may be open in the whole mesh; one more wish is refused.
    pub queue_max: u32,
    /// After this a provision is asked to end.
    pub soft_limit: Duration,
    /// After this it is ended.
    pub hard_limit: Duration,
    /// Tries of one job.
    pub attempts_max: u32,
    /// Before the second try; doubles with each.
    pub retry_delay: Duration,
    /// Longest wait before a try.
    pub retry_delay_max: Duration,
    /// Jobs that the node claims ahead of those it runs.
    pub prefetch: usize,
    /// Failures within the window that open the breaker.
    pub breaker_failures: u32,
    /// The window.
    pub breaker_window: Duration,
    /// How long the breaker stays open.
    pub breaker_recovery: Duration,
    /// Requests after which an engine is replaced; 0 for never.
    pub uses_max: u64,
    /// Ports of engines that are not behind a VPN.
    pub host_ports: RangeInclusive<u16>,
    /// Docker's socket, `unix:///path`.
    pub docker_socket: String,
}

/// How ports of VPNs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCacheSettings {
    /// How long a port is believed.
    pub ttl: Duration,
    /// How long before its end it is asked for again.
    pub refresh_lead: Duration,
    /// Most time between two questions for a port.
    pub watch_interval: Duration,
    /// How long the last good port is served while nobody answers.
    pub stale_max: Duration,
    /// How long a failure is believed.
    pub negative_ttl: Duration,
    /// For one call of a control server.
    pub request_timeout: Duration,
    /// Between two looks at a VPN.
    pub health_interval: Duration,
    /// Good looks in a row that make a VPN stable.
    pub health_rise: u32,
    /// Bad looks in a row that make it unhealthy.
    pub health_fall: u32,
    /// How long a healthy VPN may be without a port.
    pub missing_max: Duration,
    /// Changes of a port within the window that are not flapping.
    pub changes_max: u32,
    /// The window.
    pub changes_window: Duration,
    /// How long a VPN is not asked after its container was restarted because of an outage.
    pub restart_quiet: Duration,
    /// A new port so soon after a restart belongs to that.
    pub restart_settle: Duration,
}

impl Default for ProvisionSettings {
    fn default() -> Self {
        Self::read(&mut nothing_said(), &mut Vec::new())
    }
}

impl Default for PortCacheSettings {
    fn default() -> Self {
        Self::read(&mut nothing_said(), &mut Vec::new())
    }
}

/// What leaves every key to its default.
fn nothing_said() -> Section {
    Section::root(Table::new(), Reading::default())
}

impl ProvisionSettings {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "provision").read_by("provision");
        let read = Self {
            concurrent_max: s.tuned(problems, "concurrent_max", &provision::CONCURRENT_MAX),
            fleet_concurrent_max: s.tuned(
                problems,
                "fleet_concurrent_max",
                &provision::FLEET_CONCURRENT_MAX,
            ),
            interval_min: s.tuned(problems, "interval_min", &provision::INTERVAL_MIN),
            fleet_interval_min: s.tuned(
                problems,
                "fleet_interval_min",
                &provision::FLEET_INTERVAL_MIN,
            ),
            queue_max: s.tuned(problems, "queue_max", &provision::QUEUE_MAX),
            soft_limit: s.tuned(problems, "soft_limit", &provision::SOFT_LIMIT),
            hard_limit: s.tuned(problems, "hard_limit", &provision::HARD_LIMIT),
            attempts_max: s.tuned(problems, "attempts_max", &provision::ATTEMPTS_MAX),
            retry_delay: s.tuned(problems, "retry_delay", &provision::RETRY_DELAY),
            retry_delay_max: s.tuned(problems, "retry_delay_max", &provision::RETRY_DELAY_MAX),
            prefetch: s.tuned(problems, "prefetch", &provision::PREFETCH),
            breaker_failures: s.tuned(problems, "breaker_failures", &provision::BREAKER_FAILURES),
            breaker_window: s.tuned(problems, "breaker_window", &provision::BREAKER_WINDOW),
            breaker_recovery: s.tuned(problems, "breaker_recovery", &provision::BREAKER_RECOVERY),
            uses_max: s.tuned(problems, "uses_max", &provision::USES_MAX),
            host_ports: read_ports(&mut s, problems, "host_ports", 19_000..=19_999),
            docker_socket: read_socket(&mut s, problems),
        };
        for (low, high, at, low_knob, high_knob) in [
            (
                read.soft_limit,
                read.hard_limit,
                "soft_limit",
                &provision::SOFT_LIMIT,
                &provision::HARD_LIMIT,
            ),
            (
                read.retry_delay,
                read.retry_delay_max,
                "retry_delay",
                &provision::RETRY_DELAY,
                &provision::RETRY_DELAY_MAX,
            ),
        ] {
            if low > high {
                let what = format!(
                    "{} is more than {} ({})",
                    format_duration(low),
                    high_knob.name(),
                    format_duration(high)
                );
                s.contradiction(problems, at, what, [low_knob, high_knob]);
            }
        }
        s.finish(problems);
        read
    }
}

fn read_socket(s: &mut Section, problems: &mut Vec<Problem>) -> String {
    let text = s.text(problems, "docker_socket");
    let text = text.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    if !text.starts_with("unix:///") {
        s.problem(
            problems,
            "docker_socket",
            format!("`{text}` must be unix:///path"),
        );
    }
    text
}

impl PortCacheSettings {
    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "port_cache").read_by("port cache");
        let read = Self {
            ttl: s.tuned(problems, "ttl", &port_cache::TTL),
            refresh_lead: s.tuned(problems, "refresh_lead", &port_cache::REFRESH_LEAD),
            watch_interval: s.tuned(problems, "watch_interval", &port_cache::WATCH_INTERVAL),
            stale_max: s.tuned(problems, "stale_max", &port_cache::STALE_MAX),
            negative_ttl: s.tuned(problems, "negative_ttl", &port_cache::NEGATIVE_TTL),
            request_timeout: s.tuned(problems, "request_timeout", &port_cache::REQUEST_TIMEOUT),
            health_interval: s.tuned(problems, "health_interval", &port_cache::HEALTH_INTERVAL),
            health_rise: s.tuned(problems, "health_rise", &port_cache::HEALTH_RISE),
            health_fall: s.tuned(problems, "health_fall", &port_cache::HEALTH_FALL),
            missing_max: s.tuned(problems, "missing_max", &port_cache::MISSING_MAX),
            changes_max: s.tuned(problems, "changes_max", &port_cache::CHANGES_MAX),
            changes_window: s.tuned(problems, "changes_window", &port_cache::CHANGES_WINDOW),
            restart_quiet: s.tuned(problems, "restart_quiet", &port_cache::RESTART_QUIET),
            restart_settle: s.tuned(problems, "restart_settle", &port_cache::RESTART_SETTLE),
        };
        s.finish(problems);
        read
    }
}
