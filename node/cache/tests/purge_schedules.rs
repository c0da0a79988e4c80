//! Three nodes fetch, copy and purge, and what they tell each other comes late, in pieces, or not before a link is made
//! anew: what was purged is never served by a node that was told, and everybody is told in the end.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use weir_cache::{Missed, PurgeLimits, Purges};
use weir_core::cache::UnixMs;
use weir_core::purge::{Fetched, Hardness, Hlc, HlcClock, LogLimits, Scope, StampLimits, Verdict};

const NODES: usize = 3;
/// How many schedules are tried unless told otherwise.
const SCHEDULES: u64 = if cfg!(debug_assertions) {
    20_000
} else {
    100_000
};
/// Says how many, for a long run.
const SCHEDULES_FROM: &str = "WEIR_PURGE_SCHEDULES";
/// Says with which seed they begin.
const SEED_FROM: &str = "WEIR_PURGE_SEED";
const STEPS: usize = 24;
const CHECKED_EVERY: usize = 4;
const DRIFT_MAX_MS: u64 = 2_000;
/// So few that nodes fall behind what is kept.
const KEPT_MAX: usize = 3;
/// Copies are of one of these keys, each of which has a tag that one other has too.
const KEYS: u64 = 8;
const TAGS: u64 = KEYS / 2;
/// What the paths of keys begin with, by turns.
const SECTIONS: [&str; 2] = ["/a/", "/b/"];
const HOST: u64 = 7;
const NAMESPACE: u64 = 1;

/// What a node keeps: when its fetch began, by its clock and by how much had been purged then.
#[derive(Clone, Copy)]
struct Copy {
    key: u64,
    at: Hlc,
    after_purges: usize,
}

/// What a purge is of, apart from how nodes tell it.
#[derive(Clone, Copy)]
enum Of {
    Key(u64),
    Tag(u64),
    Section(usize),
    Host,
    All,
}

impl Of {
    fn any(random: &mut fastrand::Rng) -> Self {
        match random.u8(..16) {
            0..6 => Self::Key(random.u64(..KEYS)),
            6..12 => Self::Tag(random.u64(..TAGS)),
            12 | 13 => Self::Section(random.usize(..SECTIONS.len())),
            14 => Self::Host,
            _ => Self::All,
        }
    }

    fn concerns(self, key: u64) -> bool {
        match self {
            Self::Key(of) => of == key,
            Self::Tag(of) => of == key % TAGS,
            Self::Section(of) => of == section(key),
            Self::Host | Self::All => true,
        }
    }

    fn scope(self) -> Scope {
        match self {
            Self::Key(key) => Scope::Key(key),
            Self::Tag(tag) => Scope::Tag(tag),
            Self::Section(of) => Scope::Prefix {
                host: HOST,
                path: SECTIONS[of].into(),
            },
            Self::Host => Scope::Host(HOST),
            Self::All => Scope::All(NAMESPACE),
        }
    }
}

fn section(key: u64) -> usize {
    key as usize % SECTIONS.len()
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
    /// Of its schedule, for whoever reads that one failed.
    seed: u64,
    nodes: Vec<Node>,
    real_ms: u64,
    /// Node, number among those of that node, and what it is of: each purge in real order.
    made: Vec<(usize, usize, Of)>,
    /// What is on its way on the link from the first to the second.
    under_way: Vec<(usize, usize, Missed)>,
}

impl Mesh {
    fn new(seed: u64, random: &mut fastrand::Rng) -> Self {
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
            seed,
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
                    key: random.u64(..KEYS),
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
        let (of, wall) = (Of::any(random), self.wall(node));
        let purges = &self.nodes[node].purges;
        let purge = purges.purge(of.scope(), Hardness::Hard, wall);
        self.made.push((node, purge.seq as usize, of));
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
        assert!(
            told >= before,
            "seed {}: what was told goes back",
            self.seed
        );
    }

    /// Whoever was told serves nothing from before.
    fn check(&self) {
        for node in &self.nodes {
            for copy in &node.copies {
                let stamps = node.purges.stamps();
                let verdict = stamps.verdict(&Fetched {
                    namespace: NAMESPACE,
                    key: copy.key,
                    host: HOST,
                    path: SECTIONS[section(copy.key)],
                    tags: &[copy.key % TAGS],
                    at: copy.at,
                });
                let later = self.made.iter().skip(copy.after_purges);
                let is_purged = later
                    .copied()
                    .any(|(from, seq, of)| of.concerns(copy.key) && seq <= node.told[from]);
                let is_held_back = !is_purged || verdict >= Verdict::Unsure;
                assert!(is_held_back, "seed {}: {verdict:?}", self.seed);
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
            assert!(round < 99, "seed {}: somebody is never told", self.seed);
        }
    }
}

#[test]
fn whatever_is_late_lost_or_torn_nobody_who_was_told_serves_what_was_purged() {
    let told = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let schedules = told(SCHEDULES_FROM).unwrap_or(SCHEDULES);
    let mut random = fastrand::Rng::with_seed(told(SEED_FROM).unwrap_or(11));
    for _ in 0..schedules {
        let seed = random.u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut mesh = Mesh::new(seed, &mut random);
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
