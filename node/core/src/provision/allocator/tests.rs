use std::collections::BTreeSet;

use super::*;

fn vpn(name: &str) -> PoolName {
    PoolName::Vpn(name.into())
}

#[test]
fn after_10_000_reservations_and_failures_nothing_is_reserved() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut ports = Ports::default();
    let pools = [PoolName::Host, vpn("a"), vpn("b")];
    for pool in &pools {
        ports.set_range(pool.clone(), 19_000..=19_019);
    }
    for start in 0..10_000u32 {
        // A start fails at any step, and is released without anybody looking at which.
        let steps = random.usize(0..=3);
        for pool in pools.iter().take(steps) {
            assert!(ports.reserve(pool, start).is_some());
        }
        assert_eq!(ports.release(&start), steps);
    }
    assert_eq!(ports.held(), 0);
    for pool in &pools {
        assert_eq!(ports.pool(pool).map(PortPool::free), Some(20));
    }
}

#[test]
fn all_ports_of_a_range_are_given_once_and_then_none() {
    let mut pool = PortPool::new(65_530..=65_535);
    let ports: Vec<Option<u16>> = (0..7).map(|holder| pool.reserve(holder)).collect();
    let all = (65_530..=65_535).map(Some).chain([None]);
    assert_eq!(ports, all.collect::<Vec<_>>());
    assert_eq!(pool.reserve(3), Some(65_533), "a holder keeps its port");
    assert_eq!(pool.held(), 6);
}

#[test]
fn a_released_port_is_given_last() {
    let mut pool = PortPool::new(10..=13);
    assert_eq!(pool.reserve("a"), Some(10));
    assert_eq!(pool.release(&"a"), Some(10));
    assert_eq!(pool.release(&"a"), None, "released once");
    let ports: Vec<_> = ["b", "c", "d", "e"]
        .into_iter()
        .filter_map(|holder| pool.reserve(holder))
        .collect();
    assert_eq!(ports, [11, 12, 13, 10]);
    // Of an adopted port also.
    pool.release(&"d");
    assert_eq!(pool.adopt("x", 13), Ok(()));
    pool.release(&"c");
    pool.release(&"x");
    assert_eq!(pool.reserve("y"), Some(12));
}

#[test]
fn pools_are_apart_and_a_release_covers_all_of_them() {
    let mut ports = Ports::default();
    ports.set_range(vpn("a"), 100..=101);
    ports.set_range(vpn("b"), 100..=101);
    assert_eq!(ports.reserve(&vpn("a"), 1), Some(100));
    assert_eq!(ports.reserve(&vpn("b"), 1), Some(100));
    assert_eq!(ports.reserve(&PoolName::Host, 1), None);
    assert_eq!(ports.adopt(PoolName::Host, 1, 8_080), Ok(()));
    assert_eq!(ports.held(), 3);
    assert_eq!(ports.release(&1), 3);
    assert_eq!(ports.held(), 0);
    assert_eq!(ports.reserve(&PoolName::Host, 2), None, "no range");
}

#[test]
fn what_runs_is_adopted_and_never_given_to_another() {
    let mut pool = PortPool::new(10..=12);
    assert_eq!(pool.adopt("old", 11), Ok(()));
    assert_eq!(pool.adopt("old", 11), Ok(()));
    let taken = Taken {
        number: 11,
        holder: "old",
    };
    assert_eq!(pool.reserve("new"), Some(10));
    assert_eq!(pool.adopt("new", 11), Err(taken));
    assert_eq!(pool.port_of(&"new"), Some(10), "nothing changed");
    assert_eq!(pool.adopt("new", 12), Ok(()), "10 is free again");
    assert_eq!(pool.reserve("third"), Some(10));
    assert_eq!(pool.reserve("fourth"), None);
    assert_eq!(pool.retain(|holder| *holder == "old"), 2);
    assert_eq!((pool.held(), pool.free()), (1, 2));
}

#[test]
fn a_new_range_leaves_ports_in_use_and_gives_only_its_own() {
    let mut pool = PortPool::new(10..=12);
    assert_eq!(pool.reserve("a"), Some(10));
    assert_eq!(pool.reserve("b"), Some(11));
    pool.set_range(11..=13);
    assert_eq!(pool.port_of(&"a"), Some(10));
    assert_eq!(pool.free(), 2);
    assert_eq!(pool.release(&"a"), Some(10));
    assert_eq!(pool.release(&"b"), Some(11));
    let ports: Vec<_> = (["c", "d", "e", "f"].iter())
        .map(|holder| pool.reserve(holder))
        .collect();
    assert_eq!(ports, [Some(12), Some(13), Some(11), None]);
}

#[test]
fn a_follower_is_offered_every_port_of_the_range_once_but_its_own() {
    for port in [1, 19_000, 49_999, 50_000, 50_001, 59_999, 60_000, 65_535] {
        let offered: Vec<u16> = follower_ports(port).collect();
        let distinct: BTreeSet<u16> = offered.iter().copied().collect();
        assert_eq!(offered.len(), distinct.len(), "{port}");
        let own = usize::from((50_000..60_000).contains(&port));
        assert_eq!(offered.len(), 10_000 - own, "{port}");
        assert!(!distinct.contains(&port), "{port}");
        assert!(distinct.iter().all(|p| (50_000..60_000).contains(p)));
    }
}

#[test]
fn followers_begin_with_different_ports_and_go_on_where_nodes_have_other_ranges() {
    let first = |port| follower_ports(port).next();
    assert_ne!(first(19_000), first(19_001));
    assert_eq!(first(19_000), first(29_000), "so both have to be reserved");
    assert_ne!(follower_ports(19_000).nth(1), first(29_000));
}
