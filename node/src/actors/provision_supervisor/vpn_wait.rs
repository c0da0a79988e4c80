//! Whether engines of a service are asked for at all, as far as its VPNs go.

use std::time::Duration;

use tokio::time::Instant;
use weir_core::provision::VpnState;

use super::EnginePlan;
use crate::actors::port_cache::PortCacheHandle;

/// After its VPN is back an engine has two probes and this long to be in traffic again, also for other nodes.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// Waits for VPNs.
#[derive(Debug, Default)]
pub(super) struct VpnWait {
    was_up: bool,
    not_before: Option<Instant>,
}

impl VpnWait {
    /// Whether one of the service's VPNs is up, and engines that were hidden while none was have had time to come back.
    ///
    /// Until then a missing engine may be one that only waits; nothing could be started anyway.
    pub(super) fn is_over(
        &mut self,
        engines: &EnginePlan,
        ports: &PortCacheHandle,
        now: Instant,
    ) -> bool {
        let vpns = &engines.settings.launch.vpns;
        let is_up = |name: &String| {
            let known = ports.vpn(name);
            known.is_some_and(|known| known.state == VpnState::Stable)
        };
        if vpns.is_empty() || vpns.iter().any(is_up) {
            self.was_up = true;
            return self.not_before.is_none_or(|at| now >= at);
        }
        if self.was_up {
            let probes = engines.settings.care.interval.saturating_mul(2);
            self.not_before = Some(now + probes + TOLD_WITHIN);
        }
        false
    }
}
