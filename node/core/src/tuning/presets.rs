//! Profiles with names, of values that users of the replaced stacks know.

use super::profile::Profile;
use super::{Edit, apply_edits};

/// A named profile.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Who it is for.
    pub meaning: &'static str,
    /// Paths and values, as people write them.
    pub settings: &'static [(&'static str, &'static str)],
}

/// Every preset.
pub static PRESETS: [Preset; 5] = [
    Preset {
        name: "standard",
        meaning: "the defaults of every knob",
        settings: &[],
    },
    Preset {
        name: "development",
        meaning: "one developer: trace everything, fail fast, hide nothing",
        settings: &[
            ("balancer.ejection_base_time", "5s"),
            ("balancer.health_interval", "1s"),
            ("balancer.health_timeout", "500ms"),
            ("ingress.drain_timeout", "2s"),
            ("ingress.slow_request", "200ms"),
            ("telemetry.sample_ratio", "1"),
            ("telemetry.status_cache_ttl", "0s"),
            ("upstream.connect_timeout", "2s"),
            ("upstream.read_timeout", "30s"),
        ],
    },
    Preset {
        name: "high-traffic",
        meaning: "many clients and many requests: more connections kept, fewer traces",
        settings: &[
            ("ingress.connections_max", "250000"),
            ("ingress.h2_streams_max", "256"),
            ("ingress.keep_alive_timeout", "60s"),
            ("telemetry.sample_ratio", "0.001"),
            ("upstream.connect_timeout", "5s"),
            ("upstream.connections_max", "10000"),
            ("upstream.idle_max", "10000"),
            ("upstream.idle_min", "100"),
            ("upstream.read_timeout", "30s"),
        ],
    },
    Preset {
        name: "strict",
        meaning: "little trust in clients: short waits, small heads, 10 requests a second with a burst of 20",
        settings: &[
            ("ingress.body_bytes_max", "1MB"),
            ("ingress.body_idle_timeout", "10s"),
            ("ingress.head_bytes_max", "16KiB"),
            ("ingress.header_timeout", "5s"),
            ("ingress.headers_max", "64"),
            ("ingress.keep_alive_timeout", "30s"),
            ("ingress.rate_limit", "true"),
            ("ingress.rate_limit_burst", "20"),
            ("ingress.rate_limit_per_second", "10"),
            ("ingress.write_timeout", "10s"),
        ],
    },
    Preset {
        name: "permissive",
        meaning: "slow clients and large uploads: long waits, 500 requests a second with a burst of 1000",
        settings: &[
            ("ingress.body_bytes_max", "10GB"),
            ("ingress.body_idle_timeout", "5m"),
            ("ingress.header_timeout", "60s"),
            ("ingress.keep_alive_timeout", "10m"),
            ("ingress.rate_limit", "true"),
            ("ingress.rate_limit_burst", "1000"),
            ("ingress.rate_limit_per_second", "500"),
            ("ingress.write_timeout", "5m"),
            ("upstream.read_timeout", "10m"),
            ("upstream.send_timeout", "10m"),
        ],
    },
];

/// The preset of that name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

impl Preset {
    /// As a profile.
    pub fn profile(&self) -> Profile {
        let edits: Vec<Edit> = self
            .settings
            .iter()
            .map(|(path, value)| Edit::Set((*path).to_owned(), (*value).to_owned()))
            .collect();
        apply_edits(&Profile::new(), &edits).expect("presets are sound")
    }
}
