//! Stores to test, and short words for what the tests do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tempfile::TempDir;
use weir_control_plane::store::embedded::{self, EmbeddedStore};
use weir_control_plane::store::etcd::{self as client, EtcdStore};
use weir_control_plane::store::memory::{self, MemoryStore};
use weir_control_plane::store::{
    Compare, Entry, Error, Event, EventKind, List, Op, Page, Revision, Store, Txn, TxnOutcome,
    Watch, WatchStream, Watched,
};

use crate::etcd::Etcd;

/// No step of any test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Short, so that tests of silence are.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_millis(300);
const SEED: u64 = 7;

/// A shared store.
pub(crate) type Shared = Arc<dyn Store>;

/// An embedded store and its folder.
pub(crate) struct Home {
    pub(crate) store: Shared,
    _folder: TempDir,
}

/// An embedded store that is empty.
pub(crate) async fn embedded() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(options(folder.path())).await.unwrap();
    Home {
        store: Arc::new(store),
        _folder: folder,
    }
}

/// A store in memory that is empty.
pub(crate) fn memory() -> Shared {
    Arc::new(MemoryStore::start(memory::Options {
        progress_every: PROGRESS_EVERY,
        ..memory::Options::new(SEED)
    }))
}

/// How the tests keep an embedded store.
pub(crate) fn options(folder: &std::path::Path) -> embedded::Options {
    embedded::Options {
        progress_every: PROGRESS_EVERY,
        ..embedded::Options::new(folder, SEED)
    }
}

/// A real etcd that is empty, and a store on it.
pub(crate) async fn etcd() -> (Etcd, Shared) {
    let etcd = Etcd::start().await;
    let store = connect(&etcd).await;
    (etcd, store)
}

/// A store on this etcd.
pub(crate) async fn connect(etcd: &Etcd) -> Shared {
    let options = client::Options {
        probe_after: PROGRESS_EVERY,
        silent_max: Duration::from_millis(1500),
        call_limit: Duration::from_secs(2),
        ..client::Options::new(vec![etcd.endpoint()])
    };
    Arc::new(EtcdStore::connect(options).await.unwrap())
}

/// Bytes of a text.
pub(crate) fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A put without a lease.
pub(crate) fn put_op(key: &str, value: &str) -> Op {
    Op::Put {
        key: b(key),
        value: b(value),
        lease: None,
    }
}

/// A transaction without conditions.
pub(crate) fn always(then: Vec<Op>) -> Txn {
    Txn {
        then,
        ..Txn::default()
    }
}

/// A transaction on one condition, with nothing to do otherwise.
pub(crate) fn only_if(when: Compare, then: Vec<Op>) -> Txn {
    Txn {
        when: vec![when],
        then,
        or_else: Vec::new(),
    }
}

/// Puts one value and returns the revision.
pub(crate) async fn put(store: &Shared, key: &str, value: &str) -> Revision {
    run(store, vec![put_op(key, value)]).await.revision
}

/// Deletes one key and returns the revision.
pub(crate) async fn delete(store: &Shared, key: &str) -> Revision {
    run(store, vec![Op::Delete(b(key))]).await.revision
}

/// Does these.
pub(crate) async fn run(store: &Shared, then: Vec<Op>) -> TxnOutcome {
    store.txn(always(then)).await.unwrap()
}

/// What is at a key now.
pub(crate) async fn get(store: &Shared, key: &str) -> Option<Entry> {
    store.get(b(key), None).await.unwrap()
}

/// One page.
pub(crate) async fn page(store: &Shared, prefix: &str, entries_max: usize) -> Page {
    let list = List {
        prefix: b(prefix),
        entries_max,
        ..List::default()
    };
    store.list(list).await.unwrap()
}

/// All keys below a prefix, as text.
pub(crate) async fn keys(store: &Shared, prefix: &str) -> Vec<String> {
    let page = page(store, prefix, 200).await;
    assert!(!page.more);
    let keys = page.entries.iter().map(|entry| text(&entry.key));
    keys.collect()
}

/// Bytes as text.
pub(crate) fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A watch, as it was opened.
pub(crate) async fn watch(store: &Shared, prefix: &str, from: Revision) -> WatchStream {
    try_watch(store, prefix, from).await.unwrap()
}

/// A watch, or why not.
pub(crate) async fn try_watch(
    store: &Shared,
    prefix: &str,
    from: Revision,
) -> Result<WatchStream, Error> {
    let prefix = b(prefix);
    store.watch(Watch { prefix, from }).await
}

/// The next item that is not progress.
pub(crate) async fn next_change(watch: &mut WatchStream) -> Result<(Revision, Vec<Event>), Error> {
    let next = async {
        loop {
            match watch.next().await.expect("the watch goes on") {
                Ok(Watched::Changed { revision, events }) => return Ok((revision, events)),
                Ok(Watched::Progress(_)) => {}
                Err(error) => return Err(error),
            }
        }
    };
    tokio::time::timeout(PATIENCE, next)
        .await
        .expect("a change in time")
}

/// An event in few words: `key=value (was previous)`.
pub(crate) fn told(event: &Event) -> String {
    let now = match &event.kind {
        EventKind::Put(entry) => format!("{}={}", text(&event.key), text(&entry.value)),
        EventKind::Deleted => format!("{} gone", text(&event.key)),
    };
    match &event.previous {
        Some(previous) => format!("{now} (was {})", text(&previous.value)),
        None => now,
    }
}
