//! Whatever is edited: an offer's hash changes if, and only if, what it says changes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_core::tuning::{Layer, merge};

use crate::offers::{Shelf, group, revision};
use crate::support::labels;
use weir_control_plane::profiles::Revision;

const PATHS: [&str; 4] = [
    "ingress.headers_max",
    "upstream.idle_max",
    "balancer.health_rise",
    "balancer.health_fall",
];

type Set = BTreeMap<usize, u8>;

fn edit() -> impl Strategy<Value = (usize, Set, u32, u64)> {
    let set = prop::collection::btree_map(0..PATHS.len(), 1..4_u8, 0..3);
    (0..7_usize, set, 0..3_u32, 1..4_u64)
}

fn made_of(kind: usize, set: &Set, priority: u32, until: u64) -> Revision {
    let texts: Vec<(&str, String)> = set
        .iter()
        .map(|(path, value)| (PATHS[*path], value.to_string()))
        .collect();
    let set: Vec<(&str, &str)> = texts
        .iter()
        .map(|(path, value)| (*path, &**value))
        .collect();
    let mut made = match kind {
        0 => revision("fleet", &set),
        1 => group("a", &[("zone", "eu")], priority, &set),
        2 => group("b", &[("kind", "edge")], priority, &set),
        3 => group("c", &[("zone", "us")], priority, &set),
        4 => revision("node/n", &set),
        5 => revision("override", &set),
        _ => revision("override/n", &set),
    };
    if made.scope.is_override() && !made.settings.is_empty() {
        made.until_unix_ms = until;
    }
    made
}

/// What the node `n` is to have, by another way than the one tested.
fn content(layers: &BTreeMap<String, Revision>, now: u64) -> Vec<String> {
    let holds = |revision: &&Revision| {
        let is_ours = revision.scope.to_string() != "group/c";
        is_ours && (!revision.scope.is_override() || revision.until_unix_ms > now)
    };
    let mut content = Vec::new();
    for is_override in [false, true] {
        let part = layers.values().filter(holds);
        let part: Vec<&Revision> = part
            .filter(|revision| revision.scope.is_override() == is_override)
            .collect();
        let layers: Vec<Layer<'_>> = part
            .iter()
            .map(|revision| Layer {
                scope: &revision.scope,
                revision: 1,
                priority: revision.priority(),
                profile: &revision.settings.known,
            })
            .collect();
        for (path, given) in merge(&layers).iter() {
            let giver = part.iter().find(|revision| revision.scope == given.scope);
            let until = giver.unwrap().until_unix_ms;
            content.push(format!(
                "{is_override} {path}={} until {until}",
                given.value
            ));
        }
    }
    content
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_hash_of_an_offer_changes_with_its_content_and_only_then(
        edits in prop::collection::vec((edit(), prop::bool::weighted(0.2)), 1..25)
    ) {
        let node = labels(&[("zone", "eu"), ("kind", "edge")]);
        let mut shelf = Shelf::new();
        let mut layers: BTreeMap<String, Revision> = BTreeMap::new();
        let mut seen: BTreeMap<Vec<String>, [u8; 16]> = BTreeMap::new();
        let mut now = 0;
        for ((kind, set, priority, until), passes) in edits {
            now += u64::from(passes);
            shelf.book.expire(now);
            let made = made_of(kind, &set, priority, until);
            shelf.put(&made);
            layers.insert(made.scope.to_string(), made);
            let offer = shelf.book.snapshot().offer_for("n", &node);
            let content = content(&layers, now);
            if let Some(hash) = seen.insert(content.clone(), offer.hash) {
                prop_assert_eq!(hash, offer.hash, "equal content, another hash: {:?}", content);
            }
            let different: std::collections::BTreeSet<[u8; 16]> = seen.values().copied().collect();
            prop_assert_eq!(different.len(), seen.len(), "other content, equal hash");
        }
    }
}
