//! The first tier: entries by key, within bytes.
//!
//! Admission and eviction are `quick_cache`'s (a CLOCK-PRO relative with a ghost list): scans pass through its
//! cold part.

use std::sync::Arc;

use http::HeaderMap;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use weir_core::cache::UnixMs;

use crate::budget::Budget;
use crate::entry::{CodedForm, Entry};

/// Share of the memory for what was asked more than once, and of keys remembered after they left; of all public traces
/// tried these two held best against scans.
const HOT_SHARE: f64 = 0.87;
const GHOST_SHARE: f64 = 0.8;
/// What an entry is taken to cost before any is known.
const ENTRY_BYTES_ESTIMATE: u64 = 1 << 10;
const ENTRIES_ESTIMATE_MAX: u64 = 1 << 20;
/// Responses that one key may have.
const VARIANTS_MAX: usize = 32;
const INSERT_LOCKS: usize = 64;

/// How much the first tier holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// All entries together, everything included.
    pub bytes_max: u64,
    /// One entry.
    pub entry_bytes_max: u64,
}

/// The part of the memory that is for what other nodes own.
const MIRROR_SHARE: u64 = 8;

impl MemoryLimits {
    /// Of what this node fetches for all.
    pub(crate) const fn own(self) -> Self {
        Self {
            bytes_max: self.bytes_max - self.bytes_max / MIRROR_SHARE,
            ..self
        }
    }

    /// Of what other nodes own.
    pub(crate) const fn mirror(self) -> Self {
        Self {
            bytes_max: self.bytes_max / MIRROR_SHARE,
            ..self
        }
    }
}

/// What is kept for one key.
#[derive(Debug)]
struct Variants {
    entries: Vec<Arc<Entry>>,
    cost_bytes: u64,
}

impl Variants {
    fn of(entries: Vec<Arc<Entry>>) -> Arc<Self> {
        let cost_bytes = entries.iter().map(|entry| entry.cost_bytes()).sum();
        Arc::new(Self {
            entries,
            cost_bytes,
        })
    }
}

#[derive(Clone, Debug)]
struct ByCost;

impl Weighter<Box<str>, Arc<Variants>> for ByCost {
    fn weight(&self, key: &Box<str>, variants: &Arc<Variants>) -> u64 {
        key.len() as u64 + variants.cost_bytes
    }
}

/// What is dropped while clients still read it stays in memory: it is charged as what they hold.
#[derive(Clone, Debug)]
struct Dropped(Budget);

impl Dropped {
    /// `holders`: how many hold it beside clients.
    fn charge(&self, entry: &Arc<Entry>, holders: usize) {
        if Arc::strong_count(entry) > holders {
            entry.is_held_by_readers(&self.0);
        }
    }
}

impl Lifecycle<Box<str>, Arc<Variants>> for Dropped {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Box<str>, variants: Arc<Variants>) {
        for entry in &variants.entries {
            self.charge(entry, 1);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Memory {
    cache: Cache<Box<str>, Arc<Variants>, ByCost, DefaultHashBuilder, Dropped>,
    dropped: Dropped,
    /// Changes of one key follow each other.
    inserting: Box<[Mutex<()>]>,
}

/// What is kept for a request.
#[derive(Debug)]
pub(crate) enum Kept {
    /// A response for requests like this.
    Entry(Arc<Entry>),
    /// Responses for other requests of this key.
    OtherVariants,
    Nothing,
}

impl Memory {
    /// What clients read that is kept no more is charged to `held`.
    pub(crate) fn new(limits: MemoryLimits, threads: usize, held: &Budget) -> Self {
        let dropped = Dropped(held.clone());
        let shards_max = (limits.bytes_max / limits.entry_bytes_max.max(1) / 8).max(1);
        let shards = (4 * threads as u64).min(shards_max);
        let shards = 1 << shards.ilog2();
        let entries = (limits.bytes_max / ENTRY_BYTES_ESTIMATE).clamp(64, ENTRIES_ESTIMATE_MAX);
        let options = OptionsBuilder::new()
            .shards(shards)
            .weight_capacity(limits.bytes_max)
            .estimated_items_capacity(usize::try_from(entries).unwrap_or(usize::MAX))
            .hot_allocation(HOT_SHARE)
            .ghost_allocation(GHOST_SHARE)
            .build()
            .expect("every option is set");
        Self {
            cache: Cache::with_options(
                options,
                ByCost,
                DefaultHashBuilder::default(),
                dropped.clone(),
            ),
            dropped,
            inserting: (0..INSERT_LOCKS).map(|_| Mutex::default()).collect(),
        }
    }

    pub(crate) fn configure(&self, bytes_max: u64) {
        if self.cache.capacity() != bytes_max {
            self.cache.set_capacity(bytes_max);
        }
    }

    pub(crate) fn find(&self, key: &str, request: &HeaderMap) -> Kept {
        let Some(variants) = self.cache.get(key) else {
            return Kept::Nothing;
        };
        match variants
            .entries
            .iter()
            .find(|entry| entry.stored.matches(request))
        {
            Some(entry) => Kept::Entry(Arc::clone(entry)),
            None => Kept::OtherVariants,
        }
    }

    /// What is kept for a request, without saying that somebody wants it.
    pub(crate) fn peek(&self, key: &str, request: &HeaderMap) -> Option<Arc<Entry>> {
        let variants = self.cache.peek(key)?;
        let mut entries = variants.entries.iter();
        entries
            .find(|entry| entry.stored.matches(request))
            .map(Arc::clone)
    }

    /// Whether it keeps something newer beside which an entry may not answer.
    pub(crate) fn has_overtaken(&self, key: &str, entry: &Entry) -> bool {
        let variants = self.cache.peek(key);
        variants.is_some_and(|variants| is_overtaken(entry, &variants.entries))
    }

    /// Puts an entry in the place of the one for the same requests, and of those that heed less of a request than it
    /// depends on. An older one never replaces a newer.
    pub(crate) fn insert(&self, entry: Arc<Entry>, now: UnixMs) {
        let key = entry.resource.key.as_str();
        let _changing = self.inserting[self.cache.shard_index(key) % INSERT_LOCKS].lock();
        let entries = match self.cache.peek(key) {
            Some(variants) => variants.entries.clone(),
            None => Vec::new(),
        };
        if is_overtaken(&entry, &entries) {
            return;
        }
        let stays =
            |other: &Arc<Entry>| !other.is_past_beside(&entry) && now < other.stored.keep_until;
        let (mut entries, mut gone): (Vec<_>, Vec<_>) = entries.into_iter().partition(stays);
        if entries.len() >= VARIANTS_MAX {
            gone.extend(entries.split_off(VARIANTS_MAX - 1));
        }
        entry.taken(now);
        entries.insert(0, Arc::clone(&entry));
        self.cache.insert(key.into(), Variants::of(entries));
        gone.retain(|gone| !Arc::ptr_eq(gone, &entry));
        gone.iter().for_each(|entry| self.dropped.charge(entry, 1));
    }

    /// Puts a coded form of its body beside an entry, or the renewal of that, if it is still kept; whether it is.
    pub(crate) fn add_coded(&self, entry: &Entry, form: CodedForm) -> bool {
        let key = entry.resource.key.as_str();
        let _changing = self.inserting[self.cache.shard_index(key) % INSERT_LOCKS].lock();
        let Some(variants) = self.cache.peek(key) else {
            return false;
        };
        let mut entries = variants.entries.clone();
        let kept = entries.iter_mut().find(|kept| kept.shares_body(entry));
        let Some(kept) = kept.filter(|kept| kept.coded(form.coding).is_none()) else {
            return false;
        };
        let coded = Arc::new(kept.and_coded(form));
        let plain = std::mem::replace(kept, coded);
        self.cache.insert(key.into(), Variants::of(entries));
        drop(variants);
        // Whoever reads it does not hold the one that takes its place.
        self.dropped.charge(&plain, 1);
        true
    }

    /// Drops everything of a key that `is_gone`.
    pub(crate) fn remove(&self, key: &str, is_gone: impl Fn(&Entry) -> bool) {
        let _changing = self.inserting[self.cache.shard_index(key) % INSERT_LOCKS].lock();
        let Some(variants) = self.cache.peek(key) else {
            return;
        };
        let all = variants.entries.iter().cloned();
        let (gone, kept): (Vec<_>, Vec<_>) = all.partition(|entry| is_gone(entry));
        if kept.is_empty() {
            self.cache.remove(key);
        } else if !gone.is_empty() {
            self.cache.insert(key.into(), Variants::of(kept));
        }
        drop(variants);
        gone.iter().for_each(|entry| self.dropped.charge(entry, 1));
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.cache.capacity()
    }

    pub(crate) fn keys(&self) -> u64 {
        self.cache.len() as u64
    }
}

/// Whether one of these is newer, and the entry may not answer beside it.
fn is_overtaken(entry: &Entry, by: &[Arc<Entry>]) -> bool {
    by.iter()
        .any(|other| other.fetched_at > entry.fetched_at && entry.is_past_beside(other))
}
