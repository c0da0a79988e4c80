//! Bugs of nodes that keep answers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use weir_cache::{Entry, MemoryLimits, Missed, PurgeLimits, Purges};
use weir_core::cache::UnixMs;
use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, HlcClock};
use weir_node::ports::clock::WallClock;

use super::Store;
use crate::plant::Plant;

/// How long an early acknowledgement is ahead.
const EARLY: Duration = Duration::from_millis(400);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const MISSED_MAX: usize = 1_024;

/// A planted bug as one node has it.
#[derive(Default)]
pub(super) struct Planted {
    plant: Option<Plant>,
    /// What was inserted and is compared with nothing.
    inserted: RefCell<BTreeMap<usize, Arc<Entry>>>,
}

impl Planted {
    pub(super) fn new(plant: Option<Plant>) -> Self {
        Self {
            plant,
            inserted: RefCell::default(),
        }
    }

    /// An answer was fetched.
    pub(super) fn inserts(&self, key: usize, entry: &Arc<Entry>) {
        if self.plant == Some(Plant::InsertWithoutCompare) {
            self.inserted.borrow_mut().insert(key, Arc::clone(entry));
        }
    }

    /// What answers whatever purges say.
    pub(super) fn found(&self, key: usize) -> Option<Arc<Entry>> {
        self.inserted.borrow().get(&key).cloned()
    }

    /// A copy of what another tier has.
    pub(super) fn copied(&self, entry: Arc<Entry>, store: &Store, now: UnixMs) -> Arc<Entry> {
        if self.plant != Some(Plant::CopyTime) {
            return entry;
        }
        Arc::new(Entry::new(
            entry.resource.clone(),
            entry.stored.clone(),
            store.fetch_time(now),
            entry.tags.clone(),
            entry.body.clone(),
        ))
    }

    /// What a node serves from: the store whose purges it acknowledges, or one where they are in force later.
    pub(super) fn serves_from(&self, acked: &Store, clock: WallClock) -> Store {
        if self.plant != Some(Plant::EarlyAck) {
            return Arc::clone(acked);
        }
        let limits = MemoryLimits {
            bytes_max: 8 << 20,
            entry_bytes_max: 1 << 20,
        };
        let clocks = HlcClock::new(0, DEFAULT_DRIFT_MAX_MS);
        let purges = Purges::new(0, clocks, PurgeLimits::default());
        let late = Arc::new(weir_cache::Store::new(limits, 1, purges));
        tokio::task::spawn_local(follow(Arc::clone(acked), Arc::clone(&late), clock));
        late
    }
}

/// Puts in force what was acknowledged some time ago.
async fn follow(acked: Store, late: Store, clock: WallClock) {
    loop {
        let mut all: Vec<Missed> = Vec::new();
        for (origin, _) in acked.purges.all_seen() {
            let seen = late.purges.seen(origin);
            match origin == acked.purges.origin() {
                true => all.push(acked.purges.missed(origin, seen, MISSED_MAX)),
                false => all.extend(acked.purges.relayed(origin, seen, MISSED_MAX)),
            }
        }
        sleep(EARLY).await;
        for missed in all {
            late.purges.receive(&missed, UnixMs(clock.unix_ms_now()));
        }
        sleep(LOOK_EVERY).await;
    }
}
