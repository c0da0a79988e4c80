use std::time::Duration;

use super::super::*;

fn nodes(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("node-{i}")).collect()
}

#[test]
fn every_version_names_the_same_owner() {
    let nodes = nodes(5);
    let owners: Vec<&str> = ["vpn-1", "vpn-2", "gluetun", "tv"]
        .iter()
        .map(|vpn| owner(vpn, &nodes).unwrap().as_str())
        .collect();
    assert_eq!(owners, ["node-3", "node-3", "node-3", "node-2"]);
    assert_eq!(owner::<&str>("vpn-1", &[]), None);
}

#[test]
fn the_order_of_candidates_does_not_matter_and_the_owner_is_first() {
    let nodes = nodes(7);
    let mut reversed = nodes.clone();
    reversed.reverse();
    for vpn in ["a", "b", "c"] {
        assert_eq!(ranking(vpn, &nodes), ranking(vpn, &reversed));
        assert_eq!(owner(vpn, &nodes), Some(ranking(vpn, &reversed)[0]));
    }
}

#[test]
fn a_node_that_leaves_moves_only_what_it_asked() {
    let all = nodes(5);
    let mut asked = [0; 5];
    for i in 0..1_000 {
        let vpn = format!("vpn-{i}");
        let ranked = ranking(&vpn, &all);
        asked[all.iter().position(|node| node == ranked[0]).unwrap()] += 1;
        let without_owner: Vec<&String> = all.iter().filter(|node| *node != ranked[0]).collect();
        assert_eq!(owner(&vpn, &without_owner), Some(&ranked[1]));
        let without_last: Vec<&String> = all.iter().filter(|node| *node != ranked[4]).collect();
        assert_eq!(owner(&vpn, &without_last), Some(&ranked[0]));
    }
    assert!(
        asked.iter().all(|count| (130..270).contains(count)),
        "{asked:?}"
    );
}

#[test]
fn the_next_node_asks_within_one_interval_of_health_or_within_3_s_where_that_is_shorter() {
    let at = |ms: u64| {
        let interval = Duration::from_millis(ms);
        (interval, silence_max(interval) + NOTICED_WITHIN)
    };
    for ms in [3_000, 3_500, 4_000, 5_000, 60_000] {
        let (interval, moved) = at(ms);
        assert!(moved <= interval, "{interval:?}: {moved:?}");
    }
    for ms in [0, 200, 1_000, 2_999] {
        let (interval, moved) = at(ms);
        assert_eq!(moved, Duration::from_secs(3), "{interval:?}");
    }
}
