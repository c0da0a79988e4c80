//! Leases, and the fences that make them safe.

use std::time::Duration;

use tokio::time::Instant;
use weir_control_plane::store::{Compare, Error, EventKind, LeaseId, Op, Revision};

use crate::support::{Shared, always, b, get, keys, next_change, only_if, put, run, watch};

pub(crate) const TTL: Duration = Duration::from_secs(2);
/// Expiry may be this late.
const LATE_MAX: Duration = Duration::from_secs(3);

fn put_with(key: &str, lease: LeaseId) -> Op {
    Op::Put {
        key: b(key),
        value: b("held"),
        lease: Some(lease),
    }
}

pub(crate) async fn an_expired_lease_takes_its_keys_in_one_revision(store: Shared) {
    put(&store, "stays", "v").await;
    let begun = Instant::now();
    let lease = store.grant(TTL).await.unwrap();
    assert!(lease.ttl >= TTL);
    let held = ["h/1", "h/2", "h/3"].map(|key| put_with(key, lease.id));
    let put_at = run(&store, held.to_vec()).await.revision;
    assert_eq!(get(&store, "h/1").await.unwrap().lease, Some(lease.id));
    let mut watch = watch(&store, "h/", put_at.next()).await;
    let (revision, events) = next_change(&mut watch).await.unwrap();
    let after = begun.elapsed();
    assert!(
        (TTL..TTL + LATE_MAX).contains(&after),
        "expired after {after:?}"
    );
    assert_eq!((revision, events.len()), (put_at.next(), 3));
    assert!(events.iter().all(|event| event.kind == EventKind::Deleted));
    assert_eq!(keys(&store, "").await, ["stays"]);
    assert_eq!(store.keep_alive(lease.id).await, Err(Error::LeaseNotFound));
    assert_eq!(store.revoke(lease.id).await, Err(Error::LeaseNotFound));
}

pub(crate) async fn a_kept_lease_lives_on(store: Shared) {
    let kept = store.grant(TTL).await.unwrap().id;
    let left = store.grant(TTL).await.unwrap().id;
    run(&store, vec![put_with("kept", kept), put_with("left", left)]).await;
    let begun = Instant::now();
    while begun.elapsed() < TTL + LATE_MAX {
        store.keep_alive(kept).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        if get(&store, "left").await.is_none() && begun.elapsed() > TTL + TTL / 2 {
            break;
        }
    }
    assert_eq!(keys(&store, "").await, ["kept"]);
}

pub(crate) async fn a_revoked_lease_is_a_fence(store: Shared) {
    let lease = store.grant(TTL).await.unwrap().id;
    let put_at = run(&store, vec![put_with("a", lease), put_with("b", lease)]).await;
    store.revoke(lease).await.unwrap();
    assert_eq!(keys(&store, "").await, [""; 0]);
    let mut watch = watch(&store, "", put_at.revision.next()).await;
    let (_, events) = next_change(&mut watch).await.unwrap();
    assert_eq!(events.len(), 2);

    let ops = vec![Op::Delete(b("x")), put_with("y", lease)];
    let refused = store.txn(always(ops)).await;
    assert_eq!(refused, Err(Error::LeaseNotFound));
    assert_eq!(keys(&store, "").await, [""; 0]);
    // Only the list that is done counts.
    let mut txn = only_if(Compare::Exists(b("none")), vec![put_with("y", lease)]);
    txn.or_else = vec![Op::Get(b("y"))];
    assert!(!store.txn(txn).await.unwrap().succeeded);
    let never = store.keep_alive(LeaseId(987_654_321)).await;
    assert_eq!(never, Err(Error::LeaseNotFound));
}

pub(crate) async fn a_key_belongs_to_its_last_lease_only(store: Shared) {
    let first = store.grant(Duration::from_secs(60)).await.unwrap().id;
    let second = store.grant(Duration::from_secs(60)).await.unwrap().id;
    let at_first = ["moved", "freed", "again"].map(|key| put_with(key, first));
    run(&store, at_first.to_vec()).await;
    run(&store, vec![put_with("moved", second)]).await;
    put(&store, "freed", "permanent").await;
    run(&store, vec![Op::Delete(b("again"))]).await;
    put(&store, "again", "new").await;
    store.revoke(first).await.unwrap();
    assert_eq!(keys(&store, "").await, ["again", "freed", "moved"]);
    assert_eq!(get(&store, "freed").await.unwrap().lease, None);
    store.revoke(second).await.unwrap();
    assert_eq!(keys(&store, "").await, ["again", "freed"]);
}

pub(crate) async fn only_one_claims_and_the_zombie_is_fenced(store: Shared) {
    let claim = |lease| only_if(Compare::Absent(b("claim")), vec![put_with("claim", lease)]);
    let complete = |fence| {
        let done = vec![
            Op::Delete(b("claim")),
            crate::support::put_op("done", "yes"),
        ];
        only_if(Compare::CreateRevision(b("claim"), fence), done)
    };
    let mut leases = Vec::new();
    for _ in 0..8 {
        leases.push(store.grant(Duration::from_secs(60)).await.unwrap().id);
    }
    let tries = leases.iter().map(|lease| store.txn(claim(*lease)));
    let outcomes = futures::future::join_all(tries).await;
    let won: Vec<(LeaseId, Revision)> = leases
        .iter()
        .zip(&outcomes)
        .filter_map(|(lease, outcome)| {
            let outcome = outcome.as_ref().unwrap();
            outcome.succeeded.then_some((*lease, outcome.revision))
        })
        .collect();
    let [(first, first_fence)] = won[..] else {
        panic!("{} claimed", won.len());
    };
    store.revoke(first).await.unwrap();
    let second = *leases.iter().find(|lease| **lease != first).unwrap();
    let second_fence = store.txn(claim(second)).await.unwrap().revision;
    assert!(second_fence > first_fence);
    assert!(
        !store.txn(complete(first_fence)).await.unwrap().succeeded,
        "a zombie"
    );
    assert!(store.txn(complete(second_fence)).await.unwrap().succeeded);
    assert_eq!(keys(&store, "").await, ["done"]);
}
