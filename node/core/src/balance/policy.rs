//! The balancing policies and what a request may be hashed on.

use std::fmt;
use std::str::FromStr;

use super::ewma::EwmaConfig;

/// How far above its fair share of requests in flight a backend may go under consistent hashing,
/// in percent of that share.
pub const DEFAULT_BOUNDED_LOAD_PERCENT: u32 = 125;

/// How a backend is chosen among the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Smooth weighted round robin, per core.
    RoundRobin,
    /// Fewest requests in flight per weight, counted over all cores.
    LeastConnections,
    /// The better of two random choices by peak-EWMA latency and requests in flight.
    PeakEwma(EwmaConfig),
    /// Random in proportion to weight.
    Random,
    /// A hash ring with bounded load: equal keys go to the same backend while it has room.
    ConsistentHash {
        /// Most requests in flight on one backend, in percent of its fair share; values below 100
        /// count as 100.
        bounded_load_percent: u32,
    },
}

impl Default for Policy {
    fn default() -> Self {
        Self::PeakEwma(EwmaConfig::default())
    }
}

/// The name is that of no balancing policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown balancing policy {0:?}: expected round_robin, least_connections, peak_ewma, random or consistent_hash"
)]
pub struct UnknownPolicy(pub String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    /// The policy of that name with its default settings.
    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        match name {
            "round_robin" => Ok(Self::RoundRobin),
            "least_connections" => Ok(Self::LeastConnections),
            "peak_ewma" => Ok(Self::PeakEwma(EwmaConfig::default())),
            "random" => Ok(Self::Random),
            "consistent_hash" => Ok(Self::ConsistentHash {
                bounded_load_percent: DEFAULT_BOUNDED_LOAD_PERCENT,
            }),
            _ => Err(UnknownPolicy(name.to_owned())),
        }
    }
}

impl Policy {
    /// Its name, as it is configured and shown.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
            Self::PeakEwma(_) => "peak_ewma",
            Self::Random => "random",
            Self::ConsistentHash { .. } => "consistent_hash",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What part of a request is hashed to place it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The address the client connects from, without its port.
    ClientAddress,
    /// The value of a header.
    Header(http::HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// The path, without its query.
    Path,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_parses_from_the_name_it_prints() {
        for name in [
            "round_robin",
            "least_connections",
            "peak_ewma",
            "random",
            "consistent_hash",
        ] {
            let policy: Policy = name.parse().expect("a known name");
            assert_eq!(policy.to_string(), name);
        }
    }

    #[test]
    fn an_unknown_policy_is_named_in_the_error() {
        let error = "fastest".parse::<Policy>().expect_err("no such policy");
        assert!(error.to_string().contains("fastest"));
    }

    #[test]
    fn the_default_is_peak_ewma() {
        assert_eq!(Policy::default().to_string(), "peak_ewma");
    }
}
