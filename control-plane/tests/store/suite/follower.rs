//! The stream that does not end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use weir_control_plane::store::follow::{self, Followed, Follower, Reason, follow};
use weir_control_plane::store::{
    Entry, Error, Event, EventKind, Lease, LeaseId, List, Op, Page, Revision, Status, Store, Txn,
    TxnOutcome, Watch, WatchStream, Watched,
};

use crate::support::{PATIENCE, Shared, b, page, put, put_op, run};

/// The next item.
pub(crate) async fn next(follower: &mut Follower) -> Followed {
    let item = tokio::time::timeout(PATIENCE, follower.next()).await;
    item.expect("an item in time").expect("it goes on")
}

/// What a reader makes of the items.
#[derive(Default)]
pub(crate) struct Copy {
    pub(crate) entries: BTreeMap<Bytes, Entry>,
    pub(crate) revision: Revision,
    /// After lost events or a compaction, what was before is not what the copy had.
    pub(crate) is_previous_unknown: bool,
}

impl Copy {
    /// Takes in one item.
    pub(crate) fn apply(&mut self, item: Followed) {
        match item {
            Followed::Snapshot { revision, entries } => {
                assert_eq!(self.revision, Revision(0), "only once");
                self.revision = revision;
                self.entries = entries.into_iter().map(|e| (e.key.clone(), e)).collect();
            }
            Followed::Changed { revision, events } => {
                assert!(revision > self.revision);
                self.revision = revision;
                self.change(events);
            }
            Followed::Resync {
                revision, events, ..
            } => {
                self.revision = revision;
                self.change(events);
            }
            Followed::Lost(_) => {}
        }
    }

    fn change(&mut self, events: Vec<Event>) {
        for event in events {
            let before = match event.kind {
                EventKind::Put(entry) => self.entries.insert(event.key, entry),
                EventKind::Deleted => self.entries.remove(&event.key),
            };
            if !self.is_previous_unknown {
                assert_eq!(before, event.previous);
            }
        }
    }

    /// Reads until this revision.
    pub(crate) async fn catch_up(&mut self, follower: &mut Follower, to: Revision) {
        while self.revision < to {
            self.apply(next(follower).await);
        }
    }

    /// Compares with the store.
    pub(crate) async fn check(&self, store: &Shared, prefix: &str) {
        let page = page(store, prefix, 200).await;
        assert_eq!(self.entries(), page.entries);
    }

    fn entries(&self) -> Vec<Entry> {
        self.entries.values().cloned().collect()
    }
}

pub(crate) async fn a_follower_holds_what_the_store_holds(store: Shared) {
    // More than one page.
    for chunk in 0..3 {
        let puts = (0..100).map(|i| put_op(&format!("p/{}", chunk * 100 + i), "v"));
        run(&store, puts.collect()).await;
    }
    let mut copy = Copy::default();
    let mut follower = follow(Arc::clone(&store), b("p/"), follow::Options::new(1));
    copy.apply(next(&mut follower).await);
    assert_eq!(copy.entries.len(), 300);
    for chunk in 0..3 {
        let deletes = (0..100).map(|i| Op::Delete(b(&format!("p/{}", chunk * 100 + i))));
        run(&store, deletes.collect()).await;
        put(&store, "q", "v").await;
        put(&store, &format!("p/{chunk}"), "again").await;
    }
    let newest = put(&store, "p/last", "v").await;
    copy.catch_up(&mut follower, newest).await;
    assert_eq!(copy.entries.len(), 4);
    copy.check(&store, "p/").await;
}

pub(crate) async fn an_audit_tells_nothing_if_nothing_was_lost(store: Shared) {
    put(&store, "k", "v").await;
    let options = follow::Options {
        audit_every: Duration::from_millis(50),
        ..follow::Options::new(1)
    };
    let mut follower = follow(Arc::clone(&store), Bytes::new(), options);
    let mut copy = Copy::default();
    copy.apply(next(&mut follower).await);
    let quiet = tokio::time::timeout(Duration::from_millis(500), follower.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    let newest = put(&store, "k", "w").await;
    copy.catch_up(&mut follower, newest).await;
    copy.check(&store, "").await;
}

/// A store that does to its watches what some servers do.
struct Faulty {
    inner: Shared,
    watches: AtomicUsize,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Compacts between the list and the first watch.
    Compacts,
    /// Tells everything twice, and now and then goes back in time.
    Repeats,
    /// Loses every third change.
    Loses,
}

impl Store for Faulty {
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        self.inner.get(key, at)
    }
    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, Error>> {
        self.inner.list(list)
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
    fn compact(&self, at: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.compact(at)
    }
    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        self.inner.status()
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'_, Result<WatchStream, Error>> {
        Box::pin(async move {
            let is_first = self.watches.fetch_add(1, Ordering::Relaxed) == 0;
            if self.fault == Fault::Compacts && is_first {
                put(&self.inner, "k/between", "1").await;
                let newest = put(&self.inner, "k/between", "2").await;
                self.inner.compact(newest).await?;
            }
            let items = self.inner.watch(watch).await?;
            Ok(match self.fault {
                Fault::Compacts => items,
                Fault::Repeats => {
                    let mut seen: Vec<Watched> = Vec::new();
                    let twice = items.flat_map(move |item| {
                        seen.extend(item.clone().ok());
                        let again = seen.iter().rev().take(3).rev().cloned().map(Ok);
                        let again: Vec<_> = again.chain([item.clone(), item]).collect();
                        futures::stream::iter(again)
                    });
                    twice.boxed()
                }
                Fault::Loses => {
                    let counted = items.enumerate();
                    counted
                        .filter_map(|(i, item)| async move { (i % 3 != 2).then_some(item) })
                        .boxed()
                }
            })
        })
    }
}

async fn followed_through(store: &Shared, fault: Fault) -> (Copy, Vec<Reason>) {
    put(store, "k/0", "before").await;
    let faulty = Arc::new(Faulty {
        inner: Arc::clone(store),
        watches: AtomicUsize::new(0),
        fault,
    });
    let options = follow::Options {
        audit_every: Duration::from_millis(400),
        ..follow::Options::new(1)
    };
    let mut follower = follow(faulty, b("k/"), options);
    let (mut copy, mut reasons) = (Copy::default(), Vec::new());
    copy.is_previous_unknown = fault == Fault::Loses;
    copy.apply(next(&mut follower).await);
    for index in 0..30 {
        put(store, &format!("k/{}", index % 7), &index.to_string()).await;
    }
    let truth = page(store, "k/", 200).await.entries;
    let begun = tokio::time::Instant::now();
    // Longer than it needs, as nothing more may be told; on a slow machine as long as it needs.
    while begun.elapsed() < Duration::from_secs(1) || copy.entries() != truth {
        let item = tokio::time::timeout(Duration::from_millis(100), follower.next()).await;
        let Ok(Some(item)) = item else { continue };
        if let Followed::Resync { reason, .. } = item {
            reasons.push(reason);
        }
        copy.apply(item);
    }
    (copy, reasons)
}

pub(crate) async fn a_follower_overtaken_by_compaction_tells_the_difference(store: Shared) {
    let (copy, reasons) = followed_through(&store, Fault::Compacts).await;
    assert_eq!(reasons, [Reason::Compacted]);
    copy.check(&store, "k/").await;
}

pub(crate) async fn repeated_events_are_told_once(store: Shared) {
    let (copy, reasons) = followed_through(&store, Fault::Repeats).await;
    assert_eq!(reasons, []);
    copy.check(&store, "k/").await;
}

pub(crate) async fn an_audit_finds_lost_events(store: Shared) {
    let (copy, reasons) = followed_through(&store, Fault::Loses).await;
    assert!(!reasons.is_empty() && reasons.iter().all(|reason| *reason == Reason::Audit));
    copy.check(&store, "k/").await;
}

pub(crate) async fn what_is_left_out_is_neither_told_nor_missed(store: Shared) {
    put(&store, "p/jobs/1", "a").await;
    put(&store, "p/x", "a").await;
    let options = follow::Options {
        except: b("p/jobs/"),
        audit_every: Duration::from_millis(50),
        ..follow::Options::new(1)
    };
    let mut follower = follow(Arc::clone(&store), b("p/"), options);
    let mut copy = Copy::default();
    copy.apply(next(&mut follower).await);
    put(&store, "p/jobs/2", "b").await;
    let both = vec![put_op("p/jobs/1", "b"), put_op("p/y", "b")];
    let last = run(&store, both).await.revision;
    let told = next(&mut follower).await;
    // An audit may come before the watch.
    let (Followed::Changed { revision, .. } | Followed::Resync { revision, .. }) = &told else {
        panic!("{told:?}");
    };
    assert_eq!(*revision, last);
    copy.apply(told);
    let names: Vec<&[u8]> = copy.entries.keys().map(|key| &**key).collect();
    assert_eq!(names, [b"p/x", b"p/y"]);
    // Audits find no difference.
    let more = tokio::time::timeout(Duration::from_millis(300), follower.next()).await;
    assert!(more.is_err(), "{more:?}");
}
