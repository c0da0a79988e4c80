//! What this instance asserts, kept true in the store whatever happens to the store or to the leases.
//!
//! Owns      a map of keys: what each shall hold, and what is known to be there.
//! Receives  changes of the map; leases granted anew; its own clock of the audit.
//! Writes    what changed, in transactions of at most 128 operations, one in flight at a time. The first change
//!           waits [`GATHER_WINDOW`] for others. While the store is away, the map goes on changing.
//! Bound     [`ENTRIES_MAX`] keys; more are refused. Of each key only the newest value waits.
//!
//! **Who wins.** [`Presences::assert`] takes the key from whoever has it. Everything after that is done only if
//! the key is still ours: an update, a withdrawal, and putting again what a lost lease took along. What another
//! instance took over is dropped here and left alone there. A key is ours if it is under a lease of ours.
//!
//! **Fences.** What was asserted with a fence is never put where nothing is while a key at its fence is there: whoever
//! ends it for good deletes it and puts the fence in one transaction, and no instance brings it back.
//!
//! **Audit.** Every [`AUDIT_EVERY`], within a fifth, one condition for each key asks whether it is as it was
//! written; if all hold, nothing is written. It finds keys that were lost with their lease still alive: deleted
//! by hand, or by a store that was put back to an older state.

mod batch;
mod entry;
mod send;
mod settle;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Buckets;
use crate::store::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::store::{Revision, Store};
use entry::{Guard, Wish};

/// Most keys that are asserted or wait to be written.
pub const ENTRIES_MAX: usize = 200_000;
/// How long the first change waits for others.
pub const GATHER_WINDOW: Duration = Duration::from_millis(20);
/// How often everything is compared with the store.
pub const AUDIT_EVERY: Duration = Duration::from_secs(60);
/// How many changes wait for the owner, which takes them in at once; when full, the caller waits.
const COMMANDS_WAITING_MAX: usize = 1024;

/// Why a change was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are as many keys as there may be.
    #[error("{ENTRIES_MAX} keys are asserted, which is the most")]
    Full,
    /// No store takes it.
    #[error("{field} has {bytes} bytes; allowed: at most {bound}")]
    TooLarge {
        /// The key or the value.
        field: &'static str,
        /// What it has.
        bytes: usize,
        /// What it may have.
        bound: usize,
    },
    /// The owner was brought down.
    #[error("the control plane is stopping")]
    Stopped,
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The value was written at this revision.
    Written(Revision),
    /// The key is not there any more, or never was.
    Withdrawn,
    /// The key is another's, or went away; it was left as it is and is no longer asserted here.
    Taken,
}

/// Why it is not known how a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsettled {
    /// A newer change of the same key took its place.
    #[error("a newer change took its place")]
    Superseded,
    /// It goes on being tried.
    #[error("it was not written within {0:?}")]
    Late(Duration),
}

/// Whether a key is still asserted as it was by one change.
#[derive(Clone, Debug, Default)]
pub struct Tenure(Arc<TenureState>);

#[derive(Debug, Default)]
struct TenureState {
    is_over: AtomicBool,
    /// 0 while it is not written.
    written: AtomicU64,
}

impl Tenure {
    /// It is not: another instance was found to have the key, or a newer change took its place.
    pub fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    /// When the key was last put by this change, as far as it is known.
    pub fn written(&self) -> Option<Revision> {
        let at = self.0.written.load(Ordering::Relaxed);
        (at > 0).then_some(Revision(at))
    }

    fn end(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }

    fn write(&self, at: Revision) {
        self.0.written.store(at.0, Ordering::Relaxed);
    }
}

/// Tells how a change ended. May be dropped: the change is made all the same.
#[derive(Debug)]
#[must_use = "waiting is optional, deciding is not"]
pub struct Settled {
    waiting: oneshot::Receiver<Settlement>,
    tenure: Tenure,
}

impl Settled {
    /// Tells later on whether the key is still asserted.
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Waits, but not for ever.
    pub async fn within(self, limit: Duration) -> Result<Settlement, Unsettled> {
        match tokio::time::timeout(limit, self.waiting).await {
            Ok(Ok(settlement)) => Ok(settlement),
            Ok(Err(_)) => Err(Unsettled::Superseded),
            Err(_) => Err(Unsettled::Late(limit)),
        }
    }
}

/// What the owner is told.
#[derive(Debug)]
enum Command {
    Change(Change),
    Look { key: Bytes, at: Revision },
}

/// A change on its way to the owner.
#[derive(Debug)]
struct Change {
    key: Bytes,
    value: Bytes,
    wish: Wish,
    guard: Guard,
    fence: Option<Bytes>,
    accepted: oneshot::Sender<Result<(), Refused>>,
    waiter: oneshot::Sender<Settlement>,
    tenure: Tenure,
}

/// The handle. What was asserted stays until the leases end.
#[derive(Debug)]
pub struct Presences {
    commands: mpsc::Sender<Command>,
    audit: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Presences {
    /// Begins with nothing asserted.
    pub fn start(store: Arc<dyn Store>, buckets: Arc<Buckets>, seed: u64) -> Self {
        let (commands, waiting) = mpsc::channel(COMMANDS_WAITING_MAX);
        let audit = Arc::new(Notify::new());
        let task = task::Task::new(store, buckets, seed);
        Self {
            commands,
            task: tokio::spawn(task.run(waiting, Arc::clone(&audit))),
            audit,
        }
    }

    /// Compares everything with the store now: for whoever sees that it was put back to an older state.
    pub fn audit(&self) {
        self.audit.notify_one();
    }

    /// Puts a key, whoever has it now, and keeps it there.
    pub async fn assert(&self, key: Bytes, value: Bytes) -> Result<Settled, Refused> {
        self.send(key, value, Wish::Hold, Guard::Any, None).await
    }

    /// The same, unless there is a key at the fence.
    pub async fn assert_unless(
        &self,
        key: Bytes,
        value: Bytes,
        fence: Bytes,
    ) -> Result<Settled, Refused> {
        let fence = Some(fence);
        self.send(key, value, Wish::Hold, Guard::Any, fence).await
    }

    /// Puts a key only if it is still what was seen at this revision, 0 for nothing, and then keeps it there.
    pub async fn take_over(
        &self,
        key: Bytes,
        value: Bytes,
        seen: Revision,
    ) -> Result<Settled, Refused> {
        let guard = Guard::TakeOver(seen);
        self.send(key, value, Wish::Hold, guard, None).await
    }

    /// The same; lost later on, it is not put again if there is a key at the fence.
    pub async fn take_over_unless(
        &self,
        key: Bytes,
        value: Bytes,
        seen: Revision,
        fence: Bytes,
    ) -> Result<Settled, Refused> {
        let guard = Guard::TakeOver(seen);
        self.send(key, value, Wish::Hold, guard, Some(fence)).await
    }

    /// Gives a key that is asserted another value, unless another instance has taken it over.
    pub async fn update(&self, key: Bytes, value: Bytes) -> Result<Settled, Refused> {
        self.send(key, value, Wish::Hold, Guard::Ours, None).await
    }

    /// Asserts a key no longer, and deletes it if it is still ours.
    pub async fn withdraw(&self, key: Bytes) -> Result<Settled, Refused> {
        let value = Bytes::new();
        self.send(key, value, Wish::Leave, Guard::Ours, None).await
    }

    /// Puts a key once, without a lease: it stays when this instance ends.
    pub async fn put(&self, key: Bytes, value: Bytes) -> Result<Settled, Refused> {
        self.send(key, value, Wish::Put, Guard::Any, None).await
    }

    /// Somebody changed this key at this revision: if it is asserted here, it is compared soon.
    ///
    /// For whoever follows the store. Without it, the audit finds out later.
    pub async fn look(&self, key: Bytes, at: Revision) {
        // Fails only when all is stopping.
        let _ = self.commands.send(Command::Look { key, at }).await;
    }

    async fn send(
        &self,
        key: Bytes,
        value: Bytes,
        wish: Wish,
        guard: Guard,
        fence: Option<Bytes>,
    ) -> Result<Settled, Refused> {
        check("the key", &key, KEY_BYTES_MAX)?;
        check("the value", &value, VALUE_BYTES_MAX)?;
        let (accepted, answer) = oneshot::channel();
        let (waiter, settled) = oneshot::channel();
        let tenure = Tenure::default();
        let change = Change {
            key,
            value,
            wish,
            guard,
            fence,
            accepted,
            waiter,
            tenure: tenure.clone(),
        };
        let sent = self.commands.send(Command::Change(change)).await;
        sent.map_err(|_| Refused::Stopped)?;
        answer.await.map_err(|_| Refused::Stopped)??;
        Ok(Settled {
            waiting: settled,
            tenure,
        })
    }
}

impl Drop for Presences {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn check(field: &'static str, bytes: &Bytes, bound: usize) -> Result<(), Refused> {
    let bytes = bytes.len();
    if bytes <= bound {
        return Ok(());
    }
    Err(Refused::TooLarge {
        field,
        bytes,
        bound,
    })
}
