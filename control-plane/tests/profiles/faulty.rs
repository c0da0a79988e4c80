//! A store whose answers are lost when the test wants it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use weir_control_plane::store::{
    Entry, Error, Lease, LeaseId, List, Page, Revision, Status, Store, Txn, TxnOutcome, Watch,
    WatchStream,
};

use crate::support::Shared;

/// How many reads fail after [`Fault::MadeThenAway`].
const READS_FAILING: u32 = 3;

/// What becomes of a transaction that writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It is made, and the answer is lost.
    Made,
    /// It is lost itself.
    NotMade,
    /// It is made, its answer is lost, and the next reads fail too.
    MadeThenAway,
    /// It is made, then another writer's transaction is, and the answer is lost.
    MadeThenRival,
    /// The answer is lost; it is made just before the next one.
    MadeWithNext,
    /// The answer is lost; it is made when the test lets it arrive.
    Stuck,
}

/// A store with faults to come, one for each writing transaction; then it is sound.
pub(crate) struct Faulty {
    inner: Shared,
    faults: Mutex<VecDeque<Fault>>,
    with_next: Mutex<Option<Txn>>,
    stuck: Mutex<Option<Txn>>,
    rival: Mutex<Option<Txn>>,
    reads_failing: AtomicU32,
}

impl Faulty {
    pub(crate) fn new(inner: &Shared, faults: &[Fault]) -> Arc<Self> {
        Arc::new(Self {
            inner: inner.clone(),
            faults: Mutex::new(faults.iter().copied().collect()),
            with_next: Mutex::new(None),
            stuck: Mutex::new(None),
            rival: Mutex::new(None),
            reads_failing: AtomicU32::new(0),
        })
    }

    /// What the other writer of [`Fault::MadeThenRival`] does.
    pub(crate) async fn rival(&self, txn: Txn) {
        *self.rival.lock().await = Some(txn);
    }

    /// Makes what is stuck; whether its conditions held, and the lease that it needs was still there.
    pub(crate) async fn arrive(&self) -> Option<bool> {
        let txn = self.stuck.lock().await.take()?;
        Some(self.make_late(txn).await)
    }

    async fn make_late(&self, txn: Txn) -> bool {
        match self.inner.txn(txn).await {
            Ok(made) => made.succeeded,
            Err(Error::LeaseNotFound) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Faulty {
    fn read(&self) -> Result<(), Error> {
        let fail = |left: u32| left.checked_sub(1);
        let failing = &self.reads_failing;
        match failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fail) {
            Ok(_) => Err(late()),
            Err(_) => Ok(()),
        }
    }
}

fn late() -> Error {
    Error::Late {
        operation: "txn",
        limit: Duration::from_secs(5),
    }
}

impl Store for Faulty {
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        Box::pin(async move {
            self.read()?;
            self.inner.get(key, at).await
        })
    }

    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, Error>> {
        self.inner.list(list)
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        Box::pin(async move {
            if txn.when.is_empty() {
                self.read()?;
                return self.inner.txn(txn).await;
            }
            if let Some(before) = self.with_next.lock().await.take() {
                self.make_late(before).await;
            }
            match self.faults.lock().await.pop_front() {
                None => self.inner.txn(txn).await,
                Some(Fault::NotMade) => Err(late()),
                Some(Fault::Made) => {
                    self.inner.txn(txn).await.unwrap();
                    Err(late())
                }
                Some(Fault::MadeThenAway) => {
                    self.inner.txn(txn).await.unwrap();
                    self.reads_failing.store(READS_FAILING, Ordering::Relaxed);
                    Err(late())
                }
                Some(Fault::MadeThenRival) => {
                    self.inner.txn(txn).await.unwrap();
                    let rival = self.rival.lock().await.take().unwrap();
                    self.inner.txn(rival).await.unwrap();
                    Err(late())
                }
                Some(Fault::MadeWithNext) => {
                    *self.with_next.lock().await = Some(txn);
                    Err(late())
                }
                Some(Fault::Stuck) => {
                    *self.stuck.lock().await = Some(txn);
                    Err(late())
                }
            }
        })
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, Error>> {
        self.inner.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.keep_alive(lease)
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.revoke(lease)
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'_, Result<WatchStream, Error>> {
        self.inner.watch(watch)
    }

    fn compact(&self, at: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.compact(at)
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        self.inner.status()
    }
}
