//! When leases expire. Pure: time comes in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::LeaseId;

/// Every lease that lives and the moment it will not.
#[derive(Debug, Default)]
pub(super) struct LeaseClock {
    leases: BTreeMap<LeaseId, (Duration, Instant)>,
    by_end: BTreeSet<(Instant, LeaseId)>,
}

impl LeaseClock {
    /// Lets a lease live from `now`.
    pub(super) fn start(&mut self, lease: LeaseId, ttl: Duration, now: Instant) {
        self.stop(lease);
        let end = now + ttl;
        self.leases.insert(lease, (ttl, end));
        self.by_end.insert((end, lease));
    }

    /// Lets it live its whole time again; false if it is gone.
    pub(super) fn renew(&mut self, lease: LeaseId, now: Instant) -> bool {
        let known = self.leases.get(&lease).map(|(ttl, _)| *ttl);
        if let Some(ttl) = known {
            self.start(lease, ttl, now);
        }
        known.is_some()
    }

    /// Whether it lives.
    pub(super) fn has(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease)
    }

    /// Forgets a lease.
    pub(super) fn stop(&mut self, lease: LeaseId) {
        if let Some((_, end)) = self.leases.remove(&lease) {
            self.by_end.remove(&(end, lease));
        }
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.by_end.first().map(|(end, _)| *end)
    }

    /// Those whose time is over, at most `count_max`, the longest over first.
    pub(super) fn over(&self, now: Instant, count_max: usize) -> Vec<LeaseId> {
        let over = self.by_end.iter().take_while(|(end, _)| *end <= now);
        over.take(count_max).map(|(_, lease)| *lease).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn renewed_lease_outlives_its_first_end() {
        let (mut clock, start) = (LeaseClock::default(), Instant::now());
        clock.start(LeaseId(1), TTL, start);
        clock.start(LeaseId(2), TTL, start);
        assert!(clock.renew(LeaseId(1), start + TTL / 2));
        assert_eq!(clock.next_end(), Some(start + TTL));
        assert_eq!(clock.over(start + TTL, 9), [LeaseId(2)]);
        clock.stop(LeaseId(2));
        assert_eq!(clock.next_end(), Some(start + TTL + TTL / 2));
    }

    #[test]
    fn stopped_lease_cannot_be_renewed() {
        let (mut clock, start) = (LeaseClock::default(), Instant::now());
        clock.start(LeaseId(1), TTL, start);
        clock.stop(LeaseId(1));
        assert!(!clock.renew(LeaseId(1), start));
        assert_eq!(clock.next_end(), None);
    }
}
