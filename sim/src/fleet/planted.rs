//! What is wrong with a client of the store on request.

use std::sync::atomic::{AtomicU64, Ordering};

use weir_control_plane::store::{Revision, Txn};

use crate::plant::Plant;

/// A planted client.
pub(crate) struct Planted {
    plant: Option<Plant>,
    /// The newest revision that a watch told.
    seen: AtomicU64,
    /// The revision at which it stopped following; 0 while it follows.
    stopped_at: AtomicU64,
}

impl Planted {
    /// One with this bug, or none.
    pub(crate) fn new(plant: Option<Plant>) -> Self {
        Self {
            plant,
            seen: AtomicU64::new(0),
            stopped_at: AtomicU64::new(0),
        }
    }

    /// A watch told of a revision.
    pub(crate) fn saw(&self, revision: Revision) {
        self.seen.fetch_max(revision.0, Ordering::Relaxed);
    }

    /// The way to the store broke.
    pub(crate) fn broke(&self) {
        let seen = self.seen.load(Ordering::Relaxed);
        if self.plant == Some(Plant::StaleReplica) && self.stopped_at.load(Ordering::Relaxed) == 0 {
            self.stopped_at.store(seen, Ordering::Relaxed);
        }
    }

    /// The revision that it is stuck at.
    pub(crate) fn stuck_at(&self) -> Option<Revision> {
        let at = self.stopped_at.load(Ordering::Relaxed);
        (at > 0).then_some(Revision(at))
    }

    /// Whether a watch keeps an item to itself.
    pub(crate) fn drops(&self, random: &mut fastrand::Rng) -> bool {
        let is_lost = self.plant == Some(Plant::LostEvents) && random.u8(..) < 32;
        is_lost || self.stuck_at().is_some()
    }

    /// Whether a write is acknowledged and not made.
    pub(crate) fn forgets(&self, txn: &Txn, random: &mut fastrand::Rng) -> bool {
        let is_profile = txn.then.iter().any(|op| op.key().ends_with(b"/head"));
        self.plant == Some(Plant::ForgottenWrite) && is_profile && random.u8(..) < 64
    }
}
