//! The newest purge of everything, as readers see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Hlc;
use super::table::Table;
use super::wide::WideStamps;

/// What purges say of an entry; a later variant is stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// No purge is of it.
    Valid,
    /// Purged softly: stale, whatever its lifetime says. May be served as stale responses may.
    Stale,
    /// The purge that would tell may be forgotten: to be validated with the origin before it is used, never served
    /// stale.
    Unsure,
    /// Purged: never to be served, nor validated.
    Gone,
}

/// What of an entry purges are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'a> {
    /// [`super::namespace_id`].
    pub namespace: u64,
    /// [`super::key_id`], of the key without variants.
    pub key: u64,
    /// [`super::host_id`].
    pub host: u64,
    /// The path, as in the key.
    pub path: &'a str,
    /// [`super::tag_id`] of each.
    pub tags: &'a [u64],
    /// When its fetch began, not when it ended.
    pub at: Hlc,
}

/// What all snapshots share beside the tables. One cache line, written once a purge.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Marks {
    /// No stamp is later.
    pub(super) newest: AtomicU64,
    /// The latest stamp that is forgotten.
    pub(super) floor: AtomicU64,
    /// Changes of the tables.
    pub(super) changes: AtomicU64,
}

/// The newest purge of everything, as of when it was published and of what its writer adds.
///
/// Take the published one anew for each entry (or request): purges of keys and tags are seen by whoever holds an old
/// one until a table grows, purges of prefixes, hosts and namespaces are not.
#[derive(Debug)]
pub struct Stamps {
    pub(super) keys: Arc<Table>,
    pub(super) tags: Arc<Table>,
    pub(super) wide: WideStamps,
    pub(super) marks: Arc<Marks>,
    /// Which publication it is.
    pub(super) edition: u64,
}

/// Changes of the tables take the lower bits of a version: enough for 10,000 a second during three years.
const CHANGES_BITS: u32 = 40;

impl Stamps {
    /// What purges say of an entry. Takes no lock and allocates nothing.
    pub fn verdict(&self, entry: &Fetched<'_>) -> Verdict {
        let at = entry.at.time();
        if at > self.marks.newest.load(Ordering::Acquire) {
            return Verdict::Valid;
        }
        let mut verdict = judged(&self.keys, entry.key, at);
        for tag in entry.tags {
            if verdict == Verdict::Gone {
                break;
            }
            verdict = verdict.max(judged(&self.tags, *tag, at));
        }
        verdict = verdict.max(self.wide.verdict(entry));
        // Last: it stands for what was evicted while the tables were read.
        let floor = self.marks.floor.load(Ordering::Acquire);
        match floor != 0 && floor >= at {
            true => verdict.max(Verdict::Unsure),
            false => verdict,
        }
    }

    /// Changes with every purge. An entry that was [`Verdict::Valid`] after this was read is so while it is the same,
    /// so that a hit may compare one number. Compare for equality only.
    pub fn version(&self) -> u64 {
        let changes = self.marks.changes.load(Ordering::Acquire);
        (self.edition << CHANGES_BITS) | (changes & ((1 << CHANGES_BITS) - 1))
    }

    /// Whatever was fetched up to this time is at least [`Verdict::Unsure`]; none: nothing is forgotten.
    pub fn floor(&self) -> Option<Hlc> {
        let floor = self.marks.floor.load(Ordering::Acquire);
        // Of all stamps of that time the last one.
        (floor != 0).then(|| Hlc::from_time(floor, u32::MAX))
    }
}

fn judged(table: &Table, hash: u64, at: u64) -> Verdict {
    let newest = table.newest(hash);
    if newest.hard != 0 && newest.hard >= at {
        Verdict::Gone
    } else if newest.soft != 0 && newest.soft >= at {
        Verdict::Stale
    } else {
        Verdict::Valid
    }
}
