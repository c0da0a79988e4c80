//! What the request path asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use weir_core::cache::UnixMs;
use weir_core::purge::{Hlc, HlcClock, Stamps, Verdict};

use crate::coders::Coders;
use crate::entry::Entry;
use crate::fill::Budget;
use crate::flights::Flights;
use crate::memory::{Kept, Memory, MemoryLimits};
use crate::solo::Solo;

/// Who waits for one fetch, at most.
const FOLLOWERS_MAX: usize = 16_384;
/// How long a key whose response was for one client alone is fetched by everybody for themselves.
const SOLO_TIME: Duration = Duration::from_secs(120);
/// The part of the memory that bodies under way may take beside it.
const FILLS_SHARE: u64 = 4;

/// What is kept for a request.
#[derive(Debug)]
pub enum Found {
    /// A response for requests like this, and what purges say of it: never [`Verdict::Gone`].
    Entry(Arc<Entry>, Verdict),
    /// Responses for other requests of this key.
    OtherVariants,
    /// Nothing.
    Nothing,
}

/// Everything that is kept, shared by all threads; `F` is why a fetch fails.
#[derive(Debug)]
pub struct Store<F> {
    pub(crate) memory: Memory,
    solo: Solo,
    /// Fetches under way.
    pub flights: Arc<Flights<F>>,
    /// Who compresses what is kept.
    pub(crate) coders: Coders,
    /// Memory for bodies under way.
    pub fills: Budget,
    stamps: ArcSwap<Stamps>,
    clock: HlcClock,
    entry_bytes_max: AtomicU64,
}

impl<F: Clone + Send + Sync> Store<F> {
    /// Nothing is kept yet. `threads` use it.
    pub fn new(limits: MemoryLimits, threads: usize, stamps: Arc<Stamps>, clock: HlcClock) -> Self {
        Self {
            memory: Memory::new(limits, threads),
            solo: Solo::new(),
            flights: Flights::new(FOLLOWERS_MAX),
            coders: Coders::new(threads),
            fills: Budget::new(limits.bytes_max / FILLS_SHARE),
            stamps: ArcSwap::new(stamps),
            clock,
            entry_bytes_max: AtomicU64::new(limits.entry_bytes_max),
        }
    }

    /// Other limits, at once: what is beyond them is dropped.
    pub fn configure(&self, limits: MemoryLimits) {
        self.memory.configure(limits.bytes_max);
        self.fills.configure(limits.bytes_max / FILLS_SHARE);
        self.entry_bytes_max
            .store(limits.entry_bytes_max, Ordering::Relaxed);
    }

    /// How long a body may be to be kept.
    pub fn entry_bytes_max(&self) -> u64 {
        self.entry_bytes_max.load(Ordering::Relaxed)
    }

    /// The time of a fetch that begins now, after every purge that this node has seen.
    pub fn fetch_time(&self, now: UnixMs) -> Hlc {
        self.clock.now(now.0)
    }

    /// The clock that purges are made by.
    pub fn clock(&self) -> &HlcClock {
        &self.clock
    }

    /// Purges, as of now.
    pub fn publish_stamps(&self, stamps: Arc<Stamps>) {
        self.stamps.store(stamps);
    }

    /// What is kept for a request of this key.
    pub fn find(&self, key: &str, request: &HeaderMap, now: UnixMs) -> Found {
        let entry = match self.memory.find(key, request) {
            Kept::Entry(entry) => entry,
            Kept::OtherVariants => return Found::OtherVariants,
            Kept::Nothing => return Found::Nothing,
        };
        match self.verdict(&entry) {
            Verdict::Gone => {
                let stamps = self.stamps.load();
                self.memory.remove(key, |entry| {
                    entry.verdict(&stamps) == Verdict::Gone || entry.stored.keep_until <= now
                });
                Found::Nothing
            }
            verdict => Found::Entry(entry, verdict),
        }
    }

    /// What purges say of an entry.
    pub fn verdict(&self, entry: &Entry) -> Verdict {
        entry.verdict(&self.stamps.load())
    }

    /// Keeps an entry, unless a purge has overtaken its fetch; whether it is kept.
    pub fn insert(&self, entry: &Arc<Entry>, now: UnixMs) -> bool {
        if self.verdict(entry) == Verdict::Gone || entry.cost_bytes() > self.memory.bytes_max() {
            return false;
        }
        self.memory.insert(Arc::clone(entry), now);
        true
    }

    /// Drops what is kept for a key.
    pub fn remove(&self, key: &str) {
        self.memory.remove(key, |_| true);
    }

    /// Remembers that what was fetched for `id` was for one client alone.
    pub fn fetch_solo(&self, id: &[u8], now: UnixMs) {
        self.solo.remember(id, now.after(SOLO_TIME));
    }

    /// What was fetched for `id` is for everybody again.
    pub fn fetch_shared(&self, id: &[u8]) {
        self.solo.forget(id);
    }

    /// Whether everybody fetches `id` for themselves.
    pub fn is_solo(&self, id: &[u8], now: UnixMs) -> bool {
        self.solo.contains(id, now)
    }

    /// Drops everything from memory.
    pub fn clear(&self) {
        self.memory.clear();
    }

    /// Bytes that entries take.
    pub fn bytes(&self) -> u64 {
        self.memory.bytes()
    }

    /// Bytes that they may take.
    pub fn bytes_max(&self) -> u64 {
        self.memory.bytes_max()
    }

    /// How many keys have entries.
    pub fn keys(&self) -> u64 {
        self.memory.keys()
    }
}
