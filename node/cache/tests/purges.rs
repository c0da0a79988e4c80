//! A purge beats every fetch that began before it.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use weir_cache::{Entry, Found, MemoryLimits, PurgeLimits, Purges, Resource, Store};
use weir_core::cache::{self, Exchange, Key, Policy, Target, UnixMs};
use weir_core::proxy::Scheme;
use weir_core::purge::{
    DEFAULT_DRIFT_MAX_MS, Hardness, Hlc, HlcClock, LogLimits, Scope, Verdict, namespace_id, tag_id,
};

const NAMESPACE: &str = "web";
const HOST: &str = "WWW.example.";
const PATH: &str = "/blog/a?page=2";
const NOW: UnixMs = UnixMs(1_000_000);

fn purges(origin: u64, limits: PurgeLimits) -> Purges {
    let clock = HlcClock::new(origin as u32, DEFAULT_DRIFT_MAX_MS);
    Purges::new(origin, clock, limits)
}

fn store() -> Store<()> {
    let limits = MemoryLimits {
        bytes_max: 64 << 20,
        entry_bytes_max: 1 << 20,
    };
    Store::new(limits, 2, purges(1, PurgeLimits::default()))
}

fn resource() -> Resource {
    let target = Target {
        namespace: NAMESPACE,
        scheme: Scheme::Http,
        authority: HOST,
        path_and_query: PATH,
    };
    Resource::new(Key::of(&target).unwrap(), NAMESPACE, HOST, PATH)
}

/// A response that is fresh for a minute, with a body that tells the origin's version.
fn entry(fetched_at: Hlc, version: u64) -> Arc<Entry> {
    let mut response = HeaderMap::new();
    response.insert("cache-control", HeaderValue::from_static("max-age=60"));
    let exchange = Exchange {
        method: &Method::GET,
        path_and_query: PATH,
        request: &HeaderMap::new(),
        status: StatusCode::OK,
        response: &response,
        requested_at: NOW,
        responded_at: NOW,
    };
    let stored = cache::store(&exchange, &Policy::default()).unwrap();
    let tags = [tag_id(NAMESPACE, "posts"), tag_id(NAMESPACE, "a")];
    let body = [Bytes::copy_from_slice(&version.to_be_bytes())];
    Arc::new(Entry::new(
        resource(),
        stored,
        fetched_at,
        tags.into(),
        body.into(),
    ))
}

fn found(store: &Store<()>) -> Option<(u64, Verdict)> {
    match store.find(resource().key.as_str(), &HeaderMap::new(), NOW) {
        Found::Entry(entry, verdict) => {
            let version = u64::from_be_bytes(entry.body[0][..].try_into().unwrap());
            Some((version, verdict))
        }
        _ => None,
    }
}

fn scopes() -> [Scope; 5] {
    let host = Resource::host_id(NAMESPACE, "www.example:8080");
    [
        Scope::Key(resource().key_id()),
        Scope::Tag(tag_id(NAMESPACE, "a")),
        Scope::Prefix {
            host,
            path: "/blog/".into(),
        },
        Scope::Host(host),
        Scope::All(namespace_id(NAMESPACE)),
    ]
}

/// Every order of: the fetch begins, it ends, somebody asks, a purge.
#[test]
fn on_every_interleaving_a_purge_beats_the_fetch_that_began_before_it() {
    let mut orders = 0;
    for scope in scopes() {
        for order in 0..24_usize {
            let mut left = vec!["begins", "ends", "asks", "purge"];
            let steps: Vec<&str> = [order / 6, order % 6 / 2, order % 2, 0]
                .map(|at| left.remove(at))
                .into();
            let at = |step| steps.iter().position(|found| *found == step).unwrap();
            if at("ends") < at("begins") {
                continue;
            }
            let store = store();
            let mut began = Hlc::ZERO;
            for step in &steps {
                match *step {
                    "begins" => began = store.fetch_time(NOW),
                    "ends" => _ = store.insert(&entry(began, 1), NOW),
                    "asks" => _ = found(&store),
                    _ => _ = store.purges.purge(scope.clone(), Hardness::Hard, NOW),
                }
            }
            let wanted = (at("purge") < at("begins")).then_some((1, Verdict::Valid));
            assert_eq!(found(&store), wanted, "{scope:?} {steps:?}");
            orders += 1;
        }
    }
    assert_eq!(orders, 60);
}

#[test]
fn a_soft_purge_leaves_what_was_fetched_stale_and_a_fetch_makes_it_fresh() {
    for scope in scopes() {
        let store = store();
        store.insert(&entry(store.fetch_time(NOW), 1), NOW);
        store.purges.purge(scope, Hardness::Soft, NOW);
        assert_eq!(found(&store), Some((1, Verdict::Stale)));
        store.insert(&entry(store.fetch_time(NOW), 2), NOW);
        assert_eq!(found(&store), Some((2, Verdict::Valid)));
    }
}

#[test]
fn a_hard_purge_of_a_key_gives_its_memory_back_at_once() {
    let store = store();
    store.insert(&entry(store.fetch_time(NOW), 1), NOW);
    assert!(store.bytes() > 0);
    store.purge_key(&resource(), Hardness::Hard, NOW);
    assert_eq!((store.bytes(), store.keys()), (0, 0));
}

/// The origin's answer changes, then it is purged; nobody who asks after that gets an answer from before.
#[test]
fn no_thread_is_given_an_answer_from_before_a_purge_that_has_returned() {
    const PURGES: u64 = 3_000;
    let store = store();
    let (origin, purged) = (AtomicU64::new(0), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let fetch = || {
        while !is_over.load(Ordering::SeqCst) {
            let began = store.fetch_time(NOW);
            let version = origin.load(Ordering::SeqCst);
            store.insert(&entry(began, version), NOW);
        }
    };
    let hits = AtomicU64::new(0);
    let ask = || {
        while !is_over.load(Ordering::SeqCst) {
            let before = purged.load(Ordering::SeqCst);
            if let Some((version, _)) = found(&store) {
                assert!(version >= before, "{version} after purge {before}");
                hits.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(fetch);
            scope.spawn(ask);
        }
        let scopes = scopes();
        // On a busy machine it may take more of them until somebody gets an answer at all.
        for version in 1..=100 * PURGES {
            origin.store(version, Ordering::SeqCst);
            let scope = scopes[version as usize % scopes.len()].clone();
            store.purges.purge(scope, Hardness::Hard, NOW);
            purged.store(version, Ordering::SeqCst);
            std::thread::yield_now();
            if version >= PURGES && hits.load(Ordering::Relaxed) > 0 {
                break;
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert!(hits.into_inner() > 0, "nobody got an answer");
}

#[test]
fn another_node_takes_what_it_missed_and_tells_how_far_it_is() {
    let (here, there) = (
        purges(1, PurgeLimits::default()),
        purges(2, PurgeLimits::default()),
    );
    let mut last = here.last();
    for scope in scopes() {
        here.purge(scope, Hardness::Hard, NOW);
    }
    assert_eq!(*last.borrow_and_update(), 5);
    let missed = here.missed(0, 0, 3);
    assert_eq!(
        (missed.floor, missed.after, missed.purges.len()),
        (None, 0, 3)
    );
    assert_eq!(there.receive(&missed, NOW), 3);
    // What comes twice changes nothing.
    assert_eq!(there.receive(&missed, NOW), 3);
    let missed = here.missed(1, there.seen(1), 100);
    assert_eq!(there.receive(&missed, NOW), 5);
    assert_eq!(there.counts().received, 5);
    assert_eq!(here.counts().made, [1; 5]);
    assert_eq!(there.stamps().floor(), None);
}

#[test]
fn a_node_that_was_away_too_long_raises_its_floor() {
    let log = LogLimits {
        purges_max: 2,
        ..LogLimits::default()
    };
    let limits = PurgeLimits {
        log,
        ..PurgeLimits::default()
    };
    let (here, there) = (purges(1, limits), purges(2, limits));
    let made: Vec<_> = scopes()
        .into_iter()
        .map(|scope| here.purge(scope, Hardness::Hard, NOW))
        .collect();
    let missed = here.missed(1, 0, 100);
    assert_eq!((missed.floor, missed.after), (Some(made[2].at), 3));
    assert_eq!(there.receive(&missed, NOW), 5);
    assert_eq!(there.stamps().floor().unwrap().time(), made[2].at.time());
    assert_eq!(there.counts().floors, 1);
}

#[test]
fn what_a_node_that_is_gone_purged_can_be_heard_from_another() {
    let [gone, second, third] = [1, 2, 3].map(|origin| purges(origin, PurgeLimits::default()));
    for scope in scopes() {
        gone.purge(scope, Hardness::Hard, NOW);
    }
    third.receive(&gone.missed(1, 0, 2), NOW);
    second.receive(&gone.missed(1, 0, 100), NOW);
    assert_eq!(third.all_seen(), [(1, 2), (3, 0)]);
    let relayed = second.relayed(1, 2, 100).unwrap();
    assert_eq!(
        (relayed.origin, relayed.after, relayed.purges.len()),
        (1, 2, 3)
    );
    assert_eq!(third.receive(&relayed, NOW), 5);
    assert_eq!(second.relayed(1, 5, 100), None);
    assert_eq!(second.relayed(9, 0, 100), None);
    assert_eq!(third.relayed(1, 0, 100).unwrap().purges.len(), 5);
}

#[test]
fn a_floor_from_the_far_future_is_cut_to_what_is_believed() {
    let (here, there) = (
        purges(1, PurgeLimits::default()),
        purges(2, PurgeLimits::default()),
    );
    let mut missed = here.missed(1, 0, 100);
    missed.floor = Some(Hlc::new(u64::MAX, 0, 1));
    there.receive(&missed, NOW);
    let floor_ms = there.stamps().floor().unwrap().unix_ms();
    assert_eq!(floor_ms, NOW.0 + DEFAULT_DRIFT_MAX_MS);
}

/// A purge is stamped as far ahead as clocks may be; the next one of the same may be stamped earlier than that.
#[test]
fn a_request_after_a_purge_joins_no_flight_from_before_it_though_an_earlier_purge_reaches_further()
{
    for scope in scopes() {
        let store = store();
        store.purges.mesh_is_unknown();
        let first = store.purges.purge(scope.clone(), Hardness::Hard, NOW);
        store.purges.mesh_is_known();
        let between = store.since_purges(b"key");
        let second = store.purges.purge(scope.clone(), Hardness::Hard, NOW);
        assert!(second.at < first.at, "{second:?}");
        assert_ne!(store.since_purges(b"key"), between, "{scope:?}");
    }
}
