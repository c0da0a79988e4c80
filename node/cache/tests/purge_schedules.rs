//! Three nodes fetch, copy and purge, and what they tell each other comes late, in pieces, or not before a link is made
//! anew: what was purged is never served by a node that was told, and everybody is told in the end.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use weir_cache::{Missed, PurgeLimits, Purges};
use weir_core::cache::UnixMs;
use weir_core::purge::{Fetched, Hardness, Hlc, HlcClock, LogLimits, Scope, StampLimits, Verdict};

const NODES: usize = 3;
const SCHEDULES: u64 = if cfg!(debug_assertions) {
    20_000
} else {
    100_000
};
const STEPS: usize = 24;
const CHECKED_EVERY: usize = 4;
const DRIFT_MAX_MS: u64 = 2_000;
/// So few that nodes fall behind what is kept.
const KEPT_MAX: usize = 3;
/// Copies have one of these tags each, and purges are of one.
const TAGS: u64 = 4;

/// What a node keeps: when its fetch began, by its clock and by how much had been purged then.
#[derive(Clone, Copy)]
struct Copy {
    tag: u64,
    at: Hlc,
    after_purges: usize,
}

struct Node {
    purges: Purges,
    ahead_ms: u64,
    copies: Vec<Copy>,
    /// Fetches that have begun and not ended.
    fetching: Vec<Copy>,
    /// Of the purges of each node, how many are in force here.
    told: [usize; NODES],
}

/// Everything, and in real time.
struct Mesh {
    nodes: Vec<Node>,
    real_ms: u64,
    /// Node, number among those of that node, and tag of each purge in real order.
    made: Vec<(usize, usize, u64)>,
    /// What is on its way on the link from the first to the second.
    under_way: Vec<(usize, usize, Missed)>,
}

impl Mesh {
    fn new(random: &mut fastrand::Rng) -> Self {
        let limits = PurgeLimits {
            stamps: StampLimits {
                tags_max: [2, 64][random.usize(..2)],
                ..StampLimits::default()
            },
            log: LogLimits {
                purges_max: KEPT_MAX,
                ..LogLimits::default()
            },
        };
        let node = |number: usize| Node {
            purges: Purges::new(
                number as u64 + 1,
                HlcClock::new(number as u32, DRIFT_MAX_MS),
                limits,
            ),
            ahead_ms: [0, 30, 1_500][random.usize(..3)],
            copies: Vec::new(),
            fetching: Vec::new(),
            told: [0; NODES],
        };
        let nodes: Vec<Node> = (0..NODES).map(node).collect();
        for node in &nodes {
            (0..NODES).for_each(|peer| node.purges.is_unknown(peer as u32));
        }
        Self {
            nodes,
            real_ms: 1_000_000,
            made: Vec::new(),
            under_way: Vec::new(),
        }
    }

    fn wall(&self, node: usize) -> UnixMs {
        UnixMs(self.real_ms + self.nodes[node].ahead_ms)
    }

    fn step(&mut self, random: &mut fastrand::Rng) {
        self.real_ms += random.u64(..40);
        let (node, other) = (random.usize(..NODES), random.usize(..NODES));
        match random.u8(..8) {
            0 => {
                let copy = Copy {
                    tag: random.u64(..TAGS),
                    at: self.nodes[node].purges.fetch_time(self.wall(node)),
                    after_purges: self.made.len(),
                };
                self.nodes[node].fetching.push(copy);
            }
            1 => {
                let ended = self.nodes[node].fetching.pop();
                self.nodes[node].copies.extend(ended);
            }
            2 => {
                let copies = self.nodes[other].copies.clone();
                self.nodes[node].copies = copies;
            }
            3 => self.purge(node, random),
            4 => self.ask_time(node, other),
            5 => self.send(node, other, random),
            _ if self.under_way.is_empty() => {}
            6 => {
                // The link breaks.
                let lost = random.usize(..self.under_way.len());
                self.under_way.swap_remove(lost);
            }
            _ => {
                let next = random.usize(..self.under_way.len());
                let (from, to, missed) = self.under_way.swap_remove(next);
                self.deliver(from, to, &missed);
            }
        }
    }

    fn purge(&mut self, node: usize, random: &mut fastrand::Rng) {
        let (tag, wall) = (random.u64(..TAGS), self.wall(node));
        let purges = &self.nodes[node].purges;
        let purge = purges.purge(Scope::Tag(tag), Hardness::Hard, wall);
        self.made.push((node, purge.seq as usize, tag));
        self.nodes[node].told[node] = purge.seq as usize;
    }

    fn ask_time(&mut self, node: usize, other: usize) {
        let asked = self.wall(node);
        self.real_ms += 3;
        let now = self.nodes[other].purges.fetch_time(self.wall(other));
        self.real_ms += 3;
        let wall = self.wall(node);
        let _ = self.nodes[node]
            .purges
            .answered(other as u32, asked, now, wall);
    }

    fn send(&mut self, from: usize, to: usize, random: &mut fastrand::Rng) {
        let origin = from as u64 + 1;
        if from != to {
            let seen = self.nodes[to].purges.seen(origin);
            let missed = self.nodes[from]
                .purges
                .missed(origin, seen, random.usize(1..4));
            self.under_way.push((from, to, missed));
        }
    }

    fn deliver(&mut self, from: usize, to: usize, missed: &Missed) {
        let told = self.nodes[to].purges.receive(missed, self.wall(to)) as usize;
        let before = self.nodes[to].told[from];
        self.nodes[to].told[from] = before.max(told);
        assert!(told >= before, "what was told goes back");
    }

    /// Whoever was told serves nothing from before.
    fn check(&self) {
        for node in &self.nodes {
            for copy in &node.copies {
                let stamps = node.purges.stamps();
                let verdict = stamps.verdict(&Fetched {
                    namespace: 1,
                    key: 1,
                    host: 1,
                    path: "/",
                    tags: &[copy.tag],
                    at: copy.at,
                });
                let later = self.made.iter().skip(copy.after_purges);
                let is_purged = later
                    .copied()
                    .any(|(from, seq, tag)| tag == copy.tag && seq <= node.told[from]);
                assert!(!is_purged || verdict >= Verdict::Unsure, "{verdict:?}");
            }
        }
    }

    /// Links last: everybody is told everything.
    fn settle(&mut self, random: &mut fastrand::Rng) {
        for round in 0..100 {
            for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
                self.send(from, to, random);
            }
            for (from, to, missed) in std::mem::take(&mut self.under_way) {
                self.deliver(from, to, &missed);
            }
            let told = self.nodes[0].told;
            let all_know = self.nodes.iter().all(|node| node.told == told);
            if all_know && (0..NODES).all(|from| self.nodes[from].told[from] == told[from]) {
                return;
            }
            assert!(round < 99, "somebody is never told");
        }
    }
}

#[test]
fn whatever_is_late_lost_or_torn_nobody_who_was_told_serves_what_was_purged() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..SCHEDULES {
        let seed = random.u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut mesh = Mesh::new(&mut random);
        for step in 0..STEPS {
            mesh.step(&mut random);
            if step % CHECKED_EVERY == 0 {
                mesh.check();
            }
        }
        mesh.settle(&mut random);
        mesh.check();
    }
}
