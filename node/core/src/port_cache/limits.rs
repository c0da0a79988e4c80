//! How long things are believed.

use std::time::Duration;

use crate::tuning::knobs::port_cache;
use crate::tuning::{Knob, Literal};

/// The knobs of section `port_cache` that rule an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a port is believed, from when it was asked for.
    pub ttl: Duration,
    /// How long before that ends it is asked for again; at most half of `ttl` counts.
    pub refresh_lead: Duration,
    /// Most time between two questions, however long a port is believed: a VPN may have another port without a sign.
    pub watch_interval: Duration,
    /// How long past its end the last good port is served while nobody answers.
    pub stale_max: Duration,
    /// How long a failure, or that there is no port yet, is believed.
    pub negative_ttl: Duration,
    /// The deadline of one question; one that is out for twice as long is taken for lost.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ttl: default_of(&port_cache::TTL),
            refresh_lead: default_of(&port_cache::REFRESH_LEAD),
            watch_interval: default_of(&port_cache::WATCH_INTERVAL),
            stale_max: default_of(&port_cache::STALE_MAX),
            negative_ttl: default_of(&port_cache::NEGATIVE_TTL),
            request_timeout: default_of(&port_cache::REQUEST_TIMEOUT),
        }
    }
}

impl Limits {
    /// The age at which a port that was asked for successfully is asked for again.
    pub fn refresh_age(&self) -> Duration {
        let ahead = self.ttl.saturating_sub(self.refresh_lead.min(self.ttl / 2));
        ahead.min(self.watch_interval)
    }

    /// The age at which a port is served no more, whoever is away.
    pub fn stale_age(&self) -> Duration {
        self.ttl.saturating_add(self.stale_max)
    }

    /// How long to wait, unless somebody asks, after the `failures`th answer in a row that held no port.
    pub(super) fn retry_wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let longest = self.ttl.min(self.watch_interval).max(self.negative_ttl);
        self.negative_ttl
            .saturating_mul(1 << doublings)
            .min(longest)
    }

    /// After this long without an end a question is taken for lost.
    pub(super) fn lost_after(&self) -> Duration {
        self.request_timeout.saturating_mul(2)
    }
}

fn default_of(knob: &Knob) -> Duration {
    match knob.default {
        Literal::Duration(duration) => duration,
        _ => Duration::ZERO,
    }
}
