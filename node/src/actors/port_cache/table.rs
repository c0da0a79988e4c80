//! What everyone reads of the port cache.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use weir_core::port_cache::{Counters, Failure, Port, State};
use weir_core::provision::VpnState;
use weir_core::vpn::{self, Network, PortFacts};

use crate::config::PortCacheSettings;

/// Look-ups that were answered from the table alone.
#[derive(Debug, Default)]
pub struct Counts {
    hits: AtomicU64,
    told: AtomicU64,
}

impl Counts {
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// How many since this was asked last.
    pub(super) fn untold(&self) -> u64 {
        let hits = self.hits();
        hits.saturating_sub(self.told.swap(hits, Ordering::Relaxed))
    }

    /// How many.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

/// One VPN, as others see it.
#[derive(Clone, Debug)]
pub struct VpnView {
    /// Its name.
    pub name: String,
    /// What is known of its port.
    pub port_state: State,
    /// The last good port and when it was asked for.
    pub good: Option<(Port, Instant)>,
    /// The port that engines should have.
    pub settled: Option<Port>,
    /// Ports take turns, until then at least.
    pub calm_at: Option<Instant>,
    /// When the newest answer was asked for, and when it came.
    pub asked_at: Option<(Instant, Instant)>,
    /// Rises with each invalidation.
    pub epoch: u64,
    /// Of the entry: another one counts epochs anew.
    pub incarnation: u64,
    /// How it is.
    pub health: vpn::State,
    /// The node that asks it.
    pub owner: String,
    /// Where its tunnel ends.
    pub public_ip: Option<String>,
    /// What an operator should look at.
    pub alarms: Vec<String>,
    /// The network of its container, if one was seen to run.
    pub network: Option<Network>,
    /// Rises whenever the network of its container is another one.
    pub networks: u64,
    /// Rises whenever its tunnel was made anew.
    pub tunnels: u64,
    /// What happened to its entry, look-ups from the table not included.
    pub counters: Counters,
    /// Look-ups from the table.
    pub counts: Arc<Counts>,
}

impl PartialEq for VpnView {
    fn eq(&self, other: &Self) -> bool {
        // Counters alone are no news.
        (
            &self.name,
            self.port_state,
            self.good,
            self.settled,
            self.epoch,
            self.health,
        ) == (
            &other.name,
            other.port_state,
            other.good,
            other.settled,
            other.epoch,
            other.health,
        ) && (
            self.asked_at,
            &self.owner,
            &self.public_ip,
            &self.alarms,
            &self.network,
            self.networks,
            self.tunnels,
            self.calm_at,
        ) == (
            other.asked_at,
            &other.owner,
            &other.public_ip,
            &other.alarms,
            &other.network,
            other.networks,
            other.tunnels,
            other.calm_at,
        ) && self.counters == other.counters
    }
}

impl VpnView {
    /// What decides which port a new engine gets.
    pub fn port_facts(&self, now: Instant) -> PortFacts {
        PortFacts {
            health: self.health,
            told: self.good.map(|(port, _)| port),
            settled: self.settled,
            calm_in: self.calm_at.map(|at| at.saturating_duration_since(now)),
            is_out: self.port_state == State::Failed(Failure::Unreachable),
        }
    }

    /// How far it can be relied on.
    pub fn standing(&self) -> VpnState {
        match self.health {
            vpn::State::Healthy | vpn::State::Stable => VpnState::Stable,
            vpn::State::Recovering { .. } => VpnState::Recovering,
            vpn::State::Unhealthy | vpn::State::Unknown => VpnState::Down,
        }
    }
}

/// Every VPN of this node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    vpns: BTreeMap<String, Arc<VpnView>>,
    limits: PortCacheSettings,
}

impl Table {
    pub(crate) fn of(views: impl Iterator<Item = VpnView>, limits: &PortCacheSettings) -> Self {
        Self {
            vpns: views
                .map(|view| (view.name.clone(), Arc::new(view)))
                .collect(),
            limits: limits.clone(),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &PortCacheSettings {
        &self.limits
    }

    /// The VPN of that name.
    pub fn vpn(&self, name: &str) -> Option<&Arc<VpnView>> {
        self.vpns.get(name)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<VpnView>> {
        self.vpns.values()
    }

    /// A port that may be believed now, and its age.
    pub(super) fn warm(&self, name: &str, now: Instant) -> Option<(Port, Duration)> {
        let view = self.vpns.get(name)?;
        let (port, asked_at) = view.good?;
        let age = now.saturating_duration_since(asked_at);
        (age < self.limits.ttl).then(|| {
            view.counts.hit();
            (port, age)
        })
    }
}
