//! Compaction.

use std::sync::Arc;

use weir_control_plane::store::follow::{self, Followed, follow};
use weir_control_plane::store::{Error, List, Revision};

use crate::suite::follower::next;
use crate::support::{Shared, b, delete, get, keys, next_change, put, told, try_watch};

pub(crate) async fn what_was_compacted_is_refused(store: Shared) {
    let first = put(&store, "k", "1").await;
    put(&store, "k", "2").await;
    let kept = put(&store, "k", "3").await;
    let last = put(&store, "k", "4").await;
    store.compact(kept).await.unwrap();

    let past = store.get(b("k"), Some(first)).await;
    assert!(matches!(past, Err(Error::Compacted { asked, .. }) if asked == first));
    let list = List {
        at: Some(first.next()),
        entries_max: 1,
        ..List::default()
    };
    assert!(matches!(
        store.list(list).await,
        Err(Error::Compacted { .. })
    ));
    assert_eq!(
        store.get(b("k"), Some(kept)).await.unwrap().unwrap().value,
        b("3")
    );

    let broken = match try_watch(&store, "", first).await {
        Ok(mut watch) => next_change(&mut watch).await.map(drop),
        Err(error) => Err(error),
    };
    let compacted = Some(kept);
    let expected = Error::Compacted {
        asked: first,
        compacted,
    };
    assert_eq!(broken, Err(expected));
    let mut watch = try_watch(&store, "", kept.next()).await.unwrap();
    let (revision, events) = next_change(&mut watch).await.unwrap();
    assert_eq!((revision, told(&events[0])), (last, "k=4 (was 3)".into()));

    assert!(matches!(
        store.compact(kept).await,
        Err(Error::Compacted { .. })
    ));
    assert!(matches!(
        store.compact(first).await,
        Err(Error::Compacted { .. })
    ));
    let future = store.compact(last.next()).await;
    assert!(matches!(future, Err(Error::Future { .. })), "{future:?}");
}

pub(crate) async fn a_follower_survives_compaction(store: Shared) {
    put(&store, "idle/k", "v").await;
    let mut follower = follow(Arc::clone(&store), b("idle/"), follow::Options::new(1));
    assert!(matches!(
        next(&mut follower).await,
        Followed::Snapshot { .. }
    ));
    // The snapshot is told before the watch is open; a change that comes through says that it is.
    put(&store, "idle/k", "open").await;
    assert!(matches!(
        next(&mut follower).await,
        Followed::Changed { .. }
    ));
    for round in 0..5 {
        for _ in 0..20 {
            put(&store, "busy", "v").await;
        }
        let newest = put(&store, "busy", "v").await;
        store.compact(newest).await.unwrap();
        let value = round.to_string();
        put(&store, "idle/k", &value).await;
        // The idle prefix is told of its own changes and of nothing else.
        let Followed::Changed { events, .. } = next(&mut follower).await else {
            panic!("the follower began anew");
        };
        assert!(told(&events[0]).starts_with(&format!("idle/k={value}")));
    }
}

pub(crate) async fn compaction_loses_nothing_of_the_present(store: Shared) {
    for key in ["a", "b", "c"] {
        put(&store, key, "v").await;
    }
    let newest = delete(&store, "b").await;
    store.compact(newest).await.unwrap();
    assert_eq!(keys(&store, "").await, ["a", "c"]);
    let a = get(&store, "a").await.unwrap();
    assert_eq!((a.create_revision, a.version), (Revision(2), 1));
    assert_eq!(put(&store, "b", "new").await, newest.next());
    assert_eq!(get(&store, "b").await.unwrap().version, 1);
}
