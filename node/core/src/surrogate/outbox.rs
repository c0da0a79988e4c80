//! Purges that a CDN has not taken yet.

use std::collections::{BTreeMap, BTreeSet};

use super::{CdnPurge, CdnScope};
use crate::purge::Hardness;

/// Purges that wait for one CDN. Beyond that everything is purged instead: stricter, and never too little.
pub const WAITING_MAX: usize = 100_000;
/// Purges that become requests together.
const TOGETHER_MAX: usize = 1_000;

/// Purges that a CDN has not taken yet, in the order in which they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    waiting: BTreeMap<u64, Waiting>,
    /// Those of `waiting` that no request carries: asked for again, they are the same.
    known: BTreeMap<CdnPurge, u64>,
    under_way: BTreeSet<u64>,
    last: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting {
    purge: CdnPurge,
    since_ms: u64,
    /// The mesh itself has it in force: a CDN that asks again gets nothing old.
    is_ready: bool,
}

/// What adding a purge did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its number.
    pub number: u64,
    /// Numbers that it made superfluous.
    pub replaced: Vec<u64>,
    /// What is purged in fact: everything, when too much waits.
    pub purge: CdnPurge,
}

impl Outbox {
    /// Adds a purge. One that waits already and is not under way is the same.
    pub fn add(&mut self, purge: CdnPurge, now_ms: u64) -> Added {
        if let Some(number) = self.known.get(&purge) {
            let (number, replaced) = (*number, Vec::new());
            // What is sent for both must come after the newer one is in force in the mesh.
            if let Some(waiting) = self.waiting.get_mut(&number) {
                waiting.is_ready = false;
            }
            return Added {
                number,
                replaced,
                purge,
            };
        }
        let (mut purge, mut replaced) = (purge, Vec::new());
        if self.known.len() >= WAITING_MAX {
            replaced = std::mem::take(&mut self.known).into_values().collect();
            self.waiting
                .retain(|number, _| self.under_way.contains(number));
            purge = CdnPurge {
                scope: CdnScope::All,
                hardness: Hardness::Hard,
            };
        }
        let number = self.last + 1;
        self.insert(number, purge.clone(), now_ms);
        Added {
            number,
            replaced,
            purge,
        }
    }

    /// Puts back what was added in an earlier life. The mesh has had it in force since.
    pub fn restore(&mut self, number: u64, purge: CdnPurge, now_ms: u64) {
        self.insert(number, purge, now_ms);
        self.ready(number);
    }

    fn insert(&mut self, number: u64, purge: CdnPurge, since_ms: u64) {
        self.last = self.last.max(number);
        self.known.insert(purge.clone(), number);
        let is_ready = false;
        let waiting = Waiting {
            purge,
            since_ms,
            is_ready,
        };
        self.waiting.insert(number, waiting);
    }

    /// The mesh has this one in force.
    pub fn ready(&mut self, number: u64) {
        if let Some(waiting) = self.waiting.get_mut(&number) {
            waiting.is_ready = true;
        }
    }

    /// What can be sent now; it is under way from here on.
    pub fn take(&mut self) -> Vec<(u64, CdnPurge)> {
        let can_go = |(number, waiting): &(&u64, &Waiting)| {
            waiting.is_ready && !self.under_way.contains(number)
        };
        let going = self.waiting.iter().filter(can_go).take(TOGETHER_MAX);
        let going: Vec<_> = going
            .map(|(number, waiting)| (*number, waiting.purge.clone()))
            .collect();
        for (number, purge) in &going {
            self.under_way.insert(*number);
            self.known.remove(purge);
        }
        going
    }

    /// These will not be sent any more, because they were taken or never will be.
    pub fn done(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.under_way.remove(number);
            self.waiting.remove(number);
        }
    }

    /// These were not taken and are to be sent again.
    pub fn again(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.under_way.remove(number);
            let Some(waiting) = self.waiting.get(number) else {
                continue;
            };
            // It may have been asked for once more meanwhile; then one of both is enough.
            if self.known.contains_key(&waiting.purge) {
                continue;
            }
            self.known.insert(waiting.purge.clone(), *number);
        }
    }

    /// Purges that wait, those under way included.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How long the oldest has waited, in milliseconds.
    pub fn oldest_ms(&self, now_ms: u64) -> u64 {
        let oldest = self.waiting.values().map(|waiting| waiting.since_ms).min();
        oldest.map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag(tag: &str) -> CdnPurge {
        CdnPurge {
            scope: CdnScope::Tag(tag.to_owned()),
            hardness: Hardness::Hard,
        }
    }

    #[test]
    fn nothing_goes_before_the_mesh_has_it_in_force() {
        let mut outbox = Outbox::default();
        let first = outbox.add(tag("a"), 5).number;
        assert_eq!(outbox.take(), []);
        outbox.ready(first);
        // Asked for again: the older one must wait for the newer one's turn.
        assert_eq!(outbox.add(tag("a"), 6).number, first);
        assert_eq!(outbox.take(), []);
        outbox.ready(first);
        assert_eq!(outbox.take(), [(first, tag("a"))]);
        assert_eq!(outbox.take(), []);
        assert_eq!(outbox.oldest_ms(15), 10);
        // What is asked for while a request is under way is another one.
        let second = outbox.add(tag("a"), 7).number;
        assert_ne!(second, first);
        outbox.done(&[first]);
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn what_failed_goes_again_and_what_was_restored_goes_at_once() {
        let mut outbox = Outbox::default();
        outbox.restore(7, tag("a"), 0);
        assert_eq!(outbox.take(), [(7, tag("a"))]);
        outbox.again(&[7]);
        assert_eq!(outbox.take(), [(7, tag("a"))]);
        outbox.done(&[7]);
        assert!(outbox.is_empty());
        assert_eq!(outbox.add(tag("b"), 0).number, 8);
    }

    #[test]
    fn too_much_becomes_a_purge_of_everything() {
        let mut outbox = Outbox::default();
        for number in 0..WAITING_MAX {
            outbox.add(tag(&number.to_string()), 0);
        }
        let added = outbox.add(tag("one more"), 0);
        assert_eq!(added.purge.scope, CdnScope::All);
        assert_eq!(added.replaced.len(), WAITING_MAX);
        assert_eq!(outbox.len(), 1);
    }

    proptest! {
        /// Whatever fails and however often, each purge is carried by a request that began after it was ready.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0_u8..5, 0_u8..6), 1..200)) {
            let mut outbox = Outbox::default();
            let mut owed: BTreeSet<CdnPurge> = BTreeSet::new();
            let mut under_way: Vec<(u64, CdnPurge)> = Vec::new();
            for (step, which) in steps {
                match step {
                    0 | 1 => {
                        let purge = tag(&which.to_string());
                        let number = outbox.add(purge.clone(), 0).number;
                        outbox.ready(number);
                        owed.insert(purge);
                    }
                    2 => {
                        for (number, purge) in outbox.take() {
                            owed.remove(&purge);
                            under_way.push((number, purge));
                        }
                    }
                    3 => {
                        for (number, _) in under_way.drain(..) {
                            outbox.done(&[number]);
                        }
                    }
                    _ => {
                        for (number, purge) in under_way.drain(..) {
                            outbox.again(&[number]);
                            owed.insert(purge);
                        }
                    }
                }
            }
            let sent: BTreeSet<_> = outbox.take().into_iter().map(|(_, purge)| purge).collect();
            prop_assert_eq!(sent, owed);
        }
    }
}
