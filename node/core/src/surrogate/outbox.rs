//! Purges that a CDN has not taken yet.

use std::collections::{BTreeMap, BTreeSet};

use super::{CdnPurge, CdnScope};
use crate::purge::Hardness;

/// Purges that wait for one CDN, and their bytes. Beyond that everything is purged instead: stricter, and never too
/// little.
pub const WAITING_MAX: usize = 100_000;
/// See [`WAITING_MAX`].
pub const WAITING_BYTES_MAX: usize = 8 << 20;
/// Purges that become requests together.
const TOGETHER_MAX: usize = 1_000;
/// The first and the longest wait of a purge that failed by itself, in milliseconds.
const ALONE_WAIT_MIN_MS: u64 = 1_000;
const ALONE_WAIT_MAX_MS: u64 = 300_000;
/// Bytes that a purge takes beside its name.
const PURGE_BYTES: usize = 128;

/// Purges that a CDN has not taken yet, in the order in which they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    waiting: BTreeMap<u64, Waiting>,
    /// Those of `waiting` that no request carries: asked for again, they are the same.
    known: BTreeMap<CdnPurge, u64>,
    under_way: BTreeSet<u64>,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting {
    purge: CdnPurge,
    since_ms: u64,
    /// How often it was asked for and the mesh does not have it in force yet: a CDN that asks again must get nothing
    /// old.
    not_in_force: u32,
    /// A request that carried it and others failed, so it goes alone.
    alone: bool,
    tries: u32,
    not_before_ms: u64,
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

/// Purges that are to be sent now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// In as few requests as can be.
    pub together: Vec<(u64, CdnPurge)>,
    /// Each in a request of its own.
    pub alone: Vec<(u64, CdnPurge)>,
}

impl Outbox {
    /// Adds a purge under `number`, which is higher than all before. One that waits already and is not under way is
    /// the same, and keeps its own.
    pub fn add(&mut self, purge: CdnPurge, number: u64, now_ms: u64) -> Added {
        if let Some(known) = self.known.get(&purge)
            && let Some(waiting) = self.waiting.get_mut(known)
        {
            waiting.not_in_force += 1;
            return Added {
                number: *known,
                replaced: Vec::new(),
                purge,
            };
        }
        let (mut purge, mut replaced) = (purge, Vec::new());
        if self.known.len() >= WAITING_MAX || self.bytes >= WAITING_BYTES_MAX {
            replaced = std::mem::take(&mut self.known).into_values().collect();
            for number in &replaced {
                self.forget(*number);
            }
            purge = CdnPurge {
                scope: CdnScope::All,
                hardness: Hardness::Hard,
            };
        }
        self.insert(number, purge.clone(), now_ms, 1);
        Added {
            number,
            replaced,
            purge,
        }
    }

    /// Puts back what was added in an earlier life. The mesh has had it in force since.
    pub fn restore(&mut self, number: u64, purge: CdnPurge, now_ms: u64) {
        self.insert(number, purge, now_ms, 0);
    }

    fn insert(&mut self, number: u64, purge: CdnPurge, since_ms: u64, not_in_force: u32) {
        self.bytes += bytes(&purge);
        self.known.insert(purge.clone(), number);
        let waiting = Waiting {
            purge,
            since_ms,
            not_in_force,
            alone: false,
            tries: 0,
            not_before_ms: 0,
        };
        self.waiting.insert(number, waiting);
    }

    fn forget(&mut self, number: u64) {
        if let Some(waiting) = self.waiting.remove(&number) {
            self.bytes -= bytes(&waiting.purge);
        }
    }

    /// The mesh has this one in force, as it was asked for once.
    pub fn ready(&mut self, number: u64) {
        if let Some(waiting) = self.waiting.get_mut(&number) {
            waiting.not_in_force = waiting.not_in_force.saturating_sub(1);
        }
    }

    /// What can be sent now; it is under way from here on.
    pub fn take(&mut self, now_ms: u64) -> Taken {
        let can_go = |(number, waiting): &(&u64, &Waiting)| {
            waiting.not_in_force == 0
                && waiting.not_before_ms <= now_ms
                && !self.under_way.contains(number)
        };
        let going = self.waiting.iter().filter(can_go).take(TOGETHER_MAX);
        let mut taken = Taken::default();
        for (number, waiting) in going {
            match waiting.alone {
                true => taken.alone.push((*number, waiting.purge.clone())),
                false => taken.together.push((*number, waiting.purge.clone())),
            }
        }
        for (number, purge) in taken.together.iter().chain(&taken.alone) {
            self.under_way.insert(*number);
            self.known.remove(purge);
        }
        taken
    }

    /// These will not be sent any more, because they were taken or never will be.
    pub fn done(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.under_way.remove(number);
            self.forget(*number);
        }
    }

    /// These were not taken, and not because of them. Returns those that need not be sent, since they were asked for
    /// once more meanwhile.
    pub fn again(&mut self, numbers: &[u64]) -> Vec<u64> {
        let mut superfluous = Vec::new();
        for number in numbers {
            self.under_way.remove(number);
            let Some(waiting) = self.waiting.get(number) else {
                continue;
            };
            if self.known.contains_key(&waiting.purge) {
                superfluous.push(*number);
                self.forget(*number);
            } else {
                self.known.insert(waiting.purge.clone(), *number);
            }
        }
        superfluous
    }

    /// One of these is why a request failed: each goes alone from now on, and one that failed alone waits longer each
    /// time. Returns what [`Self::again`] does.
    pub fn apart(&mut self, numbers: &[u64], now_ms: u64) -> Vec<u64> {
        let is_alone = numbers.len() == 1;
        for number in numbers {
            let Some(waiting) = self.waiting.get_mut(number) else {
                continue;
            };
            waiting.alone = true;
            if is_alone {
                let wait_ms = ALONE_WAIT_MIN_MS << waiting.tries.min(16);
                waiting.tries += 1;
                waiting.not_before_ms = now_ms.saturating_add(wait_ms.min(ALONE_WAIT_MAX_MS));
            }
        }
        self.again(numbers)
    }

    /// Whatever waits because it failed is tried at once.
    pub fn hurry(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.not_before_ms = 0;
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
        let oldest = self.waiting.first_key_value();
        oldest.map_or(0, |(_, waiting)| now_ms.saturating_sub(waiting.since_ms))
    }
}

fn bytes(purge: &CdnPurge) -> usize {
    let name = match &purge.scope {
        CdnScope::Url(text)
        | CdnScope::Tag(text)
        | CdnScope::Prefix(text)
        | CdnScope::Host(text) => text.len(),
        CdnScope::All => 0,
    };
    PURGE_BYTES + 2 * name
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

    fn together(numbers: &[(u64, &str)]) -> Taken {
        let purges = numbers.iter().map(|(number, name)| (*number, tag(name)));
        Taken {
            together: purges.collect(),
            alone: Vec::new(),
        }
    }

    #[test]
    fn nothing_goes_before_the_mesh_has_it_in_force_as_often_as_it_was_asked_for() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.add(tag("a"), 1, 5).number, 1);
        assert_eq!(outbox.take(0), Taken::default());
        // Asked for again: that the mesh has the first one in force says nothing of the second.
        assert_eq!(outbox.add(tag("a"), 2, 6).number, 1);
        outbox.ready(1);
        assert_eq!(outbox.take(0), Taken::default());
        outbox.ready(1);
        assert_eq!(outbox.take(0), together(&[(1, "a")]));
        assert_eq!(outbox.take(0), Taken::default());
        assert_eq!(outbox.oldest_ms(15), 10);
        // What is asked for while a request is under way is another one.
        assert_eq!(outbox.add(tag("a"), 3, 7).number, 3);
        outbox.done(&[1]);
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn what_failed_goes_again_unless_it_was_asked_for_once_more() {
        let mut outbox = Outbox::default();
        outbox.restore(7, tag("a"), 0);
        assert_eq!(outbox.take(0), together(&[(7, "a")]));
        assert_eq!(outbox.again(&[7]), []);
        assert_eq!(outbox.take(0), together(&[(7, "a")]));
        outbox.add(tag("a"), 8, 0);
        assert_eq!(outbox.again(&[7]), [7]);
        assert_eq!(outbox.len(), 1);
        outbox.ready(8);
        assert_eq!(outbox.take(0), together(&[(8, "a")]));
    }

    #[test]
    fn one_that_fails_keeps_no_other_waiting() {
        let mut outbox = Outbox::default();
        for (number, name) in [(1, "good"), (2, "bad")] {
            outbox.restore(number, tag(name), 0);
        }
        outbox.take(0);
        assert_eq!(outbox.apart(&[1, 2], 0), []);
        assert_eq!(outbox.take(0).alone, [(1, tag("good")), (2, tag("bad"))]);
        outbox.done(&[1]);
        let mut now_ms = 0;
        for wait_ms in [1_000, 2_000, 4_000] {
            outbox.apart(&[2], now_ms);
            assert_eq!(outbox.take(now_ms + wait_ms - 1), Taken::default());
            now_ms += wait_ms;
            assert_eq!(outbox.take(now_ms).alone, [(2, tag("bad"))]);
        }
        outbox.apart(&[2], now_ms);
        outbox.hurry();
        assert_eq!(outbox.take(now_ms).alone.len(), 1);
    }

    #[test]
    fn too_much_becomes_a_purge_of_everything() {
        let mut outbox = Outbox::default();
        let long = "x".repeat(WAITING_BYTES_MAX / 20);
        for number in 0..10 {
            outbox.add(tag(&format!("{long}{number}")), number, 0);
        }
        let added = outbox.add(tag("one more"), 10, 0);
        assert_eq!(added.purge.scope, CdnScope::All);
        assert_eq!(added.replaced.len(), 10);
        assert_eq!(outbox.len(), 1);
        for number in 11..11 + WAITING_MAX as u64 {
            outbox.known.insert(tag(&number.to_string()), number);
        }
        assert_eq!(outbox.add(tag("a"), u64::MAX, 0).purge.scope, CdnScope::All);
    }

    proptest! {
        /// Whatever fails and however often, each purge is carried by a request that began after it was asked for.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0_u8..6, 0_u8..6), 1..200)) {
            let mut outbox = Outbox::default();
            let mut owed: BTreeSet<CdnPurge> = BTreeSet::new();
            let mut under_way: Vec<(u64, CdnPurge)> = Vec::new();
            let owe_again = |outbox: &mut Outbox, sent: Vec<(u64, CdnPurge)>, apart, owed: &mut BTreeSet<_>| {
                for (number, purge) in sent {
                    match apart {
                        true => outbox.apart(&[number], 0),
                        false => outbox.again(&[number]),
                    };
                    owed.insert(purge);
                }
            };
            for (number, (step, which)) in (1_u64..).zip(steps) {
                match step {
                    0 | 1 => {
                        let purge = tag(&which.to_string());
                        let number = outbox.add(purge.clone(), number, 0).number;
                        outbox.ready(number);
                        owed.insert(purge);
                    }
                    2 => {
                        let taken = outbox.take(u64::MAX);
                        for (number, purge) in taken.together.into_iter().chain(taken.alone) {
                            owed.remove(&purge);
                            under_way.push((number, purge));
                        }
                    }
                    3 => {
                        for (number, _) in under_way.drain(..) {
                            outbox.done(&[number]);
                        }
                    }
                    step => owe_again(&mut outbox, std::mem::take(&mut under_way), step == 4, &mut owed),
                }
            }
            let taken = outbox.take(u64::MAX);
            let sent = taken.together.into_iter().chain(taken.alone);
            let sent: BTreeSet<_> = sent.map(|(_, purge)| purge).collect();
            prop_assert_eq!(sent, owed);
            outbox.done(&outbox.waiting.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(outbox.bytes, 0);
        }
    }
}
