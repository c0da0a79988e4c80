//! What care is told and tells.

use std::time::{Duration, Instant};

/// How patient care is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CareRules {
    /// From the beginning of its start until an engine must be ready.
    pub readiness_timeout: Duration,
    /// Probes failed in a row that take a ready engine out; 0 counts as 1.
    pub failures_max: u32,
    /// How long it stays out until it is replaced, unless a probe passes.
    pub unhealthy_grace: Duration,
    /// So many times the failures and the grace while something runs on it: work slows its answers. 0 counts as 1.
    pub in_use_patience: u32,
    /// Uses after which an engine is replaced; 0 is never.
    pub recycle_after_uses: u64,
    /// It is not what would be started now, and is to be replaced for that.
    pub outdated: bool,
    /// How long what runs on an engine may take to end when the engine is drained.
    pub drain_timeout: Duration,
    /// How long its VPN may be down until the engine is started anew elsewhere; `None` waits for the VPN.
    pub vpn_lost_grace: Option<Duration>,
    /// Time between two stops of an engine that does not end.
    pub stop_retry: Duration,
}

impl Default for CareRules {
    fn default() -> Self {
        Self {
            readiness_timeout: Duration::from_secs(60),
            failures_max: 3,
            unhealthy_grace: Duration::from_secs(60),
            in_use_patience: 3,
            recycle_after_uses: 0,
            outdated: false,
            drain_timeout: Duration::from_secs(600),
            vpn_lost_grace: None,
            stop_retry: Duration::from_secs(30),
        }
    }
}

/// Where an engine is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CareState {
    /// Its driver starts it.
    Starting,
    /// It runs, and has passed no probe yet.
    Probing,
    /// It is good. It gets traffic unless its VPN is down.
    Ready,
    /// It was ready, and its probes fail.
    Unhealthy {
        /// Since when.
        since: Instant,
        /// Probes failed in a row.
        failures: u32,
    },
    /// It gets no new work and ends what runs on it.
    Draining {
        /// When it is stopped whatever runs on it.
        until: Instant,
        /// Why.
        reason: EndReason,
    },
    /// It is being stopped.
    Stopping {
        /// Why.
        reason: EndReason,
        /// When its driver was asked last.
        asked_at: Instant,
    },
    /// It has ended, and what it held is given back.
    Gone {
        /// Why.
        reason: EndReason,
    },
}

/// Why an engine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// Somebody wanted it, or there are too many.
    Asked,
    /// It was not ready in time.
    NotReady,
    /// Its probes failed for too long.
    Unhealthy,
    /// It ended by itself.
    Ended,
    /// The forwarded port that it was started with is not its VPN's any more.
    PortChanged,
    /// The container whose network it was in was made anew.
    NetworkGone,
    /// Its VPN was down for too long.
    VpnLost,
    /// It was used as often as an engine may be.
    Recycled,
    /// It is not what would be started now.
    Outdated,
    /// Engines were spread unevenly over VPNs.
    Rebalanced,
}

impl CareState {
    /// Why it ends; `None` while it does not.
    pub const fn ends_for(self) -> Option<EndReason> {
        match self {
            Self::Draining { reason, .. }
            | Self::Stopping { reason, .. }
            | Self::Gone { reason } => Some(reason),
            Self::Starting | Self::Probing | Self::Ready | Self::Unhealthy { .. } => None,
        }
    }

    /// Whether it leaves because somebody said so: then nobody wants another one in its stead.
    pub const fn was_asked_to_end(self) -> bool {
        matches!(self.ends_for(), Some(EndReason::Asked))
    }
}

impl EndReason {
    /// Whether nothing is wrong with an engine that ends for it.
    pub const fn is_routine(self) -> bool {
        matches!(self, Self::Asked) || self.leaves_it_serving()
    }

    /// Whether an engine that is replaced for it serves well until then.
    pub const fn leaves_it_serving(self) -> bool {
        matches!(self, Self::Recycled | Self::Outdated | Self::Rebalanced)
    }

    /// The reason in snake case, for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::NotReady => "not_ready",
            Self::Unhealthy => "unhealthy",
            Self::Ended => "ended",
            Self::PortChanged => "port_changed",
            Self::NetworkGone => "network_gone",
            Self::VpnLost => "vpn_lost",
            Self::Recycled => "recycled",
            Self::Outdated => "outdated",
            Self::Rebalanced => "rebalanced",
        }
    }
}

/// What happened to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Its driver says that it runs.
    Running,
    /// Its driver says that it ended, or that there is no such engine.
    Ended,
    /// A probe was answered well.
    ProbePassed,
    /// A probe was not.
    ProbeFailed,
    /// What runs on it now, and how often it was used in its life.
    Used {
        /// Running now.
        in_flight: u32,
        /// Since it started.
        uses: u64,
    },
    /// It is not wanted any more; what runs on it may end first.
    DrainAsked,
    /// It is not wanted any more, whatever runs on it.
    StopAsked,
    /// Its VPN is down.
    VpnLost,
    /// Its VPN is up again and stable.
    VpnBack,
    /// Its VPN has another forwarded port now; none is no other.
    PortChanged,
    /// The container whose network it is in was made anew.
    NetworkGone,
    /// [`super::Replacements`] granted what [`Action::Replace`] asked for.
    ReplacementGranted,
    /// One behind another VPN takes its place.
    Moved,
    /// Nothing but time.
    Tick,
}

/// What to do about an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give it traffic.
    Publish,
    /// Give it no new traffic; what runs on it goes on.
    Hide,
    /// It should be replaced for this reason: ask [`super::Replacements`], and when that grants it tell
    /// [`Observation::ReplacementGranted`]. Comes again with each tick as long as it holds.
    Replace(EndReason),
    /// Have its driver stop it, and tell [`Observation::Ended`] once it has. Comes again when that takes too long.
    Stop(EndReason),
    /// It is gone: give back its ports, name and place.
    Remove {
        /// Why.
        reason: EndReason,
        /// Whether another one should take its place.
        replace: bool,
    },
}
