//! Presences over a real etcd that dies.

use std::time::Duration;

use weir_control_plane::leases::{Options, Settlement};

use crate::faulty::until;
use crate::presences::{Instance, settled};
use crate::support::{b, etcd, get, text};

const TTL: Duration = Duration::from_secs(2);

fn short() -> Options {
    Options {
        ttl: TTL,
        renew_every: Duration::from_millis(500),
        ..Options::new(1)
    }
}

#[tokio::test]
async fn presences_come_back_after_etcd_was_killed() {
    let (mut etcd, store) = etcd().await;
    let one = Instance::with(&store, short());
    one.assert("p/before", "v").await;
    etcd.kill();
    let meanwhile = one
        .presences
        .assert(b("p/meanwhile"), b("v"))
        .await
        .unwrap();
    tokio::time::sleep(TTL * 2).await;
    etcd.start_again().await;
    assert!(matches!(settled(meanwhile).await, Settlement::Written(_)));
    let are_there = async || {
        get(&store, "p/before").await.is_some() && get(&store, "p/meanwhile").await.is_some()
    };
    until("both are there", are_there).await;
    // Their leases are alive, not only left over.
    for _ in 0..10 {
        tokio::time::sleep(TTL / 4).await;
        assert!(are_there().await);
    }
    drop(one);
    until("they end with their instance", async || {
        get(&store, "p/before").await.is_none() && get(&store, "p/meanwhile").await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_etcd_revoked_is_replaced() {
    let (_etcd, store) = etcd().await;
    let one = Instance::with(&store, short());
    one.assert("p/a", "v").await;
    let first = get(&store, "p/a").await.unwrap().lease;
    store.revoke(first.unwrap()).await.unwrap();
    until("it is back", async || {
        let found = get(&store, "p/a").await;
        found.is_some_and(|entry| entry.lease.is_some() && entry.lease != first)
    })
    .await;
    // A write finds out by itself that a lease is gone.
    let second = get(&store, "p/a").await.unwrap().lease;
    store.revoke(second.unwrap()).await.unwrap();
    let updated = one.presences.update(b("p/a"), b("w")).await.unwrap();
    assert!(matches!(settled(updated).await, Settlement::Written(_)));
}

#[tokio::test]
async fn a_store_put_back_to_an_older_state_gets_what_is_asserted_now() {
    let (mut etcd, store) = etcd().await;
    let one = Instance::start(&store, 1);
    let two = Instance::start(&store, 2);
    one.assert("p/changed", "old").await;
    one.assert("p/moved", "of one").await;
    let snapshot = etcd.save();
    for n in 0..10 {
        one.assert("p/changed", &format!("new {n}")).await;
    }
    one.assert("p/new", "v").await;
    two.assert("p/moved", "of two").await;
    one.withdraw("p/moved").await;
    etcd.restore(&snapshot).await;
    one.presences.audit();
    two.presences.audit();
    let is_right = async || {
        let mut found = Vec::new();
        for key in ["p/changed", "p/moved", "p/new"] {
            let entry = store.get(b(key), None).await.ok().flatten();
            found.push(entry.map_or_else(String::new, |entry| text(&entry.value)));
        }
        found == ["new 9", "of two", "v"]
    };
    until("the store holds what is asserted", is_right).await;
}
