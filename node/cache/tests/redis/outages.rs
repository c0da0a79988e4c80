//! Redis dies, freezes, comes late and moves; readers hardly notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use weir_cache::redis::{COMMAND_TIMEOUT, Fetched, L2Settings, L2State};
use weir_fakes::redis::Redis;

use crate::stage::{Tier, eventually, patient, settings, stage};

/// What a busy machine may add to a deadline.
const SLACK: Duration = Duration::from_millis(400);
/// Reads until it is told to stop; how many, and how long the longest took.
async fn load(tier: &Tier, stop: Arc<AtomicBool>) -> (usize, Duration) {
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (pages, stop) = (tier.pages.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut reads, mut longest) = (0, Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let _ = pages.get(b"a").await;
                    longest = longest.max(begun.elapsed());
                    reads += 1;
                    tokio::task::yield_now().await;
                }
                (reads, longest)
            })
        })
        .collect();
    let (mut reads, mut longest) = (0, Duration::ZERO);
    for reader in readers {
        let (more, slowest) = reader.await.unwrap();
        reads += more;
        longest = longest.max(slowest);
    }
    (reads, longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_killed_under_load_costs_no_read_more_than_its_deadline() {
    let (mut redis, tier) = stage().await;
    tier.keep("a", "one").await;
    let stop = Arc::new(AtomicBool::new(false));
    let outage = async {
        eventually(async || tier.l2.counters().hits.get() > 500).await;
        redis.kill();
        tier.is_away().await;
        let before = tier.l2.counters().away.get();
        eventually(async || tier.l2.counters().away.get() > before + 1_000).await;
        redis.start_again();
        tier.is_up().await;
        let misses = tier.l2.counters().misses.get();
        eventually(async || tier.l2.counters().misses.get() > misses + 100).await;
        stop.store(true, Ordering::Relaxed);
    };
    let ((reads, longest), ()) = tokio::join!(load(&tier, Arc::clone(&stop)), outage);
    println!("{reads} reads, the longest took {longest:?}");
    assert!(longest < COMMAND_TIMEOUT + SLACK, "{longest:?}");
    tier.keep("a", "again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_delays_the_first_few_reads_and_then_none() {
    let (redis, tier) = stage().await;
    tier.keep("a", "one").await;
    redis.freeze();
    let mut longest = Duration::ZERO;
    while *tier.l2.state().borrow() == L2State::Up {
        let begun = Instant::now();
        assert_eq!(tier.pages.get(b"a").await, Fetched::Away);
        longest = longest.max(begun.elapsed());
    }
    let delayed = tier.l2.counters().reads_failed.get();
    println!("{delayed} reads were delayed, the longest took {longest:?}");
    assert!((1..=5).contains(&delayed), "{delayed}");
    assert!(longest < COMMAND_TIMEOUT + SLACK, "{longest:?}");
    assert_eq!(tier.l2.counters().opened.get(), 1);
    let why = tier.is_away().await;
    assert!(
        why.contains("in a row: it does not answer in time"),
        "{why}"
    );

    // Probes go on and readers do not see them.
    let counters = tier.l2.counters();
    let probes = || counters.failed_lost.get() + counters.failed_late.get();
    let (before, failed) = (probes(), counters.reads_failed.get());
    let is_probed_twice = async || {
        let away = counters.away.get();
        assert_eq!(tier.pages.get(b"a").await, Fetched::Away);
        assert_eq!(counters.away.get(), away + 1, "nobody was asked");
        probes() > before + 1
    };
    eventually(is_probed_twice).await;
    assert_eq!(counters.reads_failed.get(), failed);
    redis.thaw();
    tier.finds("a", "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_starts_before_its_redis_finds_it() {
    let mut redis = Redis::start();
    redis.kill();
    let tier = Tier::start(settings(&redis));
    let why = tier.is_away().await;
    assert!(
        why.contains(&format!("127.0.0.1:{}", redis.port())),
        "{why}"
    );
    assert_eq!(tier.pages.get(b"a").await, Fetched::Away);
    tier.pages.put(b"a", "one".into(), Duration::from_secs(60));
    assert_eq!(tier.l2.counters().puts_dropped.get(), 1);
    redis.start_again();
    tier.is_ready().await;
    tier.keep("a", "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_was_lost_while_redis_was_away_leaves_no_older_one_behind() {
    let (redis, tier) = stage().await;
    tier.keep("a", "one").await;
    tier.keep("b", "one").await;
    redis.freeze();
    eventually(async || {
        let _ = tier.pages.get(b"a").await;
        *tier.l2.state().borrow() != L2State::Up
    })
    .await;
    let stamp = tier.stamp();
    tier.pages
        .replace(b"a", "two".into(), Duration::from_secs(60), stamp);
    assert_eq!(tier.l2.counters().puts_dropped.get(), 1);
    redis.thaw();
    // Whatever is asked first, the older one is gone by then.
    let mut first = Fetched::Away;
    while first == Fetched::Away {
        first = tier.pages.get(b"a").await;
    }
    assert_eq!(first, Fetched::Miss);
    tier.finds("b", "one").await;
    tier.pages
        .replace(b"a", "three".into(), Duration::from_secs(60), stamp + 1);
    tier.finds("a", "three").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_url_and_other_deadlines_count_at_once() {
    let (old, tier) = stage().await;
    let new = Redis::start();
    tier.keep("a", "old").await;
    tier.l2.configure(patient(&new));
    tier.misses("a").await;
    tier.keep("a", "new").await;
    assert!(tier.l2.trust_floor() > 0, "nobody told it what was purged");
    drop(old);

    let connects = tier.l2.counters().connects.get();
    new.freeze();
    tier.l2.configure(L2Settings {
        command_timeout: Duration::from_millis(1),
        ..patient(&new)
    });
    let is_soon_late = async || {
        let read = tier.pages.get(b"a");
        let ended = tokio::time::timeout(Duration::from_secs(1), read).await;
        ended == Ok(Fetched::Away) && tier.l2.counters().failed_late.get() > 0
    };
    eventually(is_soon_late).await;
    assert_eq!(tier.l2.counters().connects.get(), connects);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tier_ends_with_its_last_handle() {
    let (redis, tier) = stage().await;
    let are_connected = |clients: usize| {
        let told = redis.ask(&[b"INFO", b"clients"]).unwrap();
        let told = String::from_utf8(told).unwrap();
        told.contains(&format!("connected_clients:{clients}\r\n"))
    };
    // One more asks that.
    assert!(are_connected(2 + 1));
    drop(tier);
    eventually(async || are_connected(1)).await;
}
