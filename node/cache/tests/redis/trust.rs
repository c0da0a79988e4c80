//! What may have missed a purge is told.

use std::time::Duration;

use weir_cache::redis::L2Settings;
use weir_fakes::redis::Redis;

use crate::stage::{Tier, eventually, patient, settings, stage};

/// Beyond what the tests' clock shows.
const PURGE: u64 = 50_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_during_an_outage_raises_the_floor_to_its_stamp() {
    let (mut redis, tier) = stage().await;
    tier.keep("a", "one").await;
    redis.kill();
    tier.is_away().await;
    tier.pages.delete(&[b"a", b"b"], PURGE);
    eventually(async || tier.l2.trust_floor() == PURGE).await;
    assert_eq!(tier.l2.counters().purges_undelivered.get(), 2);
    tier.pages.purge_all(PURGE + 1);
    eventually(async || tier.l2.trust_floor() == PURGE + 1).await;
    redis.start_again();
    tier.is_up().await;
    tier.keep("a", "new").await;
    assert_eq!(tier.l2.trust_floor(), PURGE + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_was_on_its_way_when_redis_died_raises_the_floor() {
    let redis = Redis::start();
    let tier = Tier::start(patient(&redis));
    tier.is_ready().await;
    tier.keep("a", "one").await;
    redis.freeze();
    tier.pages.delete(&[b"a"], PURGE);
    eventually(async || tier.l2.queue_bytes() == 0).await;
    assert!(tier.l2.trust_floor() < PURGE);
    drop(redis);
    eventually(async || tier.l2.trust_floor() == PURGE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_without_an_answer_in_time_raises_the_floor() {
    let redis = Redis::start();
    let tier = Tier::start(L2Settings {
        command_timeout: Duration::from_millis(100),
        ..settings(&redis)
    });
    tier.is_ready().await;
    redis.freeze();
    tier.pages.delete(&[b"a"], PURGE);
    eventually(async || tier.l2.trust_floor() == PURGE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_failures_raise_the_floor_to_that_moment() {
    let (redis, tier) = stage().await;
    let before = tier.stamp();
    redis.freeze();
    for _ in 0..5 {
        tier.pages.get(b"a").await;
    }
    tier.is_away().await;
    assert!(tier.l2.trust_floor() >= before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_came_back_with_what_it_had_saved_is_not_believed() {
    let (mut redis, tier) = stage().await;
    tier.keep("a", "one").await;
    redis.ask(&[b"SAVE"]).unwrap();
    tier.pages.delete(&[b"a"], tier.stamp());
    tier.misses("a").await;
    let purged = tier.stamp();
    assert_eq!(tier.l2.trust_floor(), 0);
    redis.kill();
    redis.start_again();
    // The deletion was delivered, and Redis forgot it.
    tier.finds("a", "one").await;
    assert!(tier.l2.trust_floor() >= purged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_to_a_redis_that_lived_on_costs_no_trust() {
    let (redis, tier) = stage().await;
    tier.keep("a", "one").await;
    redis
        .ask(&[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"])
        .unwrap();
    eventually(async || tier.l2.counters().connects.get() == 2).await;
    tier.finds("a", "one").await;
    assert_eq!(tier.l2.trust_floor(), 0);
}
