//! What is remembered of a service between two decisions about the number of its engines.

use std::collections::BTreeMap;

use tokio::time::Instant;
use weir_core::provision::{Demand, Scaler};

use super::vpn_wait::VpnWait;
use super::waits::{FleetWait, QueueWait};
use crate::peers::Loads;

/// What is remembered of one service.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) scaler: Scaler,
    pub(super) demand: Seen,
    pub(super) idle_since: BTreeMap<String, Instant>,
    /// Engines that were missing at the last look.
    pub(super) missing: usize,
    /// When this node began to decide.
    pub(super) since: Option<Instant>,
    pub(super) vpns: VpnWait,
    /// Wishes are refused because too many jobs are open.
    pub(super) queue: QueueWait,
    /// Jobs that are ready wait for others of the mesh.
    pub(super) fleet: FleetWait,
}

/// What was seen of the demand for a service.
#[derive(Default)]
pub(super) struct Seen {
    waiting: u64,
    requests: Option<u64>,
    used_at: Option<Instant>,
}

impl Seen {
    /// Takes note of a look; true when requests wait now and none did before.
    ///
    /// The number of requests falls when an engine leaves or a node does not answer. That counts as use as well: an
    /// engine that stays a while longer costs less than one that is started again.
    pub(super) fn look(&mut self, loads: &Loads, now: Instant) -> bool {
        let is_new = self.requests.replace(loads.requests) != Some(loads.requests);
        let runs = loads.in_flight.values().any(|in_flight| *in_flight > 0);
        if is_new || runs || loads.waiting > 0 {
            self.used_at = Some(now);
        }
        std::mem::replace(&mut self.waiting, loads.waiting) == 0 && loads.waiting > 0
    }

    pub(super) fn now(&self) -> Demand {
        Demand {
            waiting: u32::try_from(self.waiting).unwrap_or(u32::MAX),
            used_at: self.used_at.map(Instant::into_std),
        }
    }
}
