//! One look at a VPN, and what it says of its health.

use std::net::IpAddr;
use std::time::Duration;

use crate::port_cache::Port;
use crate::tuning::knobs::port_cache;
use crate::tuning::{Knob, Literal};

/// What Gluetun says of its tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelStatus {
    /// Set before the tunnel is proven.
    Running,
    /// Being made.
    Starting,
    /// Being ended.
    Stopping,
    /// Ended by order.
    Stopped,
    /// Ended by itself.
    Crashed,
    /// Did what it had to.
    Completed,
    /// A word that is not known.
    Other,
}

impl TunnelStatus {
    /// Reads the word of the control server.
    pub fn from_word(word: &str) -> Self {
        match word {
            "running" => Self::Running,
            "starting" => Self::Starting,
            "stopping" => Self::Stopping,
            "stopped" => Self::Stopped,
            "crashed" => Self::Crashed,
            "completed" => Self::Completed,
            _ => Self::Other,
        }
    }

    /// Whether the tunnel is certainly not there.
    pub const fn is_down(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Stopping | Self::Stopped | Self::Crashed
        )
    }
}

/// What the control server said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Of the tunnel; `None` when this node may not see it, or need not because an address is told.
    pub status: Option<TunnelStatus>,
    /// Where the tunnel ends; `None` when it said none.
    pub public_ip: Option<IpAddr>,
}

/// What Docker says of a container's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainerHealth {
    /// Its checks pass.
    Healthy,
    /// They fail.
    Unhealthy,
    /// Not checked yet, or without checks.
    #[default]
    Untold,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Another one after it was made anew.
    pub id: String,
    /// When it was started, milliseconds since 1970 by its own clock.
    pub started_unix_ms: u64,
    /// Whether it runs.
    pub is_running: bool,
    /// Its health.
    pub health: ContainerHealth,
}

/// What is known of a VPN's container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ContainerLook {
    /// Nothing: nobody could be asked.
    #[default]
    NotSeen,
    /// There is none of its name.
    Gone,
    /// It is there.
    Seen(Container),
}

/// One look at a VPN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What the control server said; `None` when it did not answer.
    pub control: Option<Control>,
    /// What Docker said.
    pub container: ContainerLook,
    /// The port, once [`super::PortWatch`] has settled on it.
    pub port: Option<Port>,
}

/// What rules the health of a VPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthLimits {
    /// Good looks in a row that make it stable after an outage.
    pub rise: u32,
    /// Bad looks in a row that make it unhealthy.
    pub fall: u32,
    /// A running tunnel without a public address is not healthy, unless Docker says that it is. False for a Gluetun
    /// that is told not to look its address up.
    pub needs_public_ip: bool,
    /// A control server that does not answer says nothing of the tunnel, up to this long.
    pub unreachable_max: Duration,
    /// Restart it once an outage, after this long.
    pub forced_restart_after: Option<Duration>,
    /// No looks and no calls for this long after a forced restart.
    pub quiet_after_restart: Duration,
    /// A new port this soon after a restart in place belongs to that restart.
    pub settle_after_restart: Duration,
}

impl Default for HealthLimits {
    fn default() -> Self {
        Self {
            rise: default_count(&port_cache::HEALTH_RISE),
            fall: default_count(&port_cache::HEALTH_FALL),
            needs_public_ip: true,
            unreachable_max: default_time(&port_cache::STALE_MAX),
            forced_restart_after: None,
            quiet_after_restart: default_time(&port_cache::RESTART_QUIET),
            settle_after_restart: default_time(&port_cache::RESTART_SETTLE),
        }
    }
}

pub(super) fn default_time(knob: &Knob) -> Duration {
    match knob.default {
        Literal::Duration(duration) => duration,
        _ => Duration::ZERO,
    }
}

pub(super) fn default_count(knob: &Knob) -> u32 {
    match knob.default {
        Literal::Count(count) => u32::try_from(count).unwrap_or(u32::MAX),
        _ => 1,
    }
}

/// What a look says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Bad,
    /// Neither: it counts as no look.
    Unclear,
}

impl Look {
    /// What it says; `unreachable_for` is how long the control server has not answered.
    pub(super) fn verdict(&self, unreachable_for: Duration, limits: &HealthLimits) -> Verdict {
        let health = match &self.container {
            ContainerLook::Gone => return Verdict::Bad,
            ContainerLook::Seen(container) if !container.is_running => return Verdict::Bad,
            ContainerLook::Seen(container) => container.health,
            ContainerLook::NotSeen => ContainerHealth::Untold,
        };
        let is_healthy = match health {
            ContainerHealth::Unhealthy => return Verdict::Bad,
            ContainerHealth::Healthy => true,
            ContainerHealth::Untold => false,
        };
        match self.control {
            Some(control) => control.verdict(is_healthy, limits),
            None if is_healthy => Verdict::Good,
            None if unreachable_for >= limits.unreachable_max => Verdict::Bad,
            None => Verdict::Unclear,
        }
    }
}

impl Control {
    /// Whether it says that there is a tunnel: an address is told only while there is one.
    pub(super) const fn is_there(self) -> bool {
        match self.status {
            Some(status) => matches!(status, TunnelStatus::Running),
            None => self.public_ip.is_some(),
        }
    }

    fn verdict(self, container_is_healthy: bool, limits: &HealthLimits) -> Verdict {
        let is_proven = self.public_ip.is_some() || container_is_healthy;
        match self.status {
            Some(TunnelStatus::Running) if is_proven || !limits.needs_public_ip => Verdict::Good,
            Some(_) => Verdict::Bad,
            None if is_proven => Verdict::Good,
            None => Verdict::Unclear,
        }
    }
}
