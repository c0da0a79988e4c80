//! The store of a single machine: one redb file below a data directory.
//!
//! Owns      the file; nobody else opens it.
//! Writes    go through one owner task, one after the other. It takes what waits as one batch, commits it with
//!           one fsync, and answers only then: what was answered survives a crash.
//! Reads     are snapshots of redb beside the writes, [`READS_AT_ONCE_MAX`] at once; more wait for their deadline.
//! Watches   read the history in the file, so a slow one holds nothing up and loses nothing until compaction.
//! Bound     [`Options::writes_waiting_max`]; when full, a write is refused as [`Error::Busy`].
//! Leases    run on the monotonic clock of this process, so each lives its whole time again after a restart.
//! Fails     as a whole: after an error of the disk every call fails until the store is opened again.

mod apply;
mod open;
mod owner;
mod read;
mod tables;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use redb::Database;
use tokio::sync::{Semaphore, mpsc, oneshot, watch as published};
use tokio::task::JoinHandle;

use super::limits::{check_at, check_key, check_list, check_ttl, check_txn, check_watch};
use super::{
    Entry, Error, Lease, LeaseId, List, Page, Revision, Status, Store, StoreId, Txn, TxnOutcome,
    Watch, WatchStream, within,
};
use owner::{Command, Reply};

pub use open::OpenError;

/// The name of the file below the data directory.
pub const FILE_NAME: &str = "store.redb";

/// How many reads may block a thread each.
pub const READS_AT_ONCE_MAX: usize = 16;

/// How an embedded store is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the file; made if it is not there.
    pub data_dir: PathBuf,
    /// Each call's deadline. Default 5 s.
    pub call_limit: Duration,
    /// How many writes may wait for the owner. Default 1,024.
    pub writes_waiting_max: usize,
    /// How many revisions are kept for watches and for reads of the past. Default 10,000.
    pub history_revisions_max: u64,
    /// How long they are kept; counted anew after a restart. Default 1 h.
    pub history_age_max: Duration,
    /// How often a watch to which nothing happens says so. Default 60 s.
    pub progress_every: Duration,
    /// How much of the file is held in memory. Default 32 MiB.
    pub cache_bytes_max: usize,
    /// Names a store that is made anew; draw it at random.
    pub seed: u64,
}

impl Options {
    /// The defaults, for this folder.
    pub fn new(data_dir: impl Into<PathBuf>, seed: u64) -> Self {
        Self {
            data_dir: data_dir.into(),
            call_limit: Duration::from_secs(5),
            writes_waiting_max: 1024,
            history_revisions_max: 10_000,
            history_age_max: Duration::from_secs(3600),
            progress_every: Duration::from_secs(60),
            cache_bytes_max: 32 << 20,
            seed,
        }
    }
}

/// What the owner says of the store after each batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) revision: Revision,
    pub(super) problem: Option<String>,
}

/// The handle. The store closes when it is dropped.
#[derive(Debug)]
pub struct EmbeddedStore {
    database: Arc<Database>,
    commands: mpsc::Sender<Command>,
    standing: published::Receiver<Standing>,
    reads: Arc<Semaphore>,
    owner: JoinHandle<()>,
    id: StoreId,
    options: Options,
}

impl EmbeddedStore {
    /// Opens the file, or makes it. Reads all of it once to see that it is sound.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let opened = open::open(&options).await?;
        let database = Arc::new(opened.database);
        let (commands, waiting) = mpsc::channel(options.writes_waiting_max);
        let (publish, standing) = published::channel(Standing {
            revision: opened.revision,
            problem: None,
        });
        let owner = owner::Owner::new(&database, publish, opened.leases, &options);
        Ok(Self {
            database,
            commands,
            standing,
            reads: Arc::new(Semaphore::new(READS_AT_ONCE_MAX)),
            owner: tokio::spawn(owner.run(waiting)),
            id: opened.id,
            options,
        })
    }

    /// Writes what waits, ends every watch and closes the file.
    pub async fn close(self) {
        drop(self.commands);
        // A panic of the owner leaves the file as its last commit left it.
        let _ = self.owner.await;
    }

    async fn write<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(command(reply))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Error::Busy {
                    waiting: self.options.writes_waiting_max,
                },
                mpsc::error::TrySendError::Closed(_) => self.failed(),
            })?;
        answer.await.unwrap_or_else(|_| Err(self.failed()))
    }

    fn failed(&self) -> Error {
        let problem = self.standing.borrow().problem.clone();
        Error::Unavailable {
            reason: problem.unwrap_or_else(|| "it is closed".to_owned()),
        }
    }

    /// Runs a read where it may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> read::Outcome<T> + Send + 'static,
    ) -> Result<T, Error> {
        let database = Arc::clone(&self.database);
        // Goes with the read, which goes on though its caller stopped waiting.
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        blocking(move || {
            let _permit = permit;
            read(&database)
        })
        .await
    }
}

/// Runs what may block, and makes an error of whatever stops it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> read::Outcome<T> + Send + 'static,
) -> Result<T, Error> {
    let unavailable = |reason: String| Error::Unavailable { reason };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(result)) => result,
        Ok(Err(storage)) => Err(unavailable(storage.to_string())),
        Err(panic) => Err(unavailable(panic.to_string())),
    }
}

impl Store for EmbeddedStore {
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        let get = async move {
            check_key("key", &key)?;
            check_at("at", at)?;
            self.read(move |database| read::get(database, &key, at))
                .await
        };
        Box::pin(within("get", self.options.call_limit, get))
    }

    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, Error>> {
        let page = async move {
            check_list(&list)?;
            let id = self.id;
            self.read(move |database| read::list(database, &list, id))
                .await
        };
        Box::pin(within("list", self.options.call_limit, page))
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        let outcome = async move {
            check_txn(&txn)?;
            self.write(|reply| Command::Txn { txn, reply }).await
        };
        Box::pin(within("txn", self.options.call_limit, outcome))
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, Error>> {
        let lease = async move {
            check_ttl(ttl)?;
            self.write(|reply| Command::Grant { ttl, reply }).await
        };
        Box::pin(within("grant", self.options.call_limit, lease))
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        let kept = self.write(move |reply| Command::KeepAlive { lease, reply });
        Box::pin(within("keep_alive", self.options.call_limit, kept))
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        let revoked = self.write(move |reply| Command::Revoke { lease, reply });
        Box::pin(within("revoke", self.options.call_limit, revoked))
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'_, Result<WatchStream, Error>> {
        let stream = async move {
            check_watch(&watch)?;
            let standing = self.standing.clone();
            watch::open(&self.database, watch, standing, self.options.progress_every).await
        };
        Box::pin(within("watch", self.options.call_limit, stream))
    }

    fn compact(&self, at: Revision) -> BoxFuture<'_, Result<(), Error>> {
        let compacted = async move {
            check_at("at", Some(at))?;
            self.write(|reply| Command::Compact { at, reply }).await
        };
        Box::pin(within("compact", self.options.call_limit, compacted))
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        Box::pin(async move {
            let standing = self.standing.borrow().clone();
            let file = self.options.data_dir.join(FILE_NAME);
            let metadata = tokio::fs::metadata(file).await;
            let disk_bytes = metadata.map_or(0, |metadata| metadata.len());
            Ok(Status {
                healthy: standing.problem.is_none(),
                problems: standing.problem.into_iter().collect(),
                revision: standing.revision,
                leader: None,
                store: self.id,
                disk_bytes,
            })
        })
    }
}
