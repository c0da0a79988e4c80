//! What is remembered of a service between two decisions about the number of its engines.

use std::collections::BTreeMap;
use std::time::Duration;

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
    pub(super) missing: Missing,
    /// For what its engines wait, in words, as of the last decision.
    pub(super) waits: Option<String>,
    /// When this node began to decide.
    pub(super) since: Option<Instant>,
    pub(super) vpns: VpnWait,
    /// Wishes are refused because too many jobs are open.
    pub(super) queue: QueueWait,
    /// Jobs that are ready wait for others of the mesh.
    pub(super) fleet: FleetWait,
}

/// What makes a decision due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Time has passed.
    Tick,
    /// Requests began to wait.
    Waiters,
}

/// Engines that are missing, until it is certain that they are not only seen late.
#[derive(Debug, Default)]
pub(super) struct Missing {
    at_last_tick: usize,
    nothing_since: Option<Instant>,
}

impl Missing {
    /// Takes note whether no engine is there, nor any on its way; true when it has been so for long.
    ///
    /// An engine of another node is seen a moment after its job is done. Where there has been nothing for `long` none
    /// is seen late, so requests that begin to wait need no second look.
    pub(super) fn is_asleep(&mut self, is_nothing: bool, long: Duration, now: Instant) -> bool {
        if !is_nothing {
            self.nothing_since = None;
            return false;
        }
        let since = *self.nothing_since.get_or_insert(now);
        now.saturating_duration_since(since) >= long
    }

    /// So many of those that are missing were missing at the tick before, too.
    pub(super) fn lasting(&mut self, missing: usize, due: Due) -> usize {
        match due {
            Due::Tick => missing.min(std::mem::replace(&mut self.at_last_tick, missing)),
            Due::Waiters => 0,
        }
    }

    /// No engine is missing.
    pub(super) fn none(&mut self) {
        self.at_last_tick = 0;
    }
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
        let requests = loads.requests.values().sum();
        let is_new = self.requests.replace(requests) != Some(requests);
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

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_service_sleeps_when_nothing_was_there_for_long_and_not_when_one_may_be_seen_late() {
        let (mut missing, start) = (Missing::default(), Instant::now());
        assert!(!missing.is_asleep(true, LONG, start));
        assert!(!missing.is_asleep(true, LONG, start + LONG / 2));
        assert!(missing.is_asleep(true, LONG, start + LONG));
        // Its job may have been done a moment ago, and the engine is told next.
        assert!(!missing.is_asleep(false, LONG, start + LONG * 2));
        assert!(!missing.is_asleep(true, LONG, start + LONG * 3));
        assert!(missing.is_asleep(true, LONG, start + LONG * 4));
    }

    #[test]
    fn requests_that_begin_to_wait_do_not_make_the_second_look_come_sooner() {
        let mut missing = Missing::default();
        assert_eq!(missing.lasting(2, Due::Tick), 0);
        assert_eq!(missing.lasting(2, Due::Waiters), 0);
        assert_eq!(missing.lasting(3, Due::Tick), 2);
        missing.none();
        assert_eq!(missing.lasting(3, Due::Waiters), 0);
        assert_eq!(missing.lasting(3, Due::Tick), 0);
    }
}
