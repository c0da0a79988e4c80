//! Values whose end somebody waits for.

use std::collections::{BTreeMap, HashMap};

use weir_core::cache::UnixMs;
use weir_core::purge::Hlc;

use super::value::{tags_of, version_of};
use crate::entry::{Entry, Resource};

/// What one more costs besides its texts, in both maps.
const ENDING_BYTES: usize = 256;
/// What one more tag costs besides its text.
const TAG_BYTES: usize = 32;

/// How many ends are waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndLimits {
    /// Values.
    pub(super) ends_max: usize,
    /// Bytes of all of them.
    pub(super) bytes_max: usize,
}

impl Default for EndLimits {
    fn default() -> Self {
        Self {
            ends_max: 65_536,
            bytes_max: 16 << 20,
        }
    }
}

/// A value whose end is waited for.
#[derive(Debug)]
pub(in crate::aside) struct Ending {
    pub(in crate::aside) resource: Resource,
    pub(in crate::aside) fetched_at: Hlc,
    pub(in crate::aside) tag_ids: Box<[u64]>,
    pub(super) version: String,
    pub(super) tags: Vec<String>,
}

impl Ending {
    fn of(entry: &Entry) -> Self {
        Self {
            resource: entry.resource.clone(),
            fetched_at: entry.fetched_at,
            tag_ids: entry.tags.clone(),
            version: version_of(entry).to_owned(),
            tags: tags_of(entry),
        }
    }

    fn bytes(&self) -> usize {
        let tags = self.tags.iter().map(|tag| tag.len() + TAG_BYTES);
        let texts = 2 * self.resource.key.as_str().len() + self.version.len();
        texts + tags.sum::<usize>() + size_of_val(&*self.tag_ids) + ENDING_BYTES
    }
}

/// Of each value the end that it has by now, the soonest first.
#[derive(Debug)]
pub(super) struct Ends {
    limits: EndLimits,
    waiting: BTreeMap<(UnixMs, u64), Ending>,
    /// When each value ends.
    times: HashMap<u64, UnixMs>,
    bytes: usize,
    /// Some ends will not be told.
    misses: bool,
}

impl Ends {
    pub(super) fn new(limits: EndLimits) -> Self {
        Self {
            limits,
            waiting: BTreeMap::new(),
            times: HashMap::new(),
            bytes: 0,
            misses: false,
        }
    }

    /// From now on the end of a value is waited for instead of the one that it had before; false when this is the first
    /// one that there is no room for.
    pub(super) fn add(&mut self, entry: &Entry) -> bool {
        let id = entry.resource.key_id();
        self.remove(id);
        let ending = Ending::of(entry);
        let bytes = self.bytes + ending.bytes();
        if self.waiting.len() >= self.limits.ends_max || bytes > self.limits.bytes_max {
            return std::mem::replace(&mut self.misses, true);
        }
        let ends = entry.stored.fresh_until;
        self.bytes = bytes;
        self.times.insert(id, ends);
        self.waiting.insert((ends, id), ending);
        true
    }

    /// Those that have come.
    pub(super) fn come(&mut self, now: UnixMs) -> Vec<Ending> {
        let mut come = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            let (ends, id) = *first.key();
            if ends > now {
                break;
            }
            come.extend(self.remove(id));
        }
        // Not as soon as there is any room: else each end that comes makes room for one gap more.
        if self.waiting.len() <= self.limits.ends_max / 2 && self.bytes <= self.limits.bytes_max / 2
        {
            self.misses = false;
        }
        come
    }

    /// Whether some ends will not be told.
    pub(super) fn misses(&self) -> bool {
        self.misses
    }

    /// Nobody waits.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    fn remove(&mut self, id: u64) -> Option<Ending> {
        let ends = self.times.remove(&id)?;
        let ending = self.waiting.remove(&(ends, id))?;
        self.bytes -= ending.bytes();
        Some(ending)
    }
}
