//! Purges against any order, any repetition, any eviction, and clocks that differ.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use weir_core::purge::{
    Fetched, Hardness, Hlc, HlcClock, Purge, Scope, Skew, StampLimits, StampWriter, Verdict,
};

const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/b"];

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        (0..40_u64).prop_map(Scope::Key),
        (0..40_u64).prop_map(Scope::Tag),
        (0..3_u64).prop_map(Scope::Host),
        (0..2_u64).prop_map(Scope::All),
        (0..3_u64, 0..PATHS.len()).prop_map(|(host, path)| Scope::Prefix {
            host,
            path: PATHS[path].into(),
        }),
    ]
}

fn purge() -> impl Strategy<Value = Purge> {
    let hardness = prop_oneof![Just(Hardness::Soft), Just(Hardness::Hard)];
    (scope(), hardness, 1..50_u64, 0..3_u16, 0..3_u32).prop_map(
        |(scope, hardness, ms, counter, node)| Purge {
            scope,
            hardness,
            at: Hlc::new(ms, counter, node),
            origin: u64::from(node),
            seq: 1,
        },
    )
}

#[derive(Clone, Debug)]
struct Entry {
    namespace: u64,
    key: u64,
    host: u64,
    path: usize,
    tags: Vec<u64>,
    at: Hlc,
}

impl Entry {
    fn fetched(&self) -> Fetched<'_> {
        Fetched {
            namespace: self.namespace,
            key: self.key,
            host: self.host,
            path: PATHS[self.path],
            tags: &self.tags,
            at: self.at,
        }
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let tags = proptest::collection::vec(0..40_u64, 0..4);
    (
        0..2_u64,
        0..40_u64,
        0..3_u64,
        0..PATHS.len(),
        tags,
        0..60_u64,
    )
        .prop_map(|(namespace, key, host, path, tags, ms)| Entry {
            namespace,
            key,
            host,
            path,
            tags,
            at: Hlc::new(ms, 1, 5),
        })
}

/// What purges say, from all of them.
fn model(purges: &[Purge], entry: &Entry) -> Verdict {
    let is_of = |scope: &Scope| match scope {
        Scope::Key(key) => *key == entry.key,
        Scope::Tag(tag) => entry.tags.contains(tag),
        Scope::Host(host) => *host == entry.host,
        Scope::All(namespace) => *namespace == entry.namespace,
        Scope::Prefix { host, path } => {
            *host == entry.host && PATHS[entry.path].starts_with(&**path)
        }
    };
    let of = purges.iter().filter(|purge| is_of(&purge.scope));
    of.filter(|purge| purge.at.time() >= entry.at.time())
        .map(|purge| match purge.hardness {
            Hardness::Soft => Verdict::Stale,
            Hardness::Hard => Verdict::Gone,
        })
        .max()
        .unwrap_or(Verdict::Valid)
}

fn merged(purges: &[Purge], limits: StampLimits) -> StampWriter {
    let mut writer = StampWriter::new(limits);
    for purge in purges {
        writer.merge(purge);
    }
    writer
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_repetition_of_purges_comes_to_the_same(
        (purges, shuffled) in proptest::collection::vec(purge(), 0..40)
            .prop_flat_map(|purges| {
                let twice = [purges.clone(), purges.clone()].concat();
                (Just(purges), Just(twice).prop_shuffle())
            }),
        entries in proptest::collection::vec(entry(), 1..20),
    ) {
        let (once, twice) = (merged(&purges, StampLimits::default()), merged(&shuffled, StampLimits::default()));
        for entry in &entries {
            let verdict = once.stamps().verdict(&entry.fetched());
            prop_assert_eq!(verdict, model(&purges, entry));
            prop_assert_eq!(twice.stamps().verdict(&entry.fetched()), verdict);
        }
    }

    #[test]
    fn what_is_forgotten_is_never_taken_for_valid(
        purges in proptest::collection::vec(purge(), 0..80),
        entries in proptest::collection::vec(entry(), 1..20),
    ) {
        let limits = StampLimits { keys_max: 6, tags_max: 6, wide_max: 2 };
        let writer = merged(&purges, limits);
        let newest = purges.iter().map(|purge| purge.at.time()).max().unwrap_or(0);
        for entry in &entries {
            let (verdict, exact) = (writer.stamps().verdict(&entry.fetched()), model(&purges, entry));
            match verdict {
                Verdict::Unsure => prop_assert!(entry.at <= writer.stamps().floor()),
                _ => prop_assert_eq!(verdict, exact),
            }
            prop_assert!(entry.at.time() <= newest || verdict == Verdict::Valid);
        }
    }

    #[test]
    fn a_purge_beats_every_fetch_that_began_before_it_however_clocks_differ(
        offsets in proptest::collection::vec(0..1_500_u64, 2..5),
        steps in proptest::collection::vec((0..400_u64, any::<u32>(), any::<u32>()), 1..60),
    ) {
        simulate(&offsets, &steps);
    }
}

/// What a node does, and when it began in real time.
struct Copy {
    began_ms: u64,
    at: Hlc,
}

/// Nodes whose wall clocks are ahead of real time by `offsets`. They fetch one key, copy it from each other and purge it;
/// each purge comes to the others at once or later, in any order.
fn simulate(offsets: &[u64], steps: &[(u64, u32, u32)]) {
    let nodes = offsets.len();
    let clocks: Vec<HlcClock> = (0..nodes)
        .map(|node| HlcClock::new(node as u32, 2_000))
        .collect();
    let mut skews = vec![Skew::new(2_000); nodes];
    for skew in &mut skews {
        (0..nodes).for_each(|peer| skew.unknown(peer as u32));
    }
    let mut copies: Vec<Vec<Copy>> = (0..nodes).map(|_| Vec::new()).collect();
    let mut writers: Vec<_> = (0..nodes)
        .map(|_| StampWriter::new(StampLimits::default()))
        .collect();
    let mut purges: Vec<(u64, Purge)> = Vec::new();
    let mut under_way: Vec<(usize, Purge)> = Vec::new();
    let mut real_ms = 10_000;
    for (wait, what, which) in steps {
        real_ms += wait;
        let (node, other) = (*which as usize % nodes, (*which >> 8) as usize % nodes);
        let wall = |node: usize, real_ms: u64| real_ms + offsets[node];
        match what % 8 {
            0..3 => copies[node].push(Copy {
                began_ms: real_ms,
                at: clocks[node].now(wall(node, real_ms)),
            }),
            3 => {
                let taken: Vec<_> = copies[other].iter().map(|copy| Copy { ..*copy }).collect();
                copies[node].extend(taken);
            }
            4 => {
                let asked = wall(node, real_ms);
                real_ms += u64::from(what >> 8) % 50;
                let now = clocks[other].now(wall(other, real_ms));
                let _ = clocks[node].observe(now, wall(node, real_ms));
                skews[node].answered(other as u32, asked, now);
            }
            5 => {
                let wall = wall(node, real_ms);
                let at = skews[node].purge_stamp(clocks[node].now(wall), wall);
                let purge = Purge {
                    scope: Scope::Key(1),
                    hardness: Hardness::Hard,
                    at,
                    origin: 1,
                    seq: 1,
                };
                purges.push((real_ms, purge.clone()));
                writers[node].merge(&purge);
                under_way.extend((0..nodes).map(|to| (to, purge.clone())));
            }
            _ if under_way.is_empty() => {}
            _ => {
                let (to, purge) = under_way.swap_remove(*what as usize % under_way.len());
                writers[to].merge(&purge.clamped(wall(to, real_ms), 2_000));
            }
        }
    }
    for (to, purge) in under_way {
        writers[to].merge(&purge.clamped(real_ms + offsets[to], 2_000));
    }
    for (writer, copies) in writers.iter().zip(&copies) {
        for copy in copies {
            let fetched = Fetched {
                namespace: 1,
                key: 1,
                host: 1,
                path: "/",
                tags: &[],
                at: copy.at,
            };
            let verdict = writer.stamps().verdict(&fetched);
            let is_old = purges
                .iter()
                .any(|(purged_ms, _)| *purged_ms >= copy.began_ms);
            assert!(!is_old || verdict == Verdict::Gone, "{verdict:?}");
        }
    }
}
