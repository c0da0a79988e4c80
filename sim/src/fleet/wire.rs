//! The way from an instance to its store, and what may go wrong on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use weir_control_plane::store::{
    Entry, Error, Lease, LeaseId, List, Page, Revision, Status, Store, Txn, TxnOutcome, Watch,
    WatchStream, Watched,
};

use super::planted::Planted;
use crate::plant::Plant;

/// How a way is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Open.
    #[default]
    Open,
    /// Requests and answers take seconds, and overtake each other.
    Slow,
    /// Nobody answers there: calls fail at once, and those under way lose their answers.
    Away,
    /// Nothing comes through. Requests are lost, or arrive when it is open again.
    Cut,
}

const CALL_LIMIT: Duration = Duration::from_secs(5);
/// A watch that hears nothing for this long ends.
const SILENT_MAX: Duration = Duration::from_secs(4);
/// How long a request that was held up can still arrive.
const HELD_MAX: Duration = Duration::from_secs(60);
const LATENCY_MS: std::ops::Range<u64> = 1..8;
const SLOW_MS: std::ops::Range<u64> = 200..4_000;

type Call<T> = BoxFuture<'static, Result<T, Error>>;

/// One instance's client of the store.
pub(crate) struct Wire {
    store: Arc<dyn Store>,
    way: watch::Receiver<Way>,
    seed: u64,
    calls: AtomicU64,
    planted: Arc<Planted>,
}

impl Wire {
    /// A client that behaves as `way` says from moment to moment.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        way: watch::Receiver<Way>,
        seed: u64,
        plant: Option<Plant>,
    ) -> Self {
        Self {
            store,
            way,
            seed,
            calls: AtomicU64::new(0),
            planted: Arc::new(Planted::new(plant)),
        }
    }

    /// Takes one call there and back.
    fn pass<T: Send + 'static>(
        &self,
        operation: &'static str,
        call: impl FnOnce(Arc<dyn Store>) -> Call<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Error>> {
        let mut random = self.random();
        let (store, way) = (Arc::clone(&self.store), self.way.clone());
        let passed = async move {
            sleep(latency(&way, &mut random)).await;
            let is_held = random.bool();
            let on_leaving = *way.borrow();
            match on_leaving {
                Way::Open | Way::Slow => {}
                Way::Away => return Err(away()),
                Way::Cut if is_held => {
                    let held = call(store);
                    let mut way = way.clone();
                    tokio::spawn(async move {
                        let open = way.wait_for(|way| *way == Way::Open);
                        if matches!(timeout(HELD_MAX, open).await, Ok(Ok(_))) {
                            tracing::trace!(operation, "a call arrives late");
                            let _ = held.await;
                        }
                    });
                    return std::future::pending().await;
                }
                Way::Cut => return std::future::pending().await,
            }
            let answer = call(store).await;
            sleep(latency(&way, &mut random)).await;
            let on_returning = *way.borrow();
            match on_returning {
                Way::Open | Way::Slow => answer,
                Way::Away => Err(away()),
                Way::Cut => std::future::pending().await,
            }
        };
        Box::pin(async move {
            let limit = CALL_LIMIT;
            let late = Error::Late { operation, limit };
            timeout(limit, passed).await.unwrap_or(Err(late))
        })
    }

    fn random(&self) -> fastrand::Rng {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        fastrand::Rng::with_seed(self.seed ^ call.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

fn latency(way: &watch::Receiver<Way>, random: &mut fastrand::Rng) -> Duration {
    let is_slow = *way.borrow() == Way::Slow;
    Duration::from_millis(random.u64(if is_slow { SLOW_MS } else { LATENCY_MS }))
}

fn away() -> Error {
    Error::Unavailable {
        reason: "nobody answers".to_owned(),
    }
}

impl Store for Wire {
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        self.pass("get", move |store| {
            Box::pin(async move { store.get(key, at).await })
        })
    }

    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, Error>> {
        let stuck = self.planted.stuck_at();
        self.pass("list", move |store| {
            Box::pin(async move {
                let at = list.at.or(stuck);
                let page = store.list(List { at, ..list }).await?;
                let revision = stuck.unwrap_or(page.revision);
                Ok(Page { revision, ..page })
            })
        })
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        let is_forgotten = self.planted.forgets(&txn, &mut self.random());
        self.pass("txn", move |store| {
            Box::pin(async move {
                if is_forgotten {
                    let revision = store.status().await?.revision.next();
                    return Ok(TxnOutcome {
                        succeeded: true,
                        revision,
                        results: Vec::new(),
                    });
                }
                store.txn(txn).await
            })
        })
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, Error>> {
        self.pass("grant", move |store| {
            Box::pin(async move { store.grant(ttl).await })
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        self.pass("keep_alive", move |store| {
            Box::pin(async move { store.keep_alive(lease).await })
        })
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        self.pass("revoke", move |store| {
            Box::pin(async move { store.revoke(lease).await })
        })
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'_, Result<WatchStream, Error>> {
        let (random, way, planted) = (self.random(), self.way.clone(), Arc::clone(&self.planted));
        self.pass("watch", move |store| {
            Box::pin(async move {
                let items = store.watch(watch).await?;
                Ok(through(items, way, random, planted))
            })
        })
    }

    fn compact(&self, at: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.pass("compact", move |store| {
            Box::pin(async move { store.compact(at).await })
        })
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        self.pass("status", |store| {
            Box::pin(async move { store.status().await })
        })
    }
}

/// A watch as it arrives at the other end.
fn through(
    items: WatchStream,
    way: watch::Receiver<Way>,
    random: fastrand::Rng,
    planted: Arc<Planted>,
) -> WatchStream {
    let arrived =
        futures::stream::unfold(Some((items, way, random, planted)), |watch| async move {
            let (mut items, mut way, mut random, planted) = watch?;
            let item = next(&mut items, &mut way, &mut random, &planted).await?;
            let rest = item.is_ok().then_some((items, way, random, planted));
            Some((item, rest))
        });
    arrived.boxed()
}

async fn next(
    items: &mut WatchStream,
    way: &mut watch::Receiver<Way>,
    random: &mut fastrand::Rng,
    planted: &Planted,
) -> Option<Result<Watched, Error>> {
    loop {
        let is = *way.borrow_and_update();
        match is {
            Way::Open | Way::Slow => {}
            Way::Away => {
                planted.broke();
                return Some(Err(away()));
            }
            Way::Cut => {
                planted.broke();
                let open = way.wait_for(|way| *way != Way::Cut);
                if timeout(SILENT_MAX, open).await.is_err() {
                    let silent = SILENT_MAX;
                    return Some(Err(Error::Silent { silent }));
                }
                continue;
            }
        }
        let item = match items.next().now_or_never() {
            // Right behind the one before.
            Some(item) => item?,
            None => {
                let item = tokio::select! {
                    biased;
                    // Without a sender the simulation is over.
                    Ok(()) = way.changed() => continue,
                    item = items.next() => item?,
                };
                sleep(latency(way, random)).await;
                item
            }
        };
        if planted.drops(random) {
            continue;
        }
        if let Ok(Watched::Changed { revision, .. }) = &item {
            planted.saw(*revision);
        }
        return Some(item);
    }
}
