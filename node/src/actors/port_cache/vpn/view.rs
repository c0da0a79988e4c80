//! What others see of a VPN.

use std::sync::Arc;

use tokio::time::Instant;
use weir_core::port_cache::Answer;

use super::super::VpnView;
use super::{Vpn, watch_limits};
use crate::config::PortCacheSettings;

impl Vpn {
    /// What others see of it.
    pub(in super::super) fn view(&self, now: Instant, limits: &PortCacheSettings) -> VpnView {
        let at = now.into_std();
        let good = match self.entry.answer(at, &self.limits(limits)) {
            Answer::Port { port, age, .. } => Some((port, now - age)),
            _ => None,
        };
        let picture = self.entry.picture(at).latest;
        let mut alarms = Vec::new();
        if self.watch.is_port_missing() && self.ours {
            alarms.push("healthy, and without a forwarded port for too long".to_owned());
        }
        if self.watch.is_flapping() && self.ours {
            alarms.push(
                "the forwarded port changes so often that changes are not acted on".to_owned(),
            );
        }
        alarms.extend(self.why.clone().filter(|_| self.ours));
        if !self.ours {
            alarms.extend_from_slice(self.followed.alarms());
        }
        VpnView {
            name: self.settings.name.clone(),
            port_state: self.entry.state(),
            good,
            settled: self.settled(),
            calm_at: match self.ours {
                true => self
                    .watch
                    .calm_at(&watch_limits(limits))
                    .map(Instant::from_std),
                false => self.followed.calm_at(),
            },
            asked_at: picture.map(|latest| (now - latest.asked_age, now - latest.told_age)),
            epoch: self.entry.epoch(),
            incarnation: self.incarnation,
            health: self.health(),
            owner: self.owner.clone(),
            public_ip: self.public_ip.clone(),
            alarms,
            network: self.network(),
            networks: self.networks,
            tunnels: self.tunnels,
            counters: self.entry.counters(),
            counts: Arc::clone(&self.counts),
        }
    }
}
