//! From which content a node may start, and which it refuses after crashes.
//!
//! Content is on probation until it was in force for [`GOOD_AFTER`] while the node was healthy; then it is
//! good. Content that is not good yet and was in force in [`CRASHES_MAX`] crashes, each at most
//! [`CRASH_WINDOW`] after the one before, is quarantined. Good content never is: somebody who kills the
//! node must not take its configuration away. A node always starts: behind quarantined content from what it kept
//! beside it, proven or not, as long as that comes from the same store; from nothing if need be.
//!
//! Times are Unix times and may step. A step back counts as no time gone by, so at worst content stays on
//! probation longer, or crashes count that lie further apart.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

/// How long content must be in force, and the node healthy, until it is good.
pub const GOOD_AFTER: Duration = Duration::from_secs(30);
/// So many crashes in a row quarantine content that is not good yet.
pub const CRASHES_MAX: u32 = 3;
/// Crashes further apart than this are no row.
pub const CRASH_WINDOW: Duration = Duration::from_secs(60);

/// Names content: equal hashes are the same content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 16]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How far content is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In force for too short a time to tell.
    Probation,
    /// Was in force for [`GOOD_AFTER`] while the node was healthy.
    Good,
    /// Crashed the node [`CRASHES_MAX`] times before it was good.
    Quarantined,
}

/// Content with its standing, as far as that is known without the quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The content.
    pub hash: ContentHash,
    /// Whether it has become good.
    pub good: bool,
}

impl InForce {
    /// Its standing; what was good before it came into quarantine stays good.
    pub fn standing(self, quarantined: bool) -> Standing {
        match (self.good, quarantined) {
            (true, _) => Standing::Good,
            (false, true) => Standing::Quarantined,
            (false, false) => Standing::Probation,
        }
    }
}

/// An intact slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What it holds.
    pub content: InForce,
    /// Higher is newer.
    pub sequence: u64,
    /// Names the store that it comes from: equal numbers are one store.
    pub epoch: u64,
}

/// Crashes in a row with the same content, not good yet, in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crashes {
    /// The content.
    pub hash: ContentHash,
    /// How many.
    pub count: u32,
    /// When the last one was noticed: at the start after it.
    pub last: Duration,
}

impl Crashes {
    fn too_many(&self) -> bool {
        self.count >= CRASHES_MAX
    }
}

/// How the run before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastRun {
    /// In order; or there was none.
    EndedWell,
    /// In a crash.
    Crashed {
        /// What was in force then; nothing if the node had no content.
        in_force: Option<InForce>,
        /// The crashes before this one.
        before: Option<Crashes>,
    },
}

/// What is known when a node starts.
#[derive(Clone, Copy, Debug)]
pub struct BootFacts<'a> {
    /// Unix time.
    pub now: Duration,
    /// The slots that are intact.
    pub slots: [Option<Slot>; 2],
    /// How the run before ended.
    pub last_run: LastRun,
    /// Content in quarantine.
    pub quarantined: &'a [ContentHash],
}

/// What follows from [`BootFacts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootDecision {
    /// The slot to start from; without one the node starts from its defaults.
    pub start_from: Option<usize>,
    /// The crashes in a row so far, to be remembered for the next start.
    pub crashes: Option<Crashes>,
    /// Content that goes into quarantine now.
    pub quarantine: Option<ContentHash>,
}

impl BootFacts<'_> {
    /// Where to start, and what the crashes before mean.
    pub fn decide(&self) -> BootDecision {
        let crashes = self.crashes();
        let quarantine = crashes
            .filter(|crashes| crashes.too_many() && !self.is_good(crashes.hash))
            .map(|crashes| crashes.hash)
            .filter(|hash| !self.quarantined.contains(hash));
        BootDecision {
            start_from: self.start_from(quarantine),
            crashes,
            quarantine,
        }
    }

    /// A crash with good content, or with none, says nothing about other content: what was counted stays.
    fn crashes(&self) -> Option<Crashes> {
        let LastRun::Crashed { in_force, before } = self.last_run else {
            return None;
        };
        let Some(InForce { hash, good }) = in_force else {
            return before;
        };
        if good || self.is_good(hash) {
            return before;
        }
        let row = before
            .filter(|b| b.hash == hash && self.now.saturating_sub(b.last) <= CRASH_WINDOW)
            .map_or(0, |b| b.count);
        Some(Crashes {
            hash,
            count: row.saturating_add(1),
            last: self.now,
        })
    }

    fn is_good(&self, hash: ContentHash) -> bool {
        let mut slots = self.slots.iter().flatten();
        slots.any(|slot| slot.content.hash == hash && slot.content.good)
    }

    /// The newest slot that is not refused. Behind quarantined content only one of the same store will do: what
    /// another control plane once gave is nobody's wish here.
    fn start_from(&self, new_in_quarantine: Option<ContentHash>) -> Option<usize> {
        let mut order: Vec<(usize, Slot)> = (0..)
            .zip(self.slots)
            .filter_map(|(at, slot)| Some((at, slot?)))
            .collect();
        order.sort_by_key(|(_, slot)| std::cmp::Reverse((slot.sequence, slot.content.good)));
        let mut fled_from = None;
        for (at, slot) in order {
            let hash = slot.content.hash;
            let refused = self.quarantined.contains(&hash) || new_in_quarantine == Some(hash);
            match slot.content.standing(refused) {
                Standing::Quarantined => fled_from = Some(slot.epoch),
                _ if fled_from.is_some_and(|epoch| epoch != slot.epoch) => {}
                _ => return Some(at),
            }
        }
        None
    }
}

/// The time that content has left to prove itself.
#[derive(Clone, Copy, Debug)]
pub struct Probation {
    healthy_since: Duration,
}

impl Probation {
    /// Content came into force, at Unix time `now`.
    pub fn starting_at(now: Duration) -> Self {
        Self { healthy_since: now }
    }

    /// Whether the content is good now; call it about once a second. A look at which the node is unhealthy
    /// starts the time anew, and so does a clock that stepped back.
    pub fn passed(&mut self, now: Duration, healthy: bool) -> bool {
        if !healthy || now < self.healthy_since {
            self.healthy_since = now;
            return false;
        }
        now.saturating_sub(self.healthy_since) >= GOOD_AFTER
    }
}
