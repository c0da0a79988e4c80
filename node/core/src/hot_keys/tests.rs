use super::*;

fn mirror(bytes_max: u64) -> Mirror<&'static str> {
    Mirror::new(MirrorLimits {
        bytes_max,
        mirrored_max: 8,
        watched_max: 4,
        hot_per_second: 20,
    })
}

/// Asks for keys with so many requests a second each, for a second from `from_ms` on.
fn second(mirror: &mut Mirror<&'static str>, from_ms: u64, rates: &[(&'static str, u64)]) -> u64 {
    for tick in 0..1_000 {
        for (key, rate) in rates {
            if tick % (1_000 / rate) == 0 {
                mirror.asked(key, from_ms + tick);
            }
        }
    }
    from_ms + 1_000
}

fn kept(evicted: &[&'static str]) -> Promotion<&'static str> {
    Promotion::Mirror {
        evicted: evicted.to_vec(),
    }
}

#[test]
fn the_mirror_is_an_eighth_of_the_first_tier() {
    assert_eq!(MirrorLimits::of_l1(2 << 30).bytes_max, 256 << 20);
}

#[test]
fn twenty_requests_a_second_are_hot_and_ten_are_not() {
    let mut mirror = mirror(100);
    let now = second(&mut mirror, 0, &[("hot", 25), ("warm", 10)]);
    assert_eq!(mirror.offer(&"warm", 10, now), Promotion::Pass);
    assert_eq!(mirror.offer(&"hot", 10, now), kept(&[]));
    assert_eq!(mirror.offer(&"warm", 10, now), Promotion::Pass);
    assert_eq!(mirror.offer(&"never asked for", 10, now), Promotion::Pass);
    assert!(mirror.has(&"hot") && mirror.bytes() == 10);
}

#[test]
fn as_hot_as_the_coldest_is_hot_enough() {
    let mut mirror = mirror(100);
    let now = second(&mut mirror, 0, &[("a", 25)]);
    assert_eq!(mirror.offer(&"a", 10, now), kept(&[]));
    // It cools down to less than ten a second.
    let now = second(&mut mirror, now + 10_000, &[("b", 10)]);
    assert_eq!(mirror.offer(&"b", 10, now), kept(&[]));
}

#[test]
fn the_coldest_leave_for_the_hotter_and_never_the_other_way() {
    let mut mirror = mirror(30);
    let rates = [("a", 25), ("b", 50), ("c", 100), ("d", 40)];
    let now = second(&mut mirror, 0, &rates);
    for key in ["a", "b", "c"] {
        assert_eq!(mirror.offer(&key, 10, now), kept(&[]));
    }
    assert_eq!(mirror.offer(&"d", 20, now), Promotion::Pass);
    assert_eq!(mirror.offer(&"d", 10, now), kept(&["a"]));
    assert_eq!((mirror.bytes(), mirror.has(&"a")), (30, false));
    assert_eq!(mirror.offer(&"d", 31, now), Promotion::Pass);
    assert_eq!((mirror.bytes(), mirror.has(&"d")), (20, false));
}

#[test]
fn a_new_version_takes_the_place_of_the_old_one() {
    let mut mirror = mirror(30);
    let now = second(&mut mirror, 0, &[("a", 50), ("b", 25)]);
    mirror.offer(&"a", 10, now);
    mirror.offer(&"b", 10, now);
    assert_eq!(mirror.offer(&"a", 20, now), kept(&[]));
    assert_eq!(mirror.bytes(), 30);
    assert_eq!(mirror.offer(&"a", 25, now + 1), kept(&["b"]));
    mirror.remove(&"a");
    assert_eq!(mirror.bytes(), 0);
}

#[test]
fn the_number_of_mirrored_keys_is_bounded_too() {
    let mut mirror = Mirror::new(MirrorLimits {
        watched_max: 64,
        mirrored_max: 8,
        ..MirrorLimits::of_l1(1 << 30)
    });
    for n in 0..20 {
        (0..300).for_each(|tick| mirror.asked(&n, tick * 10));
    }
    let kept = (0..20)
        .filter(|n| mirror.offer(n, 1, 3_000) != Promotion::Pass)
        .count();
    assert_eq!((kept, mirror.bytes()), (20, 8));
}

#[test]
fn a_flood_of_new_keys_forgets_the_cold_and_keeps_what_is_warm() {
    let mut mirror = Mirror::new(MirrorLimits {
        watched_max: 16,
        ..MirrorLimits::of_l1(1 << 20)
    });
    for n in 0..5_000 {
        mirror.asked(&(1_000 + n * 7 % 5_003), n);
        if n % 10 == 0 {
            mirror.asked(&5, n);
        }
    }
    assert_eq!(
        mirror.offer(&5, 1, 5_000),
        Promotion::Mirror { evicted: vec![] }
    );
}

fn view(epoch: u64, nodes: &[&str]) -> View {
    View {
        epoch,
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
    }
}

#[test]
fn every_node_places_a_key_alike_and_keys_spread() {
    let (one, other) = (
        Owners::new(view(1, &["a", "b", "c"])),
        Owners::new(view(1, &["c", "a", "b"])),
    );
    let mut counts = std::collections::BTreeMap::new();
    for n in 0..3_000 {
        let key = format!("key-{n}");
        let place = one.place(&key, &[], 0).unwrap();
        assert_eq!(Some(place), other.place(&key, &[], 0));
        assert!(!place.is_second && place.previous.is_none());
        *counts.entry(place.node).or_insert(0) += 1;
    }
    assert!(
        counts.values().all(|count| (850..1_150).contains(count)),
        "{counts:?}"
    );
    assert_eq!(Owners::new(view(1, &[])).place("key", &[], 0), None);
}

#[test]
fn the_previous_owner_is_told_for_a_minute_of_keys_that_moved() {
    let mut owners = Owners::new(view(1, &["a", "b"]));
    let before: Vec<String> = (0..500)
        .map(|n| {
            owners
                .place(&n.to_string(), &[], 0)
                .unwrap()
                .node
                .to_owned()
        })
        .collect();
    owners.change(view(2, &["a", "b", "c"]), 1_000);
    owners.change(view(2, &["z"]), 2_000);
    owners.change(view(1, &["z"]), 2_000);
    let mut moved = 0;
    for (n, before) in before.iter().enumerate() {
        let place = owners.place(&n.to_string(), &[], 60_999).unwrap();
        let expected = (place.node != before).then_some(before.as_str());
        assert_eq!(place.previous, expected);
        moved += usize::from(expected.is_some());
        assert_eq!(
            owners.place(&n.to_string(), &[], 61_000).unwrap().previous,
            None
        );
    }
    assert!((100..230).contains(&moved), "{moved}");
}

#[test]
fn a_node_that_left_is_nobodys_previous_owner() {
    let mut owners = Owners::new(view(1, &["a", "b"]));
    owners.change(view(2, &["b"]), 0);
    assert!((0..100).all(|n| {
        owners
            .place(&n.to_string(), &[], 1)
            .unwrap()
            .previous
            .is_none()
    }));
}

#[test]
fn an_overloaded_owner_gives_work_to_the_second() {
    let owners = Owners::new(view(1, &["a", "b", "c"]));
    let first = owners.place("key", &[], 0).unwrap().node;
    let others: Vec<&str> = ["a", "b", "c"]
        .into_iter()
        .filter(|node| *node != first)
        .collect();
    let place = |of_first, of_others| {
        let load = |node, in_flight| NodeLoad { node, in_flight };
        let loads = [
            load(first, of_first),
            load(others[0], of_others),
            load(others[1], of_others),
            load("gone", 9_000),
        ];
        owners.place("key", &loads, 0).unwrap()
    };
    // The mean of 125 and twice 87.5 is 100.
    assert!(!place(250, 175).is_second);
    assert!(place(251, 174).is_second);
    assert_ne!(place(251, 174).node, first);
    assert!(!place(15, 0).is_second);
    assert!(place(u64::MAX, 0).is_second);
    let unknown = [NodeLoad {
        node: first,
        in_flight: 900,
    }];
    assert!(!owners.place("key", &unknown, 0).unwrap().is_second);
}
