//! What the request path asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderMap;
use weir_core::cache::{NotStored, TierTtls, UnixMs};
use weir_core::purge::{Hardness, Hlc, Purge, Scope, Verdict};

use crate::aside::Values;
use crate::budget::Budget;
use crate::coders::Coders;
use crate::entry::{Entry, Resource};
use crate::flights::Flights;
use crate::memory::{Kept, Memory, MemoryLimits};
use crate::purges::Purges;
use crate::redis::{COMMAND_TIMEOUT, CONNECT_TIMEOUT, L2, L2Settings, Namespace, RedisUrl};
use crate::solo::Solo;
use crate::value;

/// Who waits for one fetch, at most.
const FOLLOWERS_MAX: usize = 16_384;
/// How long a key whose response was for one client alone is fetched by everybody for themselves.
const SOLO_TIME: Duration = Duration::from_secs(120);
/// The part of the memory that bodies under way, and what is held beside it, may take beside it.
const FILLS_SHARE: u64 = 4;

/// How long values live unless told otherwise.
const ASIDE_TTL: Duration = Duration::from_secs(3_600);

/// Where all answers are in Redis; their keys tell the namespaces of routes apart.
const SHARED_NAMESPACE: &str = "answers";

/// How what is kept is shared with other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedTier {
    /// Which Redis; `None`: none.
    pub url: Option<RedisUrl>,
    /// How long a reader waits at most.
    pub command_timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// The longest that something is kept there (knob `cache.l2_ttl`).
    pub ttl_max: Duration,
    /// Bytes of Redis beyond which nothing more is written (knob `cache.l2_bytes_max`).
    pub bytes_max: u64,
    /// How long memory answers by itself (knob `cache.l1_ttl`).
    pub memory_ttl: Duration,
    /// The longest that an answer is used on any node without the origin being asked (knob `cache.l3_ttl`).
    pub mesh_ttl: Duration,
    /// How long values live that were put without a time of their own (knob `cache.aside_ttl`).
    pub aside_ttl: Duration,
}

impl Default for SharedTier {
    fn default() -> Self {
        Self {
            url: None,
            command_timeout: COMMAND_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            ttl_max: Duration::MAX,
            bytes_max: u64::MAX,
            memory_ttl: Duration::MAX,
            mesh_ttl: Duration::MAX,
            aside_ttl: ASIDE_TTL,
        }
    }
}

impl SharedTier {
    fn settings(&self) -> Option<L2Settings> {
        Some(L2Settings {
            url: self.url.clone()?,
            command_timeout: self.command_timeout,
            connect_timeout: self.connect_timeout,
            bytes_max: self.bytes_max,
        })
    }

    /// How long each tier keeps.
    pub fn ttls(&self) -> TierTtls {
        TierTtls {
            memory: self.memory_ttl,
            redis: self.url.as_ref().map(|_| self.ttl_max),
            mesh: self.mesh_ttl,
        }
    }
}

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
    /// What other nodes own.
    pub(crate) mirror: Memory,
    solo: Solo,
    /// Fetches under way.
    pub flights: Arc<Flights<F>>,
    /// Who compresses what is kept.
    pub(crate) coders: Coders,
    /// Memory for bodies under way, and for what clients still read that is kept no more.
    pub fills: Budget,
    l2: ArcSwapOption<Namespace>,
    /// What must not be served any more.
    pub purges: Purges,
    /// Values that applications put, beside their entries.
    pub values: Values,
    entry_bytes_max: AtomicU64,
    shared: ArcSwap<SharedTier>,
}

impl<F: Clone + Send + Sync> Store<F> {
    /// Nothing is kept yet. `threads` use it.
    pub fn new(limits: MemoryLimits, threads: usize, purges: Purges) -> Self {
        let fills = Budget::new(limits.bytes_max / FILLS_SHARE);
        Self {
            memory: Memory::new(limits.own(), threads, &fills),
            mirror: Memory::new(limits.mirror(), threads, &fills),
            solo: Solo::new(),
            flights: Flights::new(FOLLOWERS_MAX),
            coders: Coders::new(threads),
            fills,
            l2: ArcSwapOption::empty(),
            values: Values::new(purges.origin()),
            purges,
            entry_bytes_max: AtomicU64::new(limits.entry_bytes_max),
            shared: ArcSwap::from_pointee(SharedTier::default()),
        }
    }

    /// Other limits, at once: what is beyond them is dropped.
    pub fn configure(&self, limits: MemoryLimits) {
        self.memory.configure(limits.own().bytes_max);
        self.mirror.configure(limits.mirror().bytes_max);
        self.fills.configure(limits.bytes_max / FILLS_SHARE);
        self.entry_bytes_max
            .store(limits.entry_bytes_max, Ordering::Relaxed);
    }

    /// Shares what is kept as `tier` says from now on; `start` starts what is not there yet.
    pub fn share(&self, tier: &SharedTier, now: UnixMs, start: impl FnOnce(L2Settings) -> L2) {
        match (self.l2(), tier.settings()) {
            (Some(l2), Some(settings)) => l2.configure(settings),
            (None, Some(settings)) => {
                // Of purges before now nothing is known: what Redis has from then is validated before it is used.
                self.purges.distrust_before(Hlc::new(now.0, 0, 0));
                let l2 = start(settings);
                // Nodes whose clocks are ahead have stamped what they fetched until now with times to come.
                l2.distrust_before(self.purges.latest(now).time());
                let l2 = l2.namespace(SHARED_NAMESPACE);
                self.l2.store(l2.ok().map(Arc::new));
            }
            (_, None) => self.l2.store(None),
        }
        self.shared.store(Arc::new(tier.clone()));
    }

    /// How what is kept is shared.
    pub fn shared(&self) -> Arc<SharedTier> {
        self.shared.load_full()
    }

    /// The tier in Redis, if there is one.
    pub fn l2(&self) -> Option<Arc<Namespace>> {
        self.l2.load_full()
    }

    /// The longest that the tier in Redis keeps something.
    pub fn l2_ttl(&self) -> Duration {
        let shared = self.shared.load();
        shared.ttl_max.min(shared.mesh_ttl)
    }

    /// Whether memory has had an entry for so long that the tier beneath is to be asked.
    pub fn is_due_beneath(&self, entry: &Entry, now: UnixMs) -> bool {
        entry.memory_until(&self.shared.load().ttls()) <= now
    }

    /// Whether the tier in Redis may have had an entry for longer than it should.
    pub fn is_over_in_redis(&self, entry: &Entry, now: UnixMs) -> bool {
        let fetched = UnixMs(entry.fetched_at.unix_ms());
        self.shared.load().ttls().beneath_until(fetched) <= now
    }

    /// How long a body may be to be kept.
    pub fn entry_bytes_max(&self) -> u64 {
        self.entry_bytes_max.load(Ordering::Relaxed)
    }

    /// The time of a fetch that begins now, after every purge that this node has seen.
    pub fn fetch_time(&self, now: UnixMs) -> Hlc {
        self.purges.fetch_time(now)
    }

    /// Purges one key; in force on this node when it returns, whatever is under way.
    pub fn purge_key(&self, resource: &Resource, hardness: Hardness, now: UnixMs) -> Purge {
        let scope = Scope::Key(resource.key_id());
        let purge = self.purges.purge(scope, hardness, now);
        if hardness == Hardness::Hard {
            self.drop_gone(resource.key.as_str(), now);
            if let Some(l2) = self.l2() {
                l2.delete(&[&value::key_of(resource, None)], purge.at.time());
            }
        }
        purge
    }

    /// What is kept for a request of this key.
    pub fn find(&self, key: &str, request: &HeaderMap, now: UnixMs) -> Found {
        let kept = match self.memory.find(key, request) {
            Kept::Nothing => self.mirror.find(key, request),
            Kept::OtherVariants => match self.mirror.find(key, request) {
                Kept::Nothing => Kept::OtherVariants,
                kept => kept,
            },
            kept => kept,
        };
        let entry = match kept {
            Kept::Entry(entry) => entry,
            Kept::OtherVariants => return Found::OtherVariants,
            Kept::Nothing => return Found::Nothing,
        };
        match self.verdict(&entry) {
            Verdict::Gone => {
                self.drop_gone(key, now);
                Found::Nothing
            }
            verdict => Found::Entry(entry, verdict),
        }
    }

    /// What is kept for a request and valid, without saying that somebody wants it.
    pub fn peek(&self, key: &str, request: &HeaderMap) -> Option<Arc<Entry>> {
        let kept = self.memory.peek(key, request);
        let kept = kept.or_else(|| self.mirror.peek(key, request))?;
        (self.verdict(&kept) == Verdict::Valid).then_some(kept)
    }

    /// What purges say of an entry.
    pub fn verdict(&self, entry: &Entry) -> Verdict {
        entry.verdict(&self.purges.stamps())
    }

    /// Keeps an entry, unless a purge or a later fetch has overtaken it; whether it is kept.
    pub fn insert(&self, entry: &Arc<Entry>, now: UnixMs) -> bool {
        let key = entry.resource.key.as_str();
        if self.verdict(entry) == Verdict::Gone
            || entry.cost_bytes() > self.memory.bytes_max()
            || self.mirror.has_overtaken(key, entry)
        {
            return false;
        }
        // A copy of what another node had may heed less than this one depends on.
        self.mirror.remove(key, |other| {
            other.fetched_at <= entry.fetched_at && other.is_past_beside(entry)
        });
        self.memory.insert(Arc::clone(entry), now);
        true
    }

    /// Drops from memory what purges or time have ended.
    pub fn drop_gone(&self, key: &str, now: UnixMs) {
        let stamps = self.purges.stamps();
        let is_gone = |entry: &Entry| {
            entry.verdict(&stamps) == Verdict::Gone || entry.stored.keep_until <= now
        };
        self.memory.remove(key, is_gone);
        self.mirror.remove(key, is_gone);
    }

    /// Drops what is kept for a key.
    pub fn remove(&self, key: &str) {
        self.memory.remove(key, |_| true);
        self.mirror.remove(key, |_| true);
    }

    /// The same for what another node owns: it has a memory of its own, so that it does not take the place of what
    /// only this node keeps.
    pub fn insert_mirrored(&self, entry: &Arc<Entry>, now: UnixMs) -> bool {
        let key = entry.resource.key.as_str();
        if self.verdict(entry) == Verdict::Gone
            || entry.cost_bytes() > self.mirror.bytes_max()
            || self.memory.has_overtaken(key, entry)
        {
            return false;
        }
        // One that was fetched here before would hide it.
        self.memory.remove(key, |other| {
            other.fetched_at <= entry.fetched_at && other.is_past_beside(entry)
        });
        self.mirror.insert(Arc::clone(entry), now);
        true
    }

    /// A fetch that begins after a purge is another one than those that began before.
    pub fn since_purges(&self, id: &[u8]) -> Vec<u8> {
        let version = self.purges.stamps().version();
        [id, &version.to_be_bytes()[..]].concat()
    }

    /// What purges say of an answer to a fetch that began at that time.
    pub fn verdict_of(&self, resource: &Resource, tags: &[u64], at: Hlc) -> Verdict {
        resource.verdict(&self.purges.stamps(), tags, at)
    }

    /// Remembers that what was fetched for `id` was for one client alone.
    pub fn fetch_solo(&self, id: &[u8], now: UnixMs, why: NotStored) {
        self.solo.remember(id, now.after(SOLO_TIME), why);
    }

    /// What was fetched for `id` is for everybody again.
    pub fn fetch_shared(&self, id: &[u8]) {
        self.solo.forget(id);
    }

    /// Why everybody fetches `id` for themselves, if that is so: what came last was not kept.
    pub fn why_solo(&self, id: &[u8], now: UnixMs) -> Option<NotStored> {
        self.solo.why(id, now)
    }

    /// Bytes that entries take.
    pub fn bytes(&self) -> u64 {
        self.memory.bytes() + self.mirror.bytes()
    }

    /// Bytes that they may take.
    pub fn bytes_max(&self) -> u64 {
        self.memory.bytes_max() + self.mirror.bytes_max()
    }

    /// How many keys have entries.
    pub fn keys(&self) -> u64 {
        self.memory.keys() + self.mirror.keys()
    }
}
