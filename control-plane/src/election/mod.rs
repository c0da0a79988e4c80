//! One leader among the instances of the control plane, and the fence that makes it safe.
//!
//! The leader is who made the key `live/election/controller`, under a lease of its own. The revision at which
//! the key came to be is its **fence** and its term. Time only tells when to give up: an instance that was frozen
//! may believe for a while that it leads, so every transaction of a leader carries [`Fence::guard`], and the
//! store refuses those of a leader that is none any more.
//!
//! A leader keeps its lease alive every [`KEEP_ALIVE_EVERY`]; [`LEADS_FOR`] after it last sent a keep-alive that
//! worked, it steps down, a second before the store lets the lease go. The others follow the key and try as soon
//! as it is gone, each after a random wait of at most [`TRY_WITHIN`].

mod seat;
mod task;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::keys::Keys;
use crate::store::{Compare, Revision, Store};

/// How long a leader that is gone is still believed in.
pub const TTL: Duration = Duration::from_secs(10);
/// How often a leader says that it lives.
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(3);
/// How long a leader leads after it last said so.
pub const LEADS_FOR: Duration = Duration::from_secs(9);
/// Longest wait before an instance tries to lead.
pub const TRY_WITHIN: Duration = Duration::from_millis(500);
/// How long an orderly resignation may take.
const RESIGN_LIMIT: Duration = Duration::from_secs(3);

/// Proves that an instance leads, for as long as nobody else does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    key: Bytes,
    term: Revision,
}

impl Fence {
    /// The condition that every transaction of a leader carries.
    pub fn guard(&self) -> Compare {
        Compare::CreateRevision(self.key.clone(), self.term)
    }

    /// Higher than that of every leader before.
    pub fn term(&self) -> u64 {
        self.term.0
    }
}

/// Who leads, as far as this instance knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The leader's instance; `None` between two leaders, and while it is not known.
    pub leader: Option<String>,
    /// The leader's term; 0 without one.
    pub term: u64,
    /// Set while this instance leads.
    pub is_self: Option<Fence>,
}

/// Who takes part in the election.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of this instance; no two have the same.
    pub instance: String,
    /// For the random waits; draw it at random.
    pub seed: u64,
}

/// The handle. An election that is dropped without [`Election::resign`] ends, and the lease some time later.
#[derive(Debug)]
pub struct Election {
    standing: watch::Receiver<Standing>,
    resign: oneshot::Sender<oneshot::Sender<()>>,
}

impl Election {
    /// Takes part from now on.
    pub fn start(store: Arc<dyn Store>, keys: &Keys, options: Options) -> Self {
        let (election, work) = Self::prepare(store, keys, options);
        tokio::spawn(work);
        election
    }

    /// The handle, and the work that somebody has to run. It ends soon after the handle is gone.
    pub fn prepare(
        store: Arc<dyn Store>,
        keys: &Keys,
        options: Options,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (publish, standing) = watch::channel(Standing::default());
        let (resign, resigned) = oneshot::channel();
        let task = task::Task::new(store, keys.leader(), options, publish);
        (Self { standing, resign }, task.run(resigned))
    }

    /// Who leads, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Leaves, so that another can lead at once. Waits a few seconds at most.
    pub async fn resign(self) {
        let (done, waiting) = oneshot::channel();
        if self.resign.send(done).is_ok() {
            // Late or gone: the lease ends by itself.
            let _ = tokio::time::timeout(RESIGN_LIMIT, waiting).await;
        }
    }
}
