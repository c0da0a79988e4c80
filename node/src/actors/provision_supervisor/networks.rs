//! The networks of containers that engines joined: whether they are still there.
//!
//! That is compared each tick, so it does not matter which node saw what, and when. Of a VPN's container the node tells
//! that asks the VPN; any other container is looked at here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use weir_core::provision::Observation;
use weir_core::vpn::{Joined, Network};
use weir_engines::driver;

use super::plan::EnginePlan;
use super::spec::network;
use super::{Parts, ProvisionSupervisor};
use crate::config::{DriverKind, VpnSettings};

/// Between two looks at containers that are no VPN's.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// For one look.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
const WHY: &str = "the container whose network it joined was started again or made anew";

/// The network that an engine would join that is started now, if it joins a container's and that is known.
pub(super) fn network_now(
    parts: &Parts,
    plan: &EnginePlan,
    vpn: Option<&VpnSettings>,
) -> Option<Network> {
    let launch = &plan.settings.launch;
    let driver::Network::Container(name) = network(launch, vpn) else {
        return None;
    };
    match vpn.filter(|vpn| vpn.container.is_some()) {
        _ if launch.driver != DriverKind::Docker => None,
        Some(vpn) => parts.ports.view(&vpn.name)?.network.clone(),
        None => parts.outlet.networks.borrow().get(&name).cloned(),
    }
}

impl ProvisionSupervisor {
    /// Looks at containers whose networks engines join and that are no VPN's.
    pub(super) fn follow_networks(&mut self) {
        self.followers
            .spawn_local(look_at_networks(self.parts.clone()));
    }

    /// Ends an engine whose network is not there any more.
    pub(super) fn care_for_network(&mut self, id: &str, now: Instant) {
        let Some(engine) = self.engines.get(id) else {
            return;
        };
        let vpn = engine.lot.vpn.as_ref();
        let vpn = vpn.and_then(|name| self.plan.vpns.get(name));
        let Some(network) = network_now(&self.parts, &engine.plan, vpn) else {
            return;
        };
        let (at_start, running) = (engine.lot.network.as_ref(), &engine.running);
        let Some(container_id) = running.network_container_id.as_deref() else {
            return;
        };
        // Which container it was to join is not known, and another one may be meant by now.
        if at_start.is_none() && engine.awaits_renewal(&self.plan) {
            return;
        }
        let is_gone = network.is_gone_for(&Joined {
            at_start,
            container_id,
            started_unix_ms: running.started_unix_ms,
        });
        if is_gone && let Some(engine) = self.engines.get_mut(id) {
            WHY.clone_into(&mut engine.why);
            self.observe(id, Observation::NetworkGone, now);
        }
    }
}

/// Looks again and again; what cannot be seen is as it was seen last.
async fn look_at_networks(parts: Parts) {
    loop {
        let mut seen = BTreeMap::new();
        for container in joined_by_services(&parts) {
            let looked = timeout(LOOK_TIMEOUT, parts.drivers.containers.look(&container)).await;
            let network = match looked {
                Ok(Ok(Some(found))) if found.running => Some(Network {
                    container: container.clone(),
                    id: found.id,
                    started_unix_ms: found.started_unix_ms,
                }),
                _ => parts.outlet.networks.borrow().get(&container).cloned(),
            };
            seen.extend(network.map(|network| (container, network)));
        }
        parts.outlet.networks.send_replace(seen);
        sleep(LOOK_INTERVAL).await;
    }
}

/// Containers whose networks services name themselves.
fn joined_by_services(parts: &Parts) -> BTreeSet<String> {
    let in_force = parts.in_force.load();
    let services = in_force.config.services.iter();
    let launches = services
        .filter_map(|service| service.engines.as_ref())
        .map(|engines| &engines.launch)
        .filter(|launch| launch.driver == DriverKind::Docker);
    let names = launches.filter_map(|launch| match &launch.network {
        driver::Network::Container(name) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}
