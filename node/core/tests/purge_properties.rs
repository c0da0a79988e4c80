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
                Verdict::Unsure => prop_assert!(Some(entry.at) <= writer.stamps().floor()),
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

/// What a node holds, and when its fetch began in real time.
#[derive(Clone, Copy)]
struct Copy {
    began_ms: u64,
    at: Hlc,
}

const DRIFT_MAX_MS: u64 = 2_000;

struct Node {
    /// How far its wall clock is ahead of real time.
    ahead_ms: u64,
    clock: HlcClock,
    skew: Skew,
    copies: Vec<Copy>,
    writer: StampWriter,
}

impl Node {
    fn new(number: usize, ahead_ms: u64, nodes: usize) -> Self {
        let mut skew = Skew::new(DRIFT_MAX_MS);
        (0..nodes).for_each(|peer| skew.unknown(peer as u32));
        Self {
            ahead_ms,
            clock: HlcClock::new(number as u32, DRIFT_MAX_MS),
            skew,
            copies: Vec::new(),
            writer: StampWriter::new(StampLimits::default()),
        }
    }

    fn fetch(&mut self, real_ms: u64) {
        self.copies.push(Copy {
            began_ms: real_ms,
            at: self.clock.now(real_ms + self.ahead_ms),
        });
    }

    fn purge(&mut self, real_ms: u64) -> Purge {
        let wall = real_ms + self.ahead_ms;
        let purge = Purge {
            scope: Scope::Key(1),
            hardness: Hardness::Hard,
            at: self.skew.purge_stamp(self.clock.now(wall), wall),
            origin: 1,
            seq: 1,
        };
        self.writer.merge(&purge);
        purge
    }

    fn receive(&mut self, purge: Purge, real_ms: u64) {
        let purge = purge.clamped(real_ms + self.ahead_ms, DRIFT_MAX_MS);
        self.writer.merge(&purge);
    }
}

/// Nodes fetch one key, copy it from each other and purge it; each purge comes to the others at once or later, in any
/// order.
fn simulate(offsets: &[u64], steps: &[(u64, u32, u32)]) {
    let count = offsets.len();
    let mut nodes: Vec<Node> = (0..count)
        .map(|node| Node::new(node, offsets[node], count))
        .collect();
    let mut last_purge_ms = 0;
    let mut under_way: Vec<(usize, Purge)> = Vec::new();
    let mut real_ms = 10_000;
    for (wait, what, which) in steps {
        real_ms += wait;
        let (node, other) = (*which as usize % count, (*which >> 8) as usize % count);
        match what % 8 {
            0..3 => nodes[node].fetch(real_ms),
            3 => {
                let taken = nodes[other].copies.clone();
                nodes[node].copies.extend(taken);
            }
            4 => {
                let asked_ms = real_ms + offsets[node];
                real_ms += u64::from(what >> 8) % 50;
                let now = nodes[other].clock.now(real_ms + offsets[other]);
                let _ = nodes[node].clock.observe(now, real_ms + offsets[node]);
                nodes[node].skew.answered(other as u32, asked_ms, now);
            }
            5 => {
                last_purge_ms = real_ms;
                let purge = nodes[node].purge(real_ms);
                under_way.extend((0..count).map(|to| (to, purge.clone())));
            }
            _ if under_way.is_empty() => {}
            _ => {
                let (to, purge) = under_way.swap_remove(*what as usize % under_way.len());
                nodes[to].receive(purge, real_ms);
            }
        }
    }
    for (to, purge) in under_way {
        nodes[to].receive(purge, real_ms);
    }
    nodes.iter().for_each(|node| check(node, last_purge_ms));
}

fn check(node: &Node, last_purge_ms: u64) {
    for copy in &node.copies {
        let fetched = Fetched {
            namespace: 1,
            key: 1,
            host: 1,
            path: "/",
            tags: &[],
            at: copy.at,
        };
        let verdict = node.writer.stamps().verdict(&fetched);
        let is_old = last_purge_ms >= copy.began_ms;
        assert!(!is_old || verdict == Verdict::Gone, "{verdict:?}");
    }
}
