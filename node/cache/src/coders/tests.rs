use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use weir_core::cache::{Exchange, Key, Policy, Stored, Target, UnixMs, store};
use weir_core::content_coding::Coding;
use weir_core::proxy::Scheme;
use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, HlcClock};

use super::WAITING_MAX;
use crate::codings::Level;
use crate::{Entry, Found, MemoryLimits, PurgeLimits, Purges, Resource, Store};

const NOW: UnixMs = UnixMs(1_000_000);

fn kept() -> Arc<Store<()>> {
    let limits = MemoryLimits {
        bytes_max: 64 << 20,
        entry_bytes_max: 1 << 20,
    };
    let clock = HlcClock::new(1, DEFAULT_DRIFT_MAX_MS);
    let purges = Purges::new(1, clock, PurgeLimits::default());
    Arc::new(Store::new(limits, 4, purges))
}

fn stored() -> Stored {
    let mut response = HeaderMap::new();
    response.insert("cache-control", "max-age=60".parse().unwrap());
    let exchange = Exchange {
        method: &Method::GET,
        path_and_query: "/",
        request: &HeaderMap::new(),
        status: StatusCode::OK,
        response: &response,
        requested_at: NOW,
        responded_at: NOW,
    };
    store(&exchange, &Policy::default()).unwrap()
}

fn insert(store: &Store<()>, path: &str, body: &[u8]) -> Arc<Entry> {
    let key = Key::of(&Target {
        namespace: "n",
        scheme: Scheme::Http,
        authority: "a",
        path_and_query: path,
    });
    let resource = Resource::new(key.unwrap(), "n", "a", path);
    let body = Box::new([Bytes::copy_from_slice(body)]);
    let at = store.fetch_time(NOW);
    let entry = Arc::new(Entry::new(resource, stored(), at, Box::default(), body));
    assert!(store.insert(&entry, NOW));
    entry
}

fn find(store: &Store<()>, entry: &Entry) -> Option<Arc<Entry>> {
    match store.find(entry.resource.key.as_str(), &HeaderMap::new(), NOW) {
        Found::Entry(entry, _) => Some(entry),
        _ => None,
    }
}

const LEVEL: Level = Level::new(6);

#[tokio::test]
async fn a_form_is_made_once_and_counts_among_what_is_kept() {
    let store = kept();
    let entry = insert(&store, "/", &b"weir ".repeat(10_000));
    let before = store.bytes();
    let making = store.begin_coding(&entry, Coding::Gzip, LEVEL).unwrap();
    assert!(store.begin_coding(&entry, Coding::Gzip, LEVEL).is_none());
    let form = making.await.unwrap();
    let found = find(&store, &entry).unwrap();
    assert_eq!(found.coded(Coding::Gzip), Some(&form));
    assert!(store.begin_coding(&found, Coding::Gzip, LEVEL).is_none());
    assert!(store.bytes() >= before + form.body.unwrap().len() as u64);
}

#[tokio::test]
async fn what_does_not_get_smaller_is_tried_once() {
    let store = kept();
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
        .take(5_000)
        .collect();
    let entry = insert(&store, "/", &noise);
    let making = store.begin_coding(&entry, Coding::Brotli, LEVEL).unwrap();
    assert_eq!(making.await.unwrap().body, None);
    let found = find(&store, &entry).unwrap();
    assert_eq!(found.coded(Coding::Brotli).unwrap().body, None);
    assert!(store.begin_coding(&found, Coding::Brotli, LEVEL).is_none());
}

#[tokio::test]
async fn a_form_goes_with_its_entry_and_comes_to_none_that_took_its_place() {
    let store = kept();
    let entry = insert(&store, "/", &b"weir ".repeat(10_000));
    let making = store.begin_coding(&entry, Coding::Zstd, LEVEL).unwrap();
    insert(&store, "/", &b"other ".repeat(10_000));
    making.await.unwrap();
    assert!(find(&store, &entry).unwrap().coded(Coding::Zstd).is_none());
    let making = store.begin_coding(&entry, Coding::Gzip, LEVEL).unwrap();
    store.remove(entry.resource.key.as_str());
    making.await.unwrap();
    assert!(find(&store, &entry).is_none());
}

#[tokio::test]
async fn a_renewed_entry_keeps_its_forms_and_gets_those_under_way() {
    let store = kept();
    let entry = insert(&store, "/", &b"weir ".repeat(10_000));
    let making = store.begin_coding(&entry, Coding::Brotli, LEVEL).unwrap();
    let gzip = store.begin_coding(&entry, Coding::Gzip, LEVEL).unwrap();
    let renewed = Arc::new(entry.renewed(stored(), store.fetch_time(NOW), Box::default()));
    assert!(store.insert(&renewed, NOW));
    assert!(
        store
            .begin_coding(&renewed, Coding::Brotli, LEVEL)
            .is_none()
    );
    making.await.unwrap();
    gzip.await.unwrap();
    let renewed =
        find(&store, &entry)
            .unwrap()
            .renewed(stored(), store.fetch_time(NOW), Box::default());
    assert!(renewed.coded(Coding::Brotli).is_some() && renewed.coded(Coding::Gzip).is_some());
}

#[tokio::test]
async fn few_wait_and_who_is_sent_away_may_come_again() {
    let store = kept();
    let text = b"weir ".repeat(1_000);
    let entries: Vec<_> = (0..=WAITING_MAX)
        .map(|number| insert(&store, &format!("/{number}"), &text))
        .collect();
    let begin = |entry| store.begin_coding(entry, Coding::Gzip, LEVEL);
    let mut waiting: Vec<_> = entries[..WAITING_MAX].iter().filter_map(begin).collect();
    assert_eq!(waiting.len(), WAITING_MAX);
    assert!(begin(&entries[WAITING_MAX]).is_none());
    waiting.pop().unwrap().await.unwrap();
    begin(&entries[WAITING_MAX]).unwrap().await.unwrap();
}
