//! Looks at all topics for other nodes, a part at a time.
//!
//! What a node's patterns take, and what it is the replica of, is found by looking at all topics. However often nodes
//! change their patterns or link anew: what came while a pass runs waits for the next one, which is for all of them,
//! and passes take a tenth of the thread at most.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use weir_broadcast::Since;
use weir_core::broadcast::{Pattern, PatternTrie, TopicName};

use super::hub::Hub;

/// Topics that are looked at before other tasks have their turn; a part may have more.
const AT_ONCE: usize = 512;
/// Between two passes at least.
const REST_MIN: Duration = Duration::from_millis(100);
/// And so many times as long as the pass took.
const REST_FACTOR: u32 = 9;

/// What is to be looked at, for which nodes.
#[derive(Debug, Default)]
pub(super) struct Passing {
    owed: BTreeMap<String, Owed>,
    runs: Option<Pass>,
    rests_until: Duration,
}

#[derive(Debug)]
struct Pass {
    part: usize,
    owed: BTreeMap<String, Owed>,
    took: Duration,
}

/// Which topics are looked at for one node.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// All of them.
    pub(super) all: bool,
    patterns: PatternTrie<Change>,
}

/// What happened to a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nobody had it before: what is published from now on.
    Fresh,
    /// It is back with its link, or gone.
    Other,
}

impl Passing {
    /// How many patterns that nobody of a node had before take a topic, of those that it was not yet looked at for.
    pub(super) fn fresh(&self, node: &str, topic: &TopicName) -> usize {
        let runs = self.runs.as_ref().and_then(|pass| pass.owed.get(node));
        let owed = self.owed.get(node).into_iter().chain(runs);
        let changes = owed.flat_map(|owed| owed.patterns.takers(topic));
        changes.filter(|change| *change == Change::Fresh).count()
    }
}

impl Owed {
    pub(super) fn change(&mut self, pattern: &Pattern, change: Change) {
        self.patterns.insert(pattern, change);
    }

    /// From where on a node is to have a topic, if it is to be looked at.
    fn since(&self, topic: &TopicName) -> Option<Since> {
        let changes = self.patterns.takers(topic);
        match self.all || changes.contains(&Change::Other) {
            true => Some(Since::Start),
            false => changes.first().map(|_| Since::Now),
        }
    }
}

impl Hub {
    /// What is to be looked at for a node, by the next pass.
    pub(super) fn owes(&mut self, node: &str) -> &mut Owed {
        self.passing.owed.entry(node.to_owned()).or_default()
    }

    /// When there is something to look at.
    pub(super) fn passes_at(&self) -> Option<Instant> {
        let passing = &self.passing;
        let rested = (!passing.owed.is_empty()).then_some(passing.rests_until);
        let runs = passing.runs.as_ref().map(|_| Duration::ZERO);
        Some(self.began + runs.or(rested)?)
    }

    /// Looks at some more topics.
    pub(super) fn passes(&mut self) {
        let mut pass = self.passing.runs.take().unwrap_or_else(|| Pass {
            part: 0,
            owed: std::mem::take(&mut self.passing.owed),
            took: Duration::ZERO,
        });
        let began = Instant::now();
        let mut looked = 0;
        while looked < AT_ONCE {
            let Some(topics) = self.topics.names_of(pass.part) else {
                let rest = REST_MIN.max((pass.took + began.elapsed()) * REST_FACTOR);
                self.passing.rests_until = self.now() + rest;
                return;
            };
            for topic in &topics {
                for (node, owed) in &pass.owed {
                    if let Some(since) = owed.since(topic) {
                        self.settle(node, topic, since);
                    }
                }
            }
            pass.part += 1;
            looked += topics.len();
        }
        pass.took += began.elapsed();
        self.passing.runs = Some(pass);
    }
}
