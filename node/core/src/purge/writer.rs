//! The one who writes stamps.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::stamps::Marks;
use super::table::{Put, Table};
use super::wide::WideStamps;
use super::{Hardness, Hlc, Purge, Scope, Stamps};

/// Ways of a table that holds little.
const WAYS_MIN: usize = 1 << 12;

/// How many purges are remembered. One more than that raises the floor instead of being forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampLimits {
    /// Stamps of keys; soft and hard ones of one key are two. A million takes 32 MiB.
    pub keys_max: usize,
    /// Stamps of tags, likewise.
    pub tags_max: usize,
    /// Prefixes, hosts and namespaces together.
    pub wide_max: usize,
}

impl Default for StampLimits {
    fn default() -> Self {
        Self {
            keys_max: 1_000_000,
            tags_max: 1_000_000,
            wide_max: 1_024,
        }
    }
}

/// What merging a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Whether anything is purged that was not.
    pub changed: bool,
    /// Whether [`StampWriter::stamps`] is another one now, to be published before the purge is acknowledged.
    pub republish: bool,
}

/// The one who writes: tables in place, everything else by a new [`Stamps`].
///
/// A table begins small and doubles when it is half full, which copies it: the last time half a million stamps.
#[derive(Debug)]
pub struct StampWriter {
    published: Arc<Stamps>,
    keys: Fill,
    tags: Fill,
    wide_max: usize,
}

/// What a table holds.
#[derive(Debug)]
struct Fill {
    most: usize,
    stamps: usize,
    hand: usize,
}

impl StampWriter {
    /// Nothing is purged.
    pub fn new(limits: StampLimits) -> Self {
        let fill = |most: usize| Fill {
            most: most.max(1),
            stamps: 0,
            hand: 0,
        };
        let (keys, tags) = (fill(limits.keys_max), fill(limits.tags_max));
        let published = Arc::new(Stamps {
            keys: Arc::new(Table::with_ways(keys.ways_max().min(WAYS_MIN))),
            tags: Arc::new(Table::with_ways(tags.ways_max().min(WAYS_MIN))),
            wide: WideStamps::default(),
            marks: Arc::new(Marks::default()),
            edition: 0,
        });
        Self {
            published,
            keys,
            tags,
            wide_max: limits.wide_max.max(1),
        }
    }

    /// What readers are to read.
    pub fn stamps(&self) -> Arc<Stamps> {
        Arc::clone(&self.published)
    }

    /// Takes a purge, of this node or of another one. Any order and any number of times comes to the same.
    pub fn merge(&mut self, purge: &Purge) -> Merged {
        let merged = match purge.scope {
            Scope::Key(hash) => self.merge_key(hash, purge.hardness, purge.at.time()),
            Scope::Tag(hash) => self.merge_tag(hash, purge.hardness, purge.at.time()),
            Scope::Prefix { .. } | Scope::Host(_) | Scope::All(_) => self.merge_wide(purge),
        };
        // Also when an earlier one reaches beyond it: what was fetched between the two is of before this one.
        self.tell(purge.at.time());
        merged
    }

    /// Purges are missing: whatever was fetched at that time or before is [`super::Verdict::Unsure`].
    pub fn raise_floor(&mut self, at: Hlc) {
        let marks = &self.published.marks;
        marks.floor.fetch_max(at.time(), Ordering::AcqRel);
        self.tell(at.time());
    }

    fn merge_key(&mut self, hash: u64, hardness: Hardness, time: u64) -> Merged {
        let stamps = &self.published;
        let (merged, grown) = self
            .keys
            .put(&stamps.keys, &stamps.marks, (hash, hardness), time);
        if let Some(keys) = grown {
            self.publish(|stamps| stamps.keys = keys);
        }
        merged
    }

    fn merge_tag(&mut self, hash: u64, hardness: Hardness, time: u64) -> Merged {
        let stamps = &self.published;
        let (merged, grown) = self
            .tags
            .put(&stamps.tags, &stamps.marks, (hash, hardness), time);
        if let Some(tags) = grown {
            self.publish(|stamps| stamps.tags = tags);
        }
        merged
    }

    fn merge_wide(&mut self, purge: &Purge) -> Merged {
        let Some((wide, gone)) = self.published.wide.with(purge, self.wide_max) else {
            return Merged::default();
        };
        if let Some(gone) = gone {
            self.published.marks.floor.fetch_max(gone, Ordering::AcqRel);
        }
        self.publish(|stamps| stamps.wide = wide);
        Merged {
            changed: true,
            republish: true,
        }
    }

    fn publish(&mut self, change: impl FnOnce(&mut Stamps)) {
        let before = &self.published;
        let mut next = Stamps {
            keys: Arc::clone(&before.keys),
            tags: Arc::clone(&before.tags),
            wide: before.wide.clone(),
            marks: Arc::clone(&before.marks),
            edition: before.edition + 1,
        };
        change(&mut next);
        self.published = Arc::new(next);
    }

    /// After the tables were written: whoever sees the new numbers sees the stamps.
    fn tell(&self, time: u64) {
        let marks = &self.published.marks;
        marks.newest.fetch_max(time, Ordering::AcqRel);
        marks.changes.fetch_add(1, Ordering::AcqRel);
    }
}

impl Fill {
    /// Half full at most, so that both buckets of a hash are hardly ever full.
    fn ways_max(&self) -> usize {
        self.most.saturating_mul(2).next_power_of_two()
    }

    /// Puts a stamp, and gives the table that is to follow if this one had to grow.
    fn put(
        &mut self,
        table: &Arc<Table>,
        marks: &Marks,
        (hash, hardness): (u64, Hardness),
        time: u64,
    ) -> (Merged, Option<Arc<Table>>) {
        let grown = self.grown(table, marks);
        let table = grown.as_ref().unwrap_or(table);
        let mut put = table.put(hash, hardness, time);
        if put == Put::Full {
            let victim = table.oldest_beside(hash);
            self.evict(table, marks, victim);
            put = table.put(hash, hardness, time);
        }
        if put == Put::Added {
            self.stamps += 1;
        }
        if self.stamps > self.most {
            let victim = table.oldest_from(&mut self.hand);
            self.evict(table, marks, victim);
        }
        let merged = Merged {
            changed: put != Put::Known,
            republish: grown.is_some(),
        };
        (merged, grown)
    }

    fn evict(&mut self, table: &Table, marks: &Marks, victim: Option<super::table::Way>) {
        if let Some(victim) = victim {
            marks.floor.fetch_max(victim.time, Ordering::AcqRel);
            table.clear(victim);
            self.stamps -= 1;
        }
    }

    fn grown(&mut self, table: &Table, marks: &Marks) -> Option<Arc<Table>> {
        let is_half_full = self.stamps * 2 >= table.ways();
        if !is_half_full || table.ways() >= self.ways_max() {
            return None;
        }
        let next = Table::with_ways(table.ways() * 2);
        for forgotten in table.copy_into(&next) {
            marks.floor.fetch_max(forgotten, Ordering::AcqRel);
            self.stamps -= 1;
        }
        Some(Arc::new(next))
    }
}
