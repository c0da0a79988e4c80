//! Values that applications put: versions, leases, purges.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_cache::aside::{PutOrder, PutRefused, ValueOrLease, version_of};
use weir_cache::{Entry, MemoryLimits, PurgeLimits, Purges, Resource, Store};
use weir_core::aside::What;
use weir_core::cache::UnixMs;
use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, Hardness, HlcClock, Scope, namespace_id, tag_id};

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const TTL: Duration = Duration::from_secs(60);
const SPACE: &str = "values";

fn store() -> Store<()> {
    let limits = MemoryLimits {
        bytes_max: 64 << 20,
        entry_bytes_max: 2 << 20,
    };
    let clock = HlcClock::new(1, DEFAULT_DRIFT_MAX_MS);
    Store::new(limits, 2, Purges::new(1, clock, PurgeLimits::default()))
}

fn at(ms: u64) -> UnixMs {
    UnixMs(NOW.0 + ms)
}

fn resource() -> Resource {
    Resource::of_value(SPACE, "user/7").unwrap()
}

fn order(value: &'static str) -> PutOrder {
    PutOrder {
        resource: resource(),
        value: Bytes::from_static(value.as_bytes()),
        tags: vec!["users".to_owned()],
        ttl: TTL,
        if_version: None,
        if_absent: false,
        lease: None,
    }
}

fn put(store: &Store<()>, order: PutOrder, now: UnixMs) -> Result<Arc<Entry>, PutRefused> {
    store.put_value(order, "a", None, now)
}

fn found(store: &Store<()>, now: UnixMs) -> Option<Bytes> {
    let entry = store.value_in_memory(&resource(), "a", now)?;
    Some(entry.body.concat().into())
}

/// A lease that begins now.
fn lease(store: &Store<()>, now: UnixMs) -> String {
    match store.value_or_lease(&resource(), "a", now, now.after(TTL)) {
        ValueOrLease::Lease(began) => format!("{:x}-{:x}", began.time(), began.node()),
        other => panic!("no lease but {other:?}"),
    }
}

#[test]
fn a_version_is_put_over_only_by_whoever_knows_it() {
    let store = store();
    let first = put(&store, order("one"), NOW).unwrap();
    let is = version_of(&first).to_owned();
    let absent = PutOrder {
        if_absent: true,
        ..order("two")
    };
    let refused = put(&store, absent.clone(), at(1)).unwrap_err();
    assert_eq!(refused, PutRefused::Present { is: is.clone() });
    let known = |version: &str| PutOrder {
        if_version: Some(version.to_owned()),
        ..order("two")
    };
    let refused = put(&store, known("0-0"), at(1)).unwrap_err();
    assert_eq!(refused, PutRefused::OtherVersion { is: is.clone() });
    let second = put(&store, known(&is), at(1)).unwrap();
    assert_ne!(version_of(&second), is);
    assert_eq!(found(&store, at(2)).unwrap(), "two");
    assert!(put(&store, known(&is), at(2)).is_err());
    let ended = at(2).after(TTL);
    let refused = put(&store, known(&is), ended).unwrap_err();
    assert_eq!(refused, PutRefused::Absent);
    put(&store, absent, ended).unwrap();
}

#[test]
fn a_purge_beats_a_put_whose_load_began_before_it() {
    for scope in [
        Scope::Key(resource().key_id()),
        Scope::Tag(tag_id(SPACE, "users")),
        Scope::All(namespace_id(SPACE)),
        Scope::Prefix {
            host: Resource::host_of_values(SPACE),
            path: "user/".into(),
        },
    ] {
        let store = store();
        put(&store, order("old"), NOW).unwrap();
        store.purges.purge(scope.clone(), Hardness::Hard, at(1));
        assert_eq!(found(&store, at(2)), None, "{scope:?}");
        let loaded_before = lease(&store, at(10_000));
        store
            .purges
            .purge(scope.clone(), Hardness::Hard, at(10_001));
        let late = PutOrder {
            lease: Some(loaded_before),
            ..order("late")
        };
        let refused = put(&store, late, at(20_000)).unwrap_err();
        assert_eq!(refused, PutRefused::Purged, "{scope:?}");
        assert_eq!(found(&store, at(20_000)), None);
        put(&store, order("new"), at(20_001)).unwrap();
        assert_eq!(found(&store, at(20_002)).unwrap(), "new");
    }
}

#[test]
fn whoever_asks_for_a_lease_gets_the_value_that_was_put_meanwhile() {
    let store = store();
    put(&store, order("put"), NOW).unwrap();
    let asked = store.value_or_lease(&resource(), "a", at(1), at(2));
    assert!(matches!(asked, ValueOrLease::Value(entry) if entry.body.concat() == b"put"));
    lease(&store, NOW.after(TTL));
}

#[test]
fn a_loader_neither_outlives_its_lease_nor_overwrites_what_was_put_since() {
    let store = store();
    let slow = lease(&store, NOW);
    let with = |lease: &str| PutOrder {
        lease: Some(lease.to_owned()),
        ..order("loaded")
    };
    let held = store.value_or_lease(&resource(), "a", at(1), at(2));
    assert!(matches!(held, ValueOrLease::Held(ends) if ends == NOW.after(TTL)));
    let late = put(&store, with(&slow), NOW.after(TTL)).unwrap_err();
    assert_eq!(late, PutRefused::LeaseEnded);
    let next = lease(&store, NOW.after(TTL));
    let now = NOW.after(TTL).after(Duration::from_millis(5));
    let newer = put(&store, order("newer"), now).unwrap();
    let is = version_of(&newer).to_owned();
    assert_eq!(
        put(&store, with(&next), now).unwrap_err(),
        PutRefused::Overtaken { is }
    );
    assert_eq!(found(&store, now).unwrap(), "newer");
    assert_eq!(
        put(&store, with("nonsense"), now).unwrap_err(),
        PutRefused::LeaseEnded
    );
}

#[test]
fn a_touch_lengthens_a_life_and_changes_no_version() {
    let store = store();
    let before = put(&store, order("one"), NOW).unwrap();
    let touch = |ttl, version, now| store.touch_value(&resource(), (ttl, version), "a", None, now);
    assert!(touch(TTL, Some("0-0"), at(1)).is_err());
    let touched = touch(2 * TTL, Some(version_of(&before)), at(1)).unwrap();
    assert_eq!(version_of(&touched), version_of(&before));
    assert_eq!(found(&store, NOW.after(TTL)).unwrap(), "one");
    assert_eq!(found(&store, at(1).after(2 * TTL)), None);
    let gone = touch(TTL, None, at(1).after(2 * TTL)).unwrap_err();
    assert_eq!(gone, PutRefused::Absent);
}

#[test]
fn what_happens_is_told_in_order_and_an_end_once() {
    let store = store();
    let _watcher = store.values.changes.watcher().unwrap();
    put(&store, order("one"), NOW).unwrap();
    store
        .touch_value(&resource(), (2 * TTL, None), "a", None, at(1))
        .unwrap();
    store.expire_values(NOW.after(TTL));
    store.expire_values(at(1).after(2 * TTL));
    store.expire_values(at(2).after(2 * TTL));
    let told = store.values.changes.after(0, 10).unwrap();
    let told: Vec<_> = told.iter().map(|change| change.what.clone()).collect();
    assert_eq!(told, [What::Put, What::Touched, What::Expired]);
}

#[test]
fn a_key_that_is_put_all_the_time_costs_one_place_and_nobody_is_told_of_a_gap() {
    let store = store();
    let watcher = store.values.changes.watcher().unwrap();
    for number in 0..66_000 {
        put(&store, order("hot"), at(number)).unwrap();
    }
    assert!(!store.values.changes.misses_ends());
    let last = *store.values.changes.last().borrow();
    assert_eq!(last, 66_000);
    // Whoever comes later does not hear of what ended while nobody watched.
    drop(watcher);
    store.expire_values(at(66_000));
    let _watcher = store.values.changes.watcher().unwrap();
    store.expire_values(at(66_000).after(TTL));
    assert_eq!(*store.values.changes.last().borrow(), last);
}

#[test]
fn watchers_are_bounded() {
    let store = store();
    let changes = &store.values.changes;
    let places: Vec<_> = (0..256).map(|_| changes.watcher().unwrap()).collect();
    assert!(changes.watcher().is_err());
    drop(places);
    assert!(changes.watcher().is_ok());
}

#[test]
fn values_count_as_everything_else_in_memory_does() {
    let store = store();
    let before = store.bytes();
    let value = PutOrder {
        value: vec![7; 500_000].into(),
        ..order("")
    };
    put(&store, value, NOW).unwrap();
    assert!(store.bytes() >= before + 500_000);
    let limits = MemoryLimits {
        bytes_max: 1 << 20,
        entry_bytes_max: 1 << 17,
    };
    store.configure(limits);
    assert!(store.bytes() <= 1 << 20);
    let value = PutOrder {
        value: vec![7; 500_000].into(),
        ..order("")
    };
    let refused = put(&store, value, at(1)).unwrap_err();
    assert!(
        matches!(
            refused,
            PutRefused::TooLarge {
                bytes_max: 131_072,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_value_is_kept_in_blocks_and_keeps_nothing_else_of_what_it_came_in() {
    let came = Bytes::from(vec![7; 1 << 20]);
    let value = came.slice(..150_000);
    let entry = put(
        &store(),
        PutOrder {
            value: value.clone(),
            ..order("")
        },
        NOW,
    );
    let entry = entry.unwrap();
    let lengths: Vec<usize> = entry.body.iter().map(Bytes::len).collect();
    assert_eq!(
        lengths,
        [56 << 10, 56 << 10, 32 << 10, 150_000 - (144 << 10)]
    );
    let of_came = came.as_ptr_range();
    let is_part = |piece: &&Bytes| of_came.contains(&piece.as_ptr());
    assert_eq!(entry.body.iter().find(is_part), None);
}
