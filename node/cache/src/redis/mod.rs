//! The tier in Redis, which nodes share and none depends on.
//!
//! A read asks once and waits no longer than the command timeout; while Redis is away it asks nobody. Writes are queued
//! and may be lost. What is found is bytes: whoever reads checks them, and ignores what was fetched before
//! [`L2::trust_floor`].
//!
//! Three tasks on the runtime that started the tier: `keeper` makes the connections and gives them up, `writer` empties
//! the queue, `generations` follows what is purged whole. Readers are on any thread; they see a link or none.

mod counters;
mod failure;
mod floor;
mod generations;
mod keeper;
mod link;
mod namespace;
mod owed;
mod probe;
mod queue;
mod read;
mod server;
mod settings;
mod shared;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use weir_core::units::format_rough;

pub use self::counters::{Count, L2Counters};
pub use self::failure::{Failure, FailureKind};
pub use self::namespace::{InvalidNamespace, NAME_BYTES_MAX, NAMESPACES_MAX, Namespace};
pub use self::probe::time_of;
pub use self::settings::{COMMAND_TIMEOUT, CONNECT_TIMEOUT, InvalidUrl, L2Settings, RedisUrl};
pub use self::shared::Stamps;

use self::keeper::Keeper;
use self::shared::Shared;

/// Largest value; a larger one is neither written nor read.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Largest value that is read over the connection for small ones.
pub const QUICK_VALUE_BYTES_MAX: usize = 64 << 10;
/// Longest key.
pub const KEY_BYTES_MAX: usize = 8 << 10;
/// Bytes that may wait to be written.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;
/// Bytes of keys that may wait to be deleted because a newer value was lost.
pub const OWED_BYTES_MAX: usize = 2 << 20;
/// Reads that may be under way at once.
pub const READS_MAX: usize = 512;

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A value.
    Hit(Bytes),
    /// No value, or one that is too large.
    Miss,
    /// Nobody knows: Redis is away, busy, or did not answer in time.
    Away,
}

/// How the tier is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum L2State {
    /// It has not been connected yet, or not since the URL changed.
    Connecting,
    /// Redis answers.
    Up,
    /// Redis is not asked. It is tried again all the time.
    Away(Outage),
}

/// Why Redis is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Which Redis, without a password.
    pub redis: String,
    /// What failed last.
    pub failure: Failure,
    /// Since when.
    pub since: Instant,
}

impl Outage {
    /// For people, who are told how long it has lasted.
    pub fn problem(&self) -> String {
        let how = match self.failure.kind {
            FailureKind::Late | FailureKind::Lost => "unreachable",
            FailureKind::Denied | FailureKind::Refused | FailureKind::Garbled => "of no use",
        };
        let lasted = format_rough(Duration::from_secs(self.since.elapsed().as_secs()));
        format!(
            "redis {}: {how} for {lasted}: {}; the cache goes on without it",
            self.redis, self.failure
        )
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.redis, self.failure)
    }
}

/// The tier; cheap to clone. It ends with its last handle.
#[derive(Clone, Debug)]
pub struct L2(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    settings: watch::Sender<L2Settings>,
    tasks: [AbortHandle; 3],
}

impl L2 {
    /// Starts it on this runtime, whether or not Redis is there. `now` stamps what happens to Redis itself; `random`
    /// spreads when nodes come back.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(settings: L2Settings, now: Stamps, random: fastrand::Rng) -> Self {
        let shared = Arc::new(Shared::new(now));
        let (settings, followed) = watch::channel(settings);
        let keeper = Keeper::new(Arc::clone(&shared), followed, random);
        let tasks = [
            tokio::spawn(keeper.run()).abort_handle(),
            tokio::spawn(writer::run(Arc::clone(&shared))).abort_handle(),
            tokio::spawn(generations::run(Arc::clone(&shared))).abort_handle(),
        ];
        Self(Arc::new(Inner {
            shared,
            settings,
            tasks,
        }))
    }

    /// Changes how Redis is reached. Another URL connects anew at once; deadlines count from the next command on.
    pub fn configure(&self, settings: L2Settings) {
        self.0.settings.send_if_modified(|old| {
            let differs = *old != settings;
            *old = settings;
            differs
        });
    }

    /// A part of the tier that is purged on its own. The same name is the same part. Reads are [`Fetched::Away`] until
    /// Redis told its generation.
    ///
    /// # Errors
    /// When the name or the number of namespaces is beyond its bound.
    pub fn namespace(&self, name: &str) -> Result<Namespace, InvalidNamespace> {
        let generation = self.0.shared.namespace(name)?;
        Ok(Namespace::new(self.clone(), generation))
    }

    /// Values fetched before this are not to be believed. It only rises: to a purge that may not have reached Redis, to
    /// the moment when too much failed, and to the moment when a Redis was lost that came back as another process. Of
    /// purges before its start the tier knows nothing.
    pub fn trust_floor(&self) -> u64 {
        self.0.shared.floor.get()
    }

    /// Raises [`Self::trust_floor`].
    pub fn distrust_before(&self, stamp: u64) {
        self.0.shared.floor.raise(stamp);
    }

    /// How it is, and whenever that changes.
    pub fn state(&self) -> watch::Receiver<L2State> {
        self.0.shared.state.subscribe()
    }

    /// What it did so far.
    pub fn counters(&self) -> &L2Counters {
        &self.0.shared.counters
    }

    /// Why it is not asked, for people; `None` while it is, or is not known yet.
    pub fn problem(&self) -> Option<String> {
        match &*self.0.shared.state.borrow() {
            L2State::Away(outage) => Some(outage.problem()),
            L2State::Connecting | L2State::Up => None,
        }
    }

    /// How long Redis took for its last answer to the question that it is asked each second; `None` before the first.
    pub fn ping(&self) -> Option<Duration> {
        let us = self.0.shared.ping_us.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us))
    }

    /// Bytes that wait to be written, with what keeping them costs.
    pub fn queue_bytes(&self) -> usize {
        self.0.shared.queue.bytes()
    }

    /// The memory that Redis said last that it uses, in bytes, by whomever; 0 where it does not tell.
    pub fn used_bytes(&self) -> u64 {
        self.0.shared.used_bytes.load(Ordering::Relaxed)
    }

    fn shared(&self) -> &Shared {
        &self.0.shared
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
