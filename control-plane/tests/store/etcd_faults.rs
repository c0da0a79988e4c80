//! What happens to the control plane when etcd dies, stands still or goes back in time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::time::Instant;
use weir_control_plane::store::etcd::{EtcdStore, Options};
use weir_control_plane::store::follow::{self, Followed, Follower, Reason, follow};
use weir_control_plane::store::{Error, Revision};

use crate::suite::follower::{Copy, next};
use crate::support::{
    PATIENCE, Shared, always, b, etcd, get, next_change, put, put_op, try_watch, watch,
};

/// The deadline of the tests' stores, and some room.
const CALL_MAX: Duration = Duration::from_millis(2500);

fn follow_all(store: &Shared) -> Follower {
    follow(Arc::clone(store), Bytes::new(), follow::Options::new(1))
}

/// Reads on until the follower says that it is up to date again; returns why it was not.
async fn resynced(follower: &mut Follower, copy: &mut Copy) -> (Revision, Reason) {
    loop {
        let item = next(follower).await;
        copy.apply(item.clone());
        if let Followed::Resync {
            revision, reason, ..
        } = item
        {
            return (revision, reason);
        }
    }
}

/// Puts until it works: after a fault the first calls may still fail.
pub(crate) async fn put_at_last(store: &Shared, key: &str, value: &str) -> Revision {
    let begun = Instant::now();
    loop {
        match store.txn(always(vec![put_op(key, value)])).await {
            Ok(outcome) => return outcome.revision,
            Err(error) if begun.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test]
async fn killed_etcd_fails_calls_in_time_and_is_found_again() {
    let (mut etcd, store) = etcd().await;
    let (mut follower, mut copy) = (follow_all(&store), Copy::default());
    let kept = put(&store, "kept", "v").await;
    copy.catch_up(&mut follower, kept).await;
    let mut raw = watch(&store, "", kept.next()).await;

    etcd.kill();
    let begun = Instant::now();
    let write = store.txn(always(vec![put_op("k", "v")])).await.unwrap_err();
    assert!(write.is_ambiguous(), "{write}");
    assert!(store.get(b("kept"), None).await.unwrap_err().is_ambiguous());
    assert!(store.status().await.is_err());
    assert!(store.grant(crate::suite::leases::TTL).await.is_err());
    assert!(begun.elapsed() < CALL_MAX * 4);
    let broken = next_change(&mut raw).await;
    assert!(
        matches!(broken, Err(Error::Unavailable { .. })),
        "{broken:?}"
    );
    assert!(raw.next().await.is_none(), "a watch ends after its error");
    assert!(matches!(next(&mut follower).await, Followed::Lost(_)));

    let mut late_follower = follow_all(&store);
    assert!(matches!(next(&mut late_follower).await, Followed::Lost(_)));

    etcd.start_again().await;
    assert!(matches!(
        next(&mut late_follower).await,
        Followed::Snapshot { .. }
    ));
    let while_away = put_at_last(&store, "while away", "v").await;
    let (_, reason) = resynced(&mut follower, &mut copy).await;
    assert_eq!(reason, Reason::Lost);
    copy.catch_up(&mut follower, while_away).await;
    assert_eq!(get(&store, "kept").await.unwrap().mod_revision, kept);
    copy.check(&store, "").await;
    let last = put(&store, "after", "v").await;
    copy.catch_up(&mut follower, last).await;
    copy.check(&store, "").await;
}

#[tokio::test]
async fn frozen_etcd_is_found_out_and_found_again() {
    let (etcd, store) = etcd().await;
    let (mut follower, mut copy) = (follow_all(&store), Copy::default());
    let kept = put(&store, "kept", "v").await;
    copy.catch_up(&mut follower, kept).await;
    let mut raw = watch(&store, "", kept.next()).await;

    etcd.freeze();
    let begun = Instant::now();
    let write = store.txn(always(vec![put_op("k", "v")])).await.unwrap_err();
    assert!(write.is_ambiguous(), "{write}");
    assert!(begun.elapsed() < CALL_MAX, "a call has a deadline");
    let silent = next_change(&mut raw).await;
    assert!(matches!(silent, Err(Error::Silent { .. })), "{silent:?}");
    assert!(begun.elapsed() < CALL_MAX * 2, "a silent watch is given up");
    assert!(matches!(next(&mut follower).await, Followed::Lost(_)));
    let opening = Instant::now();
    assert!(try_watch(&store, "", kept.next()).await.is_err());
    assert!(opening.elapsed() < CALL_MAX);

    etcd.thaw();
    let last = put_at_last(&store, "after", "v").await;
    resynced(&mut follower, &mut copy).await;
    copy.catch_up(&mut follower, last).await;
    copy.check(&store, "").await;
}

#[tokio::test]
async fn restored_etcd_is_seen_as_another_state() {
    let (mut etcd, store) = etcd().await;
    let (mut follower, mut copy) = (follow_all(&store), Copy::default());
    put(&store, "old", "as saved").await;
    put(&store, "same", "v").await;
    let snapshot = etcd.save();
    put(&store, "old", "changed").await;
    for index in 0..20 {
        put(&store, &format!("new/{index}"), "v").await;
    }
    let before = put(&store, "last", "v").await;
    copy.catch_up(&mut follower, before).await;

    etcd.restore(&snapshot).await;
    let (revision, reason) = resynced(&mut follower, &mut copy).await;
    assert_eq!(reason, Reason::OtherStore);
    assert!(revision < before);
    assert_eq!(copy.entries[&b("old")].value, b("as saved"));
    assert_eq!(copy.entries.len(), 2);
    let after = put_at_last(&store, "after", "v").await;
    copy.catch_up(&mut follower, after).await;
    copy.check(&store, "").await;
    // What a follower that resumed would have asked for: etcd would be silent for ever.
    let future = try_watch(&store, "", before.next()).await.map(drop);
    assert!(matches!(future, Err(Error::Future { .. })), "{future:?}");
}

#[tokio::test]
async fn etcd_that_is_not_there_is_told_in_time() {
    let options = Options {
        call_limit: Duration::from_millis(300),
        ..Options::new(vec!["http://127.0.0.1:9".to_owned()])
    };
    let store: Shared = Arc::new(EtcdStore::connect(options).await.unwrap());
    let begun = Instant::now();
    let status = store.status().await;
    assert!(
        matches!(status, Err(Error::Unavailable { .. })),
        "{status:?}"
    );
    let read = store.get(b("k"), None).await;
    assert!(read.unwrap_err().is_ambiguous());
    assert!(begun.elapsed() < Duration::from_secs(2));
    let wrong = EtcdStore::connect(Options::new(vec!["not an address".to_owned()])).await;
    assert!(wrong.is_err());
}

/// Kill, freeze and compact at will; the copy must be what the store holds in the end.
#[tokio::test]
async fn follower_ends_up_right_after_a_row_of_faults() {
    let (mut etcd, store) = etcd().await;
    let (mut follower, mut copy) = (follow_all(&store), Copy::default());
    let reader = tokio::spawn(async move {
        loop {
            copy.apply(next(&mut follower).await);
            if copy.entries.contains_key(&b("end")) {
                return copy;
            }
        }
    });
    let mut random = fastrand::Rng::with_seed(3);
    let mut put_last = Revision(0);
    for round in 0..6 {
        for _ in 0..20 {
            let key = format!("k/{}", random.u8(..30));
            put_last = put_at_last(&store, &key, &round.to_string()).await;
        }
        match round % 3 {
            0 => {
                etcd.kill();
                etcd.start_again().await;
            }
            1 => {
                etcd.freeze();
                tokio::time::sleep(Duration::from_millis(400)).await;
                etcd.thaw();
            }
            _ => store.compact(put_last).await.unwrap(),
        }
    }
    put_at_last(&store, "end", "v").await;
    let copy = tokio::time::timeout(PATIENCE, reader)
        .await
        .unwrap()
        .unwrap();
    copy.check(&store, "").await;
    assert!(store.status().await.unwrap().revision > put_last);
}
