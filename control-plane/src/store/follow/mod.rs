//! A stream that keeps a copy of what is below a prefix, whatever happens to the store.
//!
//! First a snapshot, then every change; after whatever broke the watch, the difference between what was told
//! and what is there. There is one way of recovery, used for all: list, compare, tell the difference, watch on.
//! It covers a lost connection, a compaction, a store restored to an older state, events lost or repeated by a
//! server, and a watch that is dead but looks alive. Resuming at the next revision would spare a list and
//! would miss the restored store; there are few followers, and each list waits for the back-off.
//!
//! Bound     [`WAITING_MAX`] items; when full, the follower waits, and the store keeps what it has not read.

mod task;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Entry, Error, Event, Revision, Store};

/// How many items wait for the reader.
pub const WAITING_MAX: usize = 64;

/// What a follower tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// All that is there; told once, before any change. Only [`Followed::Lost`] may come before it.
    Snapshot {
        /// When it was so.
        revision: Revision,
        /// In order of their keys.
        entries: Vec<Entry>,
    },
    /// What one revision did.
    Changed {
        /// Which.
        revision: Revision,
        /// In the order in which it was done.
        events: Vec<Event>,
    },
    /// The store is away: what was told may be out of date until the next [`Followed::Resync`].
    Lost(Error),
    /// What was told is up to date again, with these changes.
    Resync {
        /// When it is so. Lower than before if the store was put back to an older state.
        revision: Revision,
        /// Why the watch began anew.
        reason: Reason,
        /// The difference to what was told; each key once.
        events: Vec<Event>,
    },
}

/// Why a watch began anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The watch broke.
    Lost,
    /// It was so far behind that the store no longer knew.
    Compacted,
    /// This is another store, or the same one put back to an older state.
    OtherStore,
    /// A regular check found a difference: events were lost.
    Audit,
}

/// How a follower behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Waits after the first failure; doubled after each, with full jitter. Default 100 ms.
    pub backoff_min: Duration,
    /// Longest such wait. Default 10 s.
    pub backoff_max: Duration,
    /// After this long without a failure the waits begin small again. Default 60 s.
    pub healthy_after: Duration,
    /// How often all is listed and compared, within a fifth. Default 10 min.
    pub audit_every: Duration,
    /// What begins with this is neither told nor kept; empty for nothing.
    pub except: Bytes,
    /// For the jitter; draw it at random.
    pub seed: u64,
}

impl Options {
    /// The defaults.
    pub fn new(seed: u64) -> Self {
        Self {
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            healthy_after: Duration::from_secs(60),
            audit_every: Duration::from_secs(600),
            except: Bytes::new(),
            seed,
        }
    }
}

/// The reader's end. The follower ends when it is dropped.
#[derive(Debug)]
pub struct Follower {
    items: mpsc::Receiver<Followed>,
    task: JoinHandle<()>,
}

impl Follower {
    /// The next item; `None` only if the follower was brought down.
    pub async fn next(&mut self) -> Option<Followed> {
        self.items.recv().await
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to follow what is below a prefix.
pub fn follow(store: Arc<dyn Store>, prefix: Bytes, options: Options) -> Follower {
    let (tell, items) = mpsc::channel(WAITING_MAX);
    let task = task::Task::new(store, prefix, options, tell);
    Follower {
        items,
        task: tokio::spawn(task.run()),
    }
}
