//! The stream that does not end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_control_plane::store::follow::{self, Followed, Follower, follow};
use weir_control_plane::store::{Entry, Event, EventKind, Op, Revision};

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
            assert_eq!(before, event.previous);
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
        assert_eq!(
            self.entries.values().cloned().collect::<Vec<_>>(),
            page.entries
        );
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
