//! What handles and tasks of the tier have in common.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, Semaphore, watch};

use super::counters::L2Counters;
use super::floor::TrustFloor;
use super::link::Link;
use super::namespace::{Generation, InvalidNamespace, NAMESPACES_MAX};
use super::owed::Owed;
use super::queue::{Queue, Write};
use super::{L2State, OWED_BYTES_MAX, QUEUE_BYTES_MAX, READS_MAX};

/// The stamp of this moment, on the scale of fetches and purges; never 0 and never falling.
pub type Stamps = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What handles and tasks have in common. Nobody waits for anybody here.
pub(super) struct Shared {
    /// The connections; none while Redis is away.
    pub(super) link: ArcSwapOption<Link>,
    pub(super) reads: Semaphore,
    pub(super) queue: Queue,
    pub(super) owed: Owed,
    pub(super) floor: TrustFloor,
    pub(super) counters: Arc<L2Counters>,
    pub(super) namespaces: ArcSwap<Vec<Arc<Generation>>>,
    pub(super) namespace_added: Notify,
    pub(super) state: watch::Sender<L2State>,
    pub(super) now: Stamps,
    /// Redis has as much as it may.
    pub(super) is_full: AtomicBool,
    /// The memory that Redis said last that it uses, in bytes.
    pub(super) used_bytes: AtomicU64,
    /// How long Redis took to answer when it was last asked how much it has, in µs; 0: it was not.
    pub(super) ping_us: AtomicU64,
}

impl Shared {
    pub(super) fn new(now: Stamps) -> Self {
        Self {
            link: ArcSwapOption::empty(),
            reads: Semaphore::new(READS_MAX),
            queue: Queue::new(QUEUE_BYTES_MAX),
            owed: Owed::new(OWED_BYTES_MAX),
            floor: TrustFloor::default(),
            counters: Arc::default(),
            namespaces: ArcSwap::default(),
            namespace_added: Notify::new(),
            state: watch::Sender::new(L2State::Connecting),
            now,
            is_full: AtomicBool::new(false),
            used_bytes: AtomicU64::new(0),
            ping_us: AtomicU64::new(0),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.load().is_some()
    }

    /// Whether values are written.
    pub(super) fn takes_values(&self) -> bool {
        self.is_up() && !self.is_full.load(Ordering::Relaxed)
    }

    /// Queues a write; what has to go for it is lost.
    pub(super) fn push(&self, write: Write) {
        self.queue.push(write, |write| self.lost(write));
    }

    /// A write that does not reach Redis, or perhaps did not.
    pub(super) fn lost(&self, write: Write) {
        match write {
            Write::Put { key, instead, .. } => {
                self.counters.puts_dropped.one();
                if let Some(stamp) = instead {
                    self.owe(key, stamp);
                }
            }
            Write::Delete { keys, stamp } => self.undelivered(keys.len(), stamp),
            Write::Renew { generation, stamp } => {
                self.undelivered(1, stamp);
                generation.renewed();
            }
        }
    }

    /// A value did not reach Redis, or perhaps did not: an older one must not stay there.
    pub(super) fn owe(&self, key: Vec<u8>, stamp: u64) {
        if !self.owed.add(key, stamp) {
            self.undelivered(1, stamp);
        }
        self.queue.wake();
    }

    /// So many parts of a purge did not reach Redis.
    pub(super) fn undelivered(&self, parts: usize, stamp: u64) {
        self.floor.raise(stamp);
        self.counters.purges_undelivered.add(parts);
    }

    /// The namespace of that name, a new one if there is none.
    pub(super) fn namespace(&self, name: &str) -> Result<Arc<Generation>, InvalidNamespace> {
        let new = Arc::new(Generation::new(name)?);
        let with = |known: &Arc<Vec<Arc<Generation>>>| {
            let is_there = find(known, name).is_some() || known.len() >= NAMESPACES_MAX;
            match is_there {
                true => Arc::clone(known),
                false => Arc::new(known.iter().chain([&new]).cloned().collect()),
            }
        };
        self.namespaces.rcu(with);
        let found = find(&self.namespaces.load(), name).ok_or(InvalidNamespace::TooMany)?;
        if Arc::ptr_eq(&found, &new) {
            self.namespace_added.notify_one();
        }
        Ok(found)
    }
}

fn find(namespaces: &[Arc<Generation>], name: &str) -> Option<Arc<Generation>> {
    let found = namespaces.iter().find(|known| known.name() == name);
    found.cloned()
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}
