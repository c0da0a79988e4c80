//! What the embedded store survives, and what it refuses to open.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;
use weir_control_plane::store::embedded::{EmbeddedStore, FILE_NAME, OpenError, Options};
use weir_control_plane::store::{Error, Op, Revision, Store};

use crate::support::{
    Shared, always, b, delete, get, keys, next_change, options, page, put, put_op, run, try_watch,
    watch,
};

pub(crate) async fn open(folder: &Path) -> Shared {
    Arc::new(EmbeddedStore::open(options(folder)).await.unwrap())
}

pub(crate) async fn try_open(folder: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(options(folder)).await
}

/// Opens once the store before is closed: its owner ends on its own after the handle.
async fn open_once_free(folder: &Path) -> EmbeddedStore {
    for _ in 0..200 {
        match try_open(folder).await {
            Ok(store) => return store,
            Err(OpenError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it stays locked");
}

pub(crate) async fn open_again(folder: &Path) -> Shared {
    Arc::new(open_once_free(folder).await)
}

/// Drops the handle and returns once the file is free.
pub(crate) async fn close(store: Shared, folder: &Path) {
    drop(store);
    open_once_free(folder).await.close().await;
}

async fn assert_is_sound(folder: &Path) {
    let store = open(folder).await;
    assert_eq!(keys(&store, "k/1/1").await.len(), 11);
    close(store, folder).await;
}

#[tokio::test]
async fn damaged_file_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    let store = EmbeddedStore::open(options(folder.path())).await.unwrap();
    for chunk in 0..20 {
        let puts = (0..100).map(|i| put_op(&format!("k/{chunk}/{i}"), &"v".repeat(500)));
        store.txn(always(puts.collect())).await.unwrap();
    }
    store.close().await;
    let sound = fs::read(&file).unwrap();
    assert_is_sound(folder.path()).await;

    let half = sound[..sound.len() / 2].to_vec();
    let mut scrambled = sound.clone();
    for at in (0..scrambled.len()).step_by(4096).skip(1) {
        scrambled[at + 100] ^= 0x55;
    }
    let mut one_value = sound.clone();
    let value = [b'v'; 500];
    let at = one_value
        .windows(500)
        .position(|window| window == value)
        .unwrap();
    let copies = (at..one_value.len() - 500)
        .step_by(4)
        .filter(|at| sound[*at..*at + 500] == value);
    for at in copies.collect::<Vec<_>>() {
        one_value[at + 250] = b'w';
    }
    let damages = [
        ("text", b"this is no store at all".repeat(500)),
        ("cut in half", half),
        ("one byte of each page", scrambled),
        ("some values", one_value),
    ];
    for (what, damage) in damages {
        fs::write(&file, damage).unwrap();
        let refused = try_open(folder.path()).await;
        let Err(OpenError::Damaged { .. }) = &refused else {
            panic!("{what}: {refused:?}");
        };
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(file.to_str().unwrap()), "{message}");
    }
    fs::write(&file, &sound).unwrap();
    assert_is_sound(folder.path()).await;
}

#[tokio::test]
async fn file_of_another_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let second = try_open(folder.path()).await.unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    assert!(second.to_string().contains("is in use"));
    put(&store, "still", "works").await;
    let in_the_way = folder.path().join("file");
    fs::write(&in_the_way, "").unwrap();
    let no_folder = try_open(&in_the_way).await.unwrap_err();
    assert!(matches!(no_folder, OpenError::Io { .. }), "{no_folder}");
}

#[tokio::test]
async fn all_is_as_it_was_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    put(&store, "k", "1").await;
    put(&store, "k", "2").await;
    let kept = put(&store, "k", "3").await;
    delete(&store, "k").await;
    let last = put(&store, "k", "4").await;
    store.compact(kept).await.unwrap();
    let lease = store.grant(Duration::from_secs(60)).await.unwrap().id;
    let before = (
        page(&store, "", 9).await,
        store.status().await.unwrap().store,
    );
    let mut open_watch = watch(&store, "", last.next()).await;
    drop(store);
    let ended = open_watch.next().await.unwrap();
    assert!(matches!(ended, Err(Error::Unavailable { .. })), "{ended:?}");
    assert!(open_watch.next().await.is_none());

    let store = open_again(folder.path()).await;
    assert_eq!(
        (
            page(&store, "", 9).await,
            store.status().await.unwrap().store
        ),
        before
    );
    assert_eq!(
        store.get(b("k"), Some(kept)).await.unwrap().unwrap().value,
        b("3")
    );
    let compacted = try_watch(&store, "", Revision(2))
        .await
        .unwrap()
        .next()
        .await
        .unwrap();
    assert!(matches!(compacted, Err(Error::Compacted { .. })));
    let mut past = watch(&store, "", kept.next()).await;
    assert_eq!(next_change(&mut past).await.unwrap().0, kept.next());
    store.keep_alive(lease).await.unwrap();
    assert!(store.grant(Duration::from_secs(60)).await.unwrap().id > lease);
    assert_eq!(put(&store, "k", "5").await, last.next());
}

#[tokio::test]
async fn lease_lives_its_whole_time_again_after_a_restart() {
    const TTL: Duration = Duration::from_secs(2);
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let lease = store.grant(TTL).await.unwrap().id;
    let held = Op::Put {
        key: b("held"),
        value: b("v"),
        lease: Some(lease),
    };
    run(&store, vec![held]).await;
    tokio::time::sleep(TTL / 2).await;
    drop(store);
    let store = open_again(folder.path()).await;
    let reopened = Instant::now();
    let next = store.status().await.unwrap().revision.next();
    next_change(&mut watch(&store, "held", next).await)
        .await
        .unwrap();
    let lived = reopened.elapsed();
    assert!(
        (TTL - Duration::from_millis(200)..TTL * 2).contains(&lived),
        "{lived:?}"
    );
    assert_eq!(get(&store, "held").await, None);
}

#[tokio::test]
async fn history_is_bounded_by_count_and_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let bounded = Options {
        history_revisions_max: 10,
        history_age_max: Duration::from_millis(800),
        ..options(folder.path())
    };
    let store: Shared = Arc::new(EmbeddedStore::open(bounded).await.unwrap());
    let mut newest = Revision(1);
    for _ in 0..30 {
        newest = put(&store, "k", "v").await;
    }
    let kept = Revision(newest.0 - 10);
    let told = watch(&store, "", Revision(2)).await.next().await.unwrap();
    let compacted = Some(kept);
    let asked = Revision(2);
    assert_eq!(told, Err(Error::Compacted { asked, compacted }));
    assert!(store.get(b("k"), Some(kept)).await.unwrap().is_some());
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let past = store.get(b("k"), Some(kept)).await;
    assert!(matches!(past, Err(Error::Compacted { .. })), "{past:?}");
    assert!(
        store.get(b("k"), Some(newest)).await.unwrap().is_some(),
        "the newest stays"
    );
}

#[tokio::test]
async fn full_queue_refuses_at_once_and_a_late_call_ends() {
    let folder = tempfile::tempdir().unwrap();
    let small = Options {
        writes_waiting_max: 4,
        ..options(folder.path())
    };
    let store: Shared = Arc::new(EmbeddedStore::open(small).await.unwrap());
    let txn = |i| store.txn(always(vec![put_op(&format!("k/{i}"), "v")]));
    let outcomes = futures::future::join_all((0..50).map(txn)).await;
    let busy = Error::Busy { waiting: 4 };
    let refused = outcomes
        .iter()
        .filter(|outcome| **outcome == Err(busy.clone()));
    assert!(!busy.is_ambiguous());
    let (refused, done) = (
        refused.count(),
        outcomes.iter().filter(|o| o.is_ok()).count(),
    );
    assert!(refused > 0 && done > 0 && refused + done == 50);
    assert_eq!(keys(&store, "k/").await.len(), done);
    close(store, folder.path()).await;

    let hasty = Options {
        call_limit: Duration::from_nanos(1),
        ..options(folder.path())
    };
    let store = EmbeddedStore::open(hasty).await.unwrap();
    let late = store.txn(always(vec![put_op("k", "v")])).await.unwrap_err();
    assert!(
        matches!(
            late,
            Error::Late {
                operation: "txn",
                ..
            }
        ),
        "{late}"
    );
    assert!(late.is_ambiguous());
}
