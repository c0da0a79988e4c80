//! A store whose answers get lost, and that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use weir_control_plane::store::{
    Entry, Error, Lease, LeaseId, List, Page, Revision, Status, Store, Txn, TxnOutcome, Watch,
    WatchStream,
};

/// What goes wrong with a transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// It is made, and the answer is lost.
    AnswerLost,
    /// It is lost.
    RequestLost,
}

/// A store that does this with its first transactions.
pub(crate) struct Unsteady {
    inner: Arc<dyn Store>,
    fault: Fault,
    left: AtomicUsize,
    lists: AtomicUsize,
}

impl Unsteady {
    pub(crate) fn new(inner: Arc<dyn Store>, fault: Fault, times: usize) -> Arc<Self> {
        Arc::new(Self {
            inner,
            fault,
            left: AtomicUsize::new(times),
            lists: AtomicUsize::new(0),
        })
    }

    /// How often it was listed.
    pub(crate) fn lists(&self) -> usize {
        self.lists.load(Ordering::SeqCst)
    }
}

fn late() -> Error {
    Error::Late {
        operation: "txn",
        limit: Duration::from_secs(1),
    }
}

impl Store for Unsteady {
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        self.inner.get(key, at)
    }

    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, Error>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        self.inner.list(list)
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        match (left, self.fault) {
            (Err(_), _) => self.inner.txn(txn),
            (Ok(_), Fault::RequestLost) => Box::pin(async { Err(late()) }),
            (Ok(_), Fault::AnswerLost) => Box::pin(async {
                self.inner.txn(txn).await?;
                Err(late())
            }),
        }
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
