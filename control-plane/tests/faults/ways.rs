//! Ways to the store that are late: a watch that holds back what it heard, and a wire that delays every segment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use weir_control_plane::store::{
    Entry, Error, Lease, LeaseId, List, Page, Revision, Status, Store, Txn, TxnOutcome, Watch,
    WatchStream,
};

use crate::instance::Way;

/// Holds back what watches hear, or the list of what is there.
#[derive(Clone, Default)]
pub(crate) struct Lag {
    watches: Arc<watch::Sender<bool>>,
    live: Arc<watch::Sender<bool>>,
}

impl Lag {
    /// Holds back, or no longer, what watches hear.
    pub(crate) fn set(&self, holds: bool) {
        self.watches.send_replace(holds);
    }

    /// Holds back, or no longer, the list of nodes and backends.
    pub(crate) fn set_live(&self, holds: bool) {
        self.live.send_replace(holds);
    }

    /// For [`crate::instance::Plan::way`].
    pub(crate) fn way(&self) -> Way {
        let lag = self.clone();
        Arc::new(move |inner| {
            let lag = lag.clone();
            Arc::new(Lagging { inner, lag })
        })
    }
}

struct Lagging {
    inner: Arc<dyn Store>,
    lag: Lag,
}

impl Store for Lagging {
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        self.inner.get(key, at)
    }

    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, Error>> {
        Box::pin(async move {
            if list.prefix.ends_with(b"/live/") {
                let _ = self.lag.live.subscribe().wait_for(|holds| !holds).await;
            }
            self.inner.list(list).await
        })
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        self.inner.txn(txn)
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
        Box::pin(async move {
            let heard = self.inner.watch(watch).await?;
            let lag = self.lag.watches.subscribe();
            let late = heard.then(move |item| {
                let mut lag = lag.clone();
                async move {
                    let _ = lag.wait_for(|holds| !holds).await;
                    item
                }
            });
            Ok(late.boxed())
        })
    }

    fn compact(&self, at: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.compact(at)
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        self.inner.status()
    }
}

/// A wire on which everything takes its time, in both directions. It ends when this is dropped.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    cut: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// A wire to this `host:port`.
    pub(crate) async fn to(place: &str, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let place = place.to_owned();
        let cut = Arc::new(Notify::new());
        let cuts = Arc::clone(&cut);
        let task = tokio::spawn(async move {
            let mut ends = JoinSet::new();
            loop {
                let near = tokio::select! {
                    biased;
                    () = cuts.notified() => {
                        ends.shutdown().await;
                        continue;
                    }
                    near = listener.accept() => near,
                };
                let Ok((near, _)) = near else {
                    return;
                };
                let Ok(far) = TcpStream::connect(&place).await else {
                    continue;
                };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let (near, far) = (near.into_split(), far.into_split());
                ends.spawn(carry(near.0, far.1, delay));
                ends.spawn(carry(far.0, near.1, delay));
            }
        });
        Self { address, cut, task }
    }

    /// Ends all connections; new ones can be made.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    // Later segments do not wait for earlier ones to arrive.
    let (send, mut segments) = mpsc::channel::<(Instant, Vec<u8>)>(1_024);
    let read = async move {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let segment = (Instant::now() + delay, buffer[..count].to_vec());
            if send.send(segment).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, segment)) = segments.recv().await {
            sleep_until(at).await;
            if to.write_all(&segment).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
