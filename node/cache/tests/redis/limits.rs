//! Nothing is larger, longer or more than it may be.

use std::time::Duration;

use bytes::Bytes;
use weir_cache::redis::{Fetched, L2Settings, QUEUE_BYTES_MAX, READS_MAX, VALUE_BYTES_MAX};
use weir_fakes::redis::Redis;

use crate::stage::{LONG, Tier, eventually, hit, patient, settings, stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_too_large_is_neither_written_nor_read() {
    let (redis, tier) = stage().await;
    let counters = tier.l2.counters();
    tier.pages
        .put(b"a", vec![1; VALUE_BYTES_MAX + 1].into(), LONG);
    tier.pages.put(b"a", Bytes::new(), LONG);
    tier.pages.put(b"a", "one".into(), Duration::ZERO);
    assert_eq!(counters.puts_refused.get(), 3);

    let generation = redis.ask(&[b"GET", b"weir:pages:gen"]).unwrap();
    let generation: u64 = String::from_utf8(generation).unwrap().parse().unwrap();
    let key = format!("weir:pages:{generation:x}:a");
    let huge = vec![1; 20 * VALUE_BYTES_MAX];
    redis.ask(&[b"SET", key.as_bytes(), &huge]).unwrap();
    assert_eq!(tier.pages.get(b"a").await, Fetched::Miss);
    assert_eq!(counters.reads_refused.get(), 1);
    let sent = String::from_utf8(redis.ask(&[b"INFO", b"stats"]).unwrap()).unwrap();
    let sent = sent
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    let sent: usize = sent.unwrap().parse().unwrap();
    assert!(sent < 2 * VALUE_BYTES_MAX, "{sent} bytes were sent for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_is_no_value_and_no_reason_to_give_up() {
    let (redis, tier) = stage().await;
    let generation = redis.ask(&[b"GET", b"weir:pages:gen"]).unwrap();
    let generation: u64 = String::from_utf8(generation).unwrap().parse().unwrap();
    let key = format!("weir:pages:{generation:x}:list");
    redis.ask(&[b"RPUSH", key.as_bytes(), b"x"]).unwrap();
    for _ in 0..20 {
        assert_eq!(tier.pages.get(b"list").await, Fetched::Away);
    }
    tier.keep("a", "one").await;
    assert_eq!(tier.l2.counters().opened.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_queue_is_full_the_oldest_values_go() {
    const VALUES: usize = 100;
    const VALUE_BYTES: usize = 64 << 10;
    let redis = Redis::start();
    let tier = Tier::start(patient(&redis));
    tier.is_ready().await;
    redis.freeze();
    for number in 0..VALUES {
        let key = format!("{number:03}");
        tier.pages
            .put(key.as_bytes(), vec![1; VALUE_BYTES].into(), LONG);
        assert!(tier.l2.queue_bytes() <= QUEUE_BYTES_MAX);
    }
    redis.thaw();
    eventually(async || tier.l2.queue_bytes() == 0).await;
    let last = format!("{:03}", VALUES - 1);
    eventually(async || matches!(tier.pages.get(last.as_bytes()).await, Fetched::Hit(_))).await;

    let mut found = Vec::new();
    for number in 0..VALUES {
        let key = format!("{number:03}");
        if tier.pages.get(key.as_bytes()).await != Fetched::Miss {
            found.push(number);
        }
    }
    let counters = tier.l2.counters();
    assert_eq!(counters.puts.get(), found.len() as u64);
    assert_eq!(counters.puts_dropped.get(), (VALUES - found.len()) as u64);
    let newest = QUEUE_BYTES_MAX / (VALUE_BYTES + 1024);
    assert!(
        (VALUES - newest..VALUES).all(|number| found.contains(&number)),
        "{found:?}"
    );
    assert!(found.len() < VALUES - 20, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_from_a_full_queue_leaves_no_older_value_behind() {
    let redis = Redis::start();
    let tier = Tier::start(patient(&redis));
    tier.is_ready().await;
    tier.keep("a", "one").await;
    redis.freeze();
    for number in 0..100 {
        // The first batch is on its way to Redis, so it is what comes next that goes.
        if number == 20 {
            tier.pages.replace(b"a", "two".into(), LONG, 1);
        }
        let key = format!("{number:03}");
        let value = vec![1; 64 << 10];
        tier.pages.put(key.as_bytes(), value.into(), LONG);
    }
    redis.thaw();
    eventually(async || tier.l2.queue_bytes() == 0).await;
    tier.misses("a").await;
    assert!(tier.l2.counters().puts_dropped.get() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_beyond_the_bound_ask_nobody() {
    let redis = Redis::start();
    let tier = Tier::start(patient(&redis));
    tier.is_ready().await;
    tier.keep("a", "one").await;
    redis.freeze();
    let more = 50;
    let reads: Vec<_> = (0..READS_MAX + more)
        .map(|_| {
            let pages = tier.pages.clone();
            tokio::spawn(async move { pages.get(b"a").await })
        })
        .collect();
    eventually(async || tier.l2.counters().busy.get() == more as u64).await;
    redis.thaw();
    let mut hits = 0;
    for read in reads {
        hits += usize::from(read.await.unwrap() == hit("one"));
    }
    assert_eq!(hits, READS_MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_never_taken_for_the_next_one() {
    let redis = Redis::start();
    let tier = Tier::start(L2Settings {
        command_timeout: Duration::from_millis(300),
        ..settings(&redis)
    });
    tier.is_ready().await;
    tier.keep("a", "one").await;
    tier.keep("b", "two").await;
    for _ in 0..3 {
        redis.freeze();
        assert_eq!(tier.pages.get(b"a").await, Fetched::Away);
        redis.thaw();
        for _ in 0..50 {
            assert_eq!(tier.pages.get(b"b").await, hit("two"));
            assert_eq!(tier.pages.get(b"a").await, hit("one"));
            assert_eq!(tier.pages.get(b"c").await, Fetched::Miss);
        }
    }
    assert!(tier.l2.counters().failed_late.get() >= 3);
    assert_eq!(
        tier.l2.counters().connects.get(),
        1,
        "all on one connection"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_while_redis_has_as_much_as_it_may() {
    let redis = Redis::start();
    let tier = Tier::start(patient(&redis));
    tier.is_ready().await;
    tier.keep("a", "one").await;
    let bounded = |bytes_max| L2Settings {
        bytes_max,
        ..patient(&redis)
    };
    tier.l2.configure(bounded(1));
    let counters = tier.l2.counters();
    eventually(async || {
        tier.pages.put(b"b", "two".into(), LONG);
        counters.puts_dropped.get() > 0
    })
    .await;
    // What was written until then may have been the same.
    tier.pages.put(b"c", "three".into(), LONG);
    tier.finds("a", "one").await;
    tier.misses("c").await;
    // Of what is put over another one nothing older stays.
    tier.pages.replace(b"a", "newer".into(), LONG, 1);
    tier.misses("a").await;
    tier.l2.configure(bounded(1 << 40));
    eventually(async || {
        tier.pages.put(b"c", "three".into(), LONG);
        tier.pages.get(b"c").await == hit("three")
    })
    .await;
}
