//! Responses of one key for different requests.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use weir_cache::{Entry, Found, MemoryLimits, PurgeLimits, Purges, Resource, Store};
use weir_core::cache::{self, Exchange, Key, Policy, Target, UnixMs};
use weir_core::proxy::Scheme;
use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, Hlc, HlcClock};

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn store() -> Store<()> {
    let clock = HlcClock::new(1, DEFAULT_DRIFT_MAX_MS);
    let limits = MemoryLimits {
        bytes_max: 1 << 20,
        entry_bytes_max: 1 << 16,
    };
    Store::new(limits, 1, Purges::new(1, clock, PurgeLimits::default()))
}

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let line = |(name, value): &(&'static str, &'static str)| {
        (name.parse().unwrap(), value.parse().unwrap())
    };
    lines.iter().map(line).collect()
}

const A: (&str, &str) = ("a", "1");
const B: (&str, &str) = ("b", "1");
const OTHER_B: (&str, &str) = ("b", "2");

/// The response to a request with these fields, fetched that much later.
fn entry(
    vary: &'static str,
    request: &[(&'static str, &'static str)],
    later_ms: u64,
) -> Arc<Entry> {
    let target = Target {
        namespace: "web",
        scheme: Scheme::Http,
        authority: "a.example",
        path_and_query: "/",
    };
    let response = fields(&[("cache-control", "max-age=600"), ("vary", vary)]);
    let exchange = Exchange {
        method: &Method::GET,
        path_and_query: "/",
        request: &fields(request),
        status: StatusCode::OK,
        response: &response,
        requested_at: NOW,
        responded_at: NOW,
    };
    let stored = cache::store(&exchange, &Policy::default()).unwrap();
    let resource = Resource::new(Key::of(&target).unwrap(), "web", "a.example", "/");
    let at = Hlc::new(NOW.0 + later_ms, 0, 1);
    let body = [Bytes::from_static(vary.as_bytes())].into();
    Arc::new(Entry::new(resource, stored, at, Box::default(), body))
}

/// The `Vary` of what answers.
fn answer(store: &Store<()>, request: &[(&'static str, &'static str)]) -> Option<Bytes> {
    let key = "web\nhttp://a.example/";
    match store.find(key, &fields(request), NOW) {
        Found::Entry(entry, _) => Some(entry.body[0].clone()),
        _ => None,
    }
}

/// Into which memory the first entry goes and the second: that of copies, or the node's own.
const ORDERS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

fn insert(store: &Store<()>, entry: &Arc<Entry>, is_mirrored: bool) {
    match is_mirrored {
        true => store.insert_mirrored(entry, NOW),
        false => store.insert(entry, NOW),
    };
}

#[test]
fn once_answers_depend_on_more_those_from_before_answer_nobody() {
    for is_mirrored in ORDERS {
        let store = store();
        insert(&store, &entry("a", &[A, B], 0), is_mirrored[0]);
        assert_eq!(answer(&store, &[A, OTHER_B]).unwrap(), "a");
        insert(&store, &entry("a, b", &[A, B], 1), is_mirrored[1]);
        assert_eq!(answer(&store, &[A, B]).unwrap(), "a, b");
        assert_eq!(answer(&store, &[A, OTHER_B]), None, "{is_mirrored:?}");
    }
}

#[test]
fn an_answer_that_was_fetched_before_does_not_come_back_beside_one_that_depends_on_more() {
    for is_mirrored in ORDERS {
        let store = store();
        insert(&store, &entry("a, b", &[A, B], 1), is_mirrored[0]);
        insert(&store, &entry("a", &[A, B], 0), is_mirrored[1]);
        assert_eq!(answer(&store, &[A, OTHER_B]), None, "{is_mirrored:?}");
        assert_eq!(answer(&store, &[A, B]).unwrap(), "a, b");
    }
}

#[test]
fn variants_that_depend_on_the_same_or_on_more_stay() {
    let store = store();
    store.insert(&entry("a, b", &[A, B], 0), NOW);
    store.insert(&entry("a, b", &[A, OTHER_B], 1), NOW);
    assert_eq!(answer(&store, &[A, B]).unwrap(), "a, b");
    store.insert(&entry("b", &[OTHER_B], 2), NOW);
    assert_eq!(answer(&store, &[A, B]).unwrap(), "a, b");
    assert_eq!(answer(&store, &[OTHER_B]).unwrap(), "b");
}
