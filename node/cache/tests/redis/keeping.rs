//! Values are kept, expire, and are purged one by one and whole.

use std::time::Duration;

use bytes::Bytes;
use weir_cache::redis::{Fetched, InvalidNamespace, NAMESPACES_MAX, VALUE_BYTES_MAX};

use crate::stage::{LONG, Tier, eventually, hit, patient, settings, stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_is_found_until_it_expires() {
    let (_redis, tier) = stage().await;
    assert_eq!(tier.pages.get(b"a").await, Fetched::Miss);
    tier.pages.put(b"a", "one".into(), Duration::from_secs(1));
    tier.finds("a", "one").await;
    tier.misses("a").await;
    let counters = tier.l2.counters();
    assert_eq!((counters.puts.get(), counters.bytes_out.get()), (1, 3));
    assert!(counters.hits.get() >= 1 && counters.bytes_in.get() >= 3);
    assert_eq!(tier.l2.queue_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_with_runtimes_of_their_own_read_what_another_one_wrote() {
    let (_redis, tier) = stage().await;
    tier.keep("a", "one").await;
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let pages = tier.pages.clone();
            std::thread::spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().build().unwrap();
                runtime.block_on(async {
                    eventually(async || pages.get(b"a").await == hit("one")).await
                });
            })
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_is_gone_and_can_be_written_again() {
    let (_redis, tier) = stage().await;
    tier.keep("a", "one").await;
    tier.keep("b", "two").await;
    tier.pages.delete(&[b"a", b"b", b"never"], 5);
    tier.misses("a").await;
    tier.misses("b").await;
    // In this order whatever happens.
    tier.pages.put(b"a", "old".into(), LONG);
    tier.pages.delete(&[b"a"], 6);
    tier.pages.put(b"c", "three".into(), LONG);
    tier.finds("c", "three").await;
    assert_eq!(tier.pages.get(b"a").await, Fetched::Miss);
    tier.keep("a", "new").await;
    assert_eq!(tier.l2.counters().deletes.get(), 4);
    assert_eq!(tier.l2.trust_floor(), 0, "all purges were delivered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_purged_whole_on_every_node_and_no_other_one_with_it() {
    let redis = weir_fakes::redis::Redis::start();
    let (tier, other) = (Tier::start(patient(&redis)), Tier::start(patient(&redis)));
    let status = tier.l2.namespace("status").unwrap();
    tier.is_ready().await;
    eventually(async || status.get(b"a").await == Fetched::Miss).await;
    tier.keep("a", "one").await;
    other.finds("a", "one").await;
    status.put(b"a", "kept".into(), LONG);
    eventually(async || status.get(b"a").await == hit("kept")).await;

    tier.pages.purge_all(50_000);
    assert_eq!(
        tier.pages.get(b"a").await,
        Fetched::Miss,
        "at once on this node"
    );
    other.misses("a").await;
    assert_eq!(status.get(b"a").await, hit("kept"));
    tier.keep("a", "new").await;
    other.finds("a", "new").await;
    assert_eq!(tier.l2.trust_floor(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evicted_generation_brings_nothing_back() {
    let (redis, tier) = stage().await;
    tier.keep("a", "one").await;
    tier.pages.purge_all(50_000);
    tier.keep("b", "two").await;
    redis.ask(&[b"DEL", b"weir:pages:gen"]).unwrap();
    let fresh = Tier::start(settings(&redis));
    fresh.is_ready().await;
    assert_eq!(fresh.pages.get(b"a").await, Fetched::Miss);
    assert_eq!(fresh.pages.get(b"b").await, Fetched::Miss);
    fresh.keep("c", "three").await;
    tier.finds("c", "three").await;
    assert_eq!(tier.pages.get(b"a").await, Fetched::Miss);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_every_size_come_back_whole() {
    let redis = weir_fakes::redis::Redis::start();
    let tier = Tier::start(patient(&redis));
    tier.is_ready().await;
    for bytes in [1, 65_535, 65_536, 65_537, VALUE_BYTES_MAX] {
        let value = Bytes::from_iter((0..bytes).map(|at| u8::try_from(at % 251).unwrap()));
        let key = bytes.to_string();
        tier.pages.put(key.as_bytes(), value.clone(), LONG);
        eventually(async || tier.pages.get(key.as_bytes()).await == Fetched::Hit(value.clone()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_namespace_need_not_wait_for_the_next_look() {
    let (_redis, tier) = stage().await;
    let three = async {
        for name in ["a", "b", "c"] {
            let added = tier.l2.namespace(name).unwrap();
            eventually(async || added.get(b"a").await == Fetched::Miss).await;
        }
    };
    // Looks are a second apart.
    let ended = tokio::time::timeout(Duration::from_millis(1_500), three).await;
    ended.expect("all three are known soon");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_are_bounded_and_one_name_is_one_namespace() {
    let (_redis, tier) = stage().await;
    tier.keep("a", "one").await;
    assert_eq!(
        tier.l2.namespace("pages").unwrap().get(b"a").await,
        hit("one")
    );
    for number in 1..NAMESPACES_MAX {
        tier.l2.namespace(&format!("n{number}")).unwrap();
    }
    assert_eq!(
        tier.l2.namespace("more").unwrap_err(),
        InvalidNamespace::TooMany
    );
    assert!(tier.l2.namespace("n1").is_ok());
}
