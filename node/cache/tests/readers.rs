//! Readers of what was kept, and what they hold when it is kept no more.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use weir_cache::aside::{PutOrder, PutRefused};
use weir_cache::{
    Entry, EntryReader, Fill, LAZY_AFTER, MemoryLimits, PIECE_BYTES_MAX, PurgeLimits, Purges,
    Refused, Resource, Store,
};
use weir_core::cache::{self, Exchange, Key, Policy, Stored, Target, UnixMs};
use weir_core::proxy::Scheme;
use weir_core::purge::{Hlc, HlcClock};

const MIB: usize = 1 << 20;
const NOW: UnixMs = UnixMs(1_000);
const READERS: usize = 8;

fn store() -> Store<()> {
    let purges = Purges::new(1, HlcClock::new(1, 2_000), PurgeLimits::default());
    let limits = MemoryLimits {
        bytes_max: 16 * MIB as u64,
        entry_bytes_max: MIB as u64,
    };
    Store::new(limits, 1, purges)
}

fn stored() -> Stored {
    let mut response = HeaderMap::new();
    response.insert("cache-control", HeaderValue::from_static("max-age=60"));
    let exchange = Exchange {
        method: &Method::GET,
        path_and_query: "/",
        request: &HeaderMap::new(),
        status: StatusCode::OK,
        response: &response,
        requested_at: NOW,
        responded_at: NOW,
    };
    cache::store(&exchange, &Policy::default()).unwrap()
}

fn entry(number: usize, bytes: usize) -> Arc<Entry> {
    let path = format!("/{number}");
    let target = Target {
        namespace: "",
        scheme: Scheme::Http,
        authority: "test",
        path_and_query: &path,
    };
    let resource = Resource::new(Key::of(&target).unwrap(), "", "test", &path);
    let piece = Bytes::from(vec![7; bytes / 2]);
    Arc::new(Entry::new(
        resource,
        stored(),
        Hlc::new(NOW.0, 0, 0),
        Box::default(),
        Box::new([piece.clone(), piece]),
    ))
}

/// Readers that have begun to read what is kept no more.
fn readers_of_dropped(store: &Store<()>) -> Vec<EntryReader> {
    let begun = (0..READERS).map(|number| {
        let entry = entry(number, MIB);
        assert!(store.insert(&entry, NOW));
        let mut reader = EntryReader::new(entry, &store.fills);
        assert!(reader.next_piece().unwrap().is_some());
        reader
    });
    let begun = begun.collect();
    for number in 0..READERS {
        store.remove(entry(number, 0).resource.key.as_str());
    }
    begun
}

/// Whether there is room for a body that comes.
fn is_kept(store: &Store<()>) -> Result<(), Refused> {
    let mut writer = Fill::begin(
        stored(),
        Hlc::default(),
        None,
        u64::MAX,
        store.fills.clone(),
    );
    writer.push(&[7; 64 << 10])
}

fn read_all(reader: &mut EntryReader) -> usize {
    let pieces = std::iter::from_fn(|| reader.next_piece().unwrap());
    pieces.map(|piece| piece.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_what_is_kept_no_more_is_cut_when_there_is_no_room() {
    let store = store();
    let mut readers = readers_of_dropped(&store);
    let held = store.fills.used_bytes();
    assert!(held > (READERS * MIB) as u64, "{held}");
    assert!(is_kept(&store).is_err(), "there is no room");
    assert!(!store.fills.makes_room(), "nor for what Redis has");
    tokio::time::advance(LAZY_AFTER - Duration::from_millis(1)).await;
    // One of them goes on, and so takes their time.
    assert!(readers[0].next_piece().unwrap().is_some());
    assert!(is_kept(&store).is_err(), "it is too early");
    tokio::time::advance(Duration::from_millis(200)).await;
    is_kept(&store).unwrap();
    assert!(store.fills.makes_room());
    let held = store.fills.used_bytes();
    assert!((MIB as u64..2 * MIB as u64).contains(&held), "{held}");
    for cut in &mut readers[1..] {
        cut.next_piece().unwrap_err();
    }
    assert_eq!(read_all(&mut readers[0]), MIB - 2 * PIECE_BYTES_MAX);
    drop(readers);
    assert_eq!(store.fills.used_bytes(), 0);
}

fn put(store: &Store<()>, name: &str) -> Result<Arc<Entry>, PutRefused> {
    let order = PutOrder {
        resource: Resource::of_value("values", name).unwrap(),
        value: Bytes::from(vec![7; MIB / 2]),
        tags: Vec::new(),
        ttl: Duration::from_secs(60),
        if_version: None,
        if_absent: false,
        lease: None,
    };
    store.put_value(order, "node", None, NOW)
}

#[tokio::test(start_paused = true)]
async fn no_value_is_put_or_taken_from_redis_at_the_cost_of_what_clients_hold_without_room() {
    let store = store();
    let from_redis = put(&store, "from redis").unwrap();
    store.remove(from_redis.resource.key.as_str());
    let readers = readers_of_dropped(&store);
    let bytes_max = store.fills.bytes_max();
    assert_eq!(
        put(&store, "a").unwrap_err(),
        PutRefused::Busy { bytes_max }
    );
    store.take_value(&from_redis, "node", NOW);
    assert_eq!(store.keys(), 0);
    tokio::time::advance(LAZY_AFTER).await;
    put(&store, "a").unwrap();
    store.take_value(&from_redis, "node", NOW);
    assert_eq!(store.keys(), 2, "who took nothing for long was cut");
    drop(readers);
}

#[tokio::test(start_paused = true)]
async fn who_reads_what_is_kept_takes_their_time() {
    let store = store();
    let kept = entry(READERS, MIB);
    assert!(store.insert(&kept, NOW));
    let mut slow = EntryReader::new(kept, &store.fills);
    let readers = readers_of_dropped(&store);
    tokio::time::advance(LAZY_AFTER).await;
    is_kept(&store).unwrap();
    assert_eq!(read_all(&mut slow), MIB);
    drop(readers);
}
