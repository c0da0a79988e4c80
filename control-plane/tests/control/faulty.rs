//! One instance's way to a store, which can break while the store lives on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use tokio::sync::watch;
use weir_control_plane::store::{
    Entry, Error, Lease, LeaseId, List, Page, Revision, Status, Store, Txn, TxnOutcome, Watch,
    WatchStream,
};

use crate::support::Shared;

/// Passes calls on, unless it is told not to.
pub(crate) struct Faulty {
    inner: Shared,
    is_away: watch::Sender<bool>,
    /// Makes transactions and answers that they may not be.
    loses_answers: AtomicBool,
    txns: AtomicUsize,
    grants: AtomicUsize,
}

impl Faulty {
    pub(crate) fn over(inner: &Shared) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            is_away: watch::Sender::new(false),
            loses_answers: AtomicBool::new(false),
            txns: AtomicUsize::new(0),
            grants: AtomicUsize::new(0),
        })
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.send_replace(is_away);
    }

    pub(crate) fn lose_answers(&self, loses: bool) {
        self.loses_answers.store(loses, Ordering::Relaxed);
    }

    /// How many transactions reached the store.
    pub(crate) fn txns(&self) -> usize {
        self.txns.load(Ordering::Relaxed)
    }

    /// How many leases were asked for.
    pub(crate) fn grants(&self) -> usize {
        self.grants.load(Ordering::Relaxed)
    }

    async fn pass<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if *self.is_away.borrow() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            return Err(unavailable());
        }
        call.await
    }
}

impl Store for Faulty {
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        Box::pin(self.pass(self.inner.get(key, at)))
    }

    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, Error>> {
        Box::pin(self.pass(self.inner.list(list)))
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        Box::pin(self.pass(async move {
            self.txns.fetch_add(1, Ordering::Relaxed);
            let answer = self.inner.txn(txn).await;
            if self.loses_answers.load(Ordering::Relaxed) {
                return Err(unavailable());
            }
            answer
        }))
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, Error>> {
        Box::pin(self.pass(async move {
            self.grants.fetch_add(1, Ordering::Relaxed);
            self.inner.grant(ttl).await
        }))
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.pass(self.inner.keep_alive(lease)))
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.pass(self.inner.revoke(lease)))
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'_, Result<WatchStream, Error>> {
        Box::pin(async move {
            let stream = self.pass(self.inner.watch(watch)).await?;
            let mut is_away = self.is_away.subscribe();
            let breaks = async move {
                let _ = is_away.wait_for(|is_away| *is_away).await;
                Err(unavailable())
            };
            let broken = futures::stream::once(breaks);
            // Ends after its first error, as every watch does.
            let either = futures::stream::select(stream, broken.boxed());
            Ok(until_error(either).boxed())
        })
    }

    fn compact(&self, at: Revision) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.pass(self.inner.compact(at)))
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        Box::pin(self.pass(self.inner.status()))
    }
}

/// Waits for something to become true, a minute of simulated or a while of real time.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    for _ in 0..1_200 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: not within two minutes");
}

fn until_error<T, S>(stream: S) -> impl Stream<Item = Result<T, Error>>
where
    S: Stream<Item = Result<T, Error>>,
{
    stream.scan(false, |is_over, item| {
        let was_over = std::mem::replace(is_over, item.is_err());
        std::future::ready((!was_over).then_some(item))
    })
}

fn unavailable() -> Error {
    Error::Unavailable {
        reason: "the way is broken".to_owned(),
    }
}
