//! Values that applications put: entries like all others, under keys that no request has.
//!
//! The node that owns a key has its value in memory and writes it to Redis; there, one after the other, versions are
//! compared, leases given and changes told. Which node that is, is not known here.

mod changes;
mod ends;
#[cfg(test)]
mod ends_tests;
mod put;
mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;
use std::hash::BuildHasher as _;
use tokio::sync::Notify;
use weir_core::aside::{Asked, Lease, Leases, SeenNodes};
use weir_core::cache::UnixMs;
use weir_core::purge::{Hlc, Verdict};

pub use self::changes::{Changes, TOO_MANY_ENDS, TooManyWatchers, Watcher};
pub use self::put::{PutOrder, PutRefused};
pub use self::value::{tags_of, version_of};

use crate::entry::{Entry, Resource};
use crate::redis::Fetched;
use crate::store::{Found, Store};
use crate::value as stored;

/// Callers that wait for somebody's load, on one node.
const WAITING_MAX: usize = 16_384;
const TURNS: usize = 64;

/// What there is of values beside their entries.
#[derive(Debug)]
pub struct Values {
    /// What happened to them.
    pub changes: Changes,
    state: Mutex<State>,
    /// Wakes those who wait for a key, and a few others.
    turns: Box<[Notify]>,
    hasher: DefaultHashBuilder,
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    leases: Leases,
    seen: SeenNodes,
}

/// What whoever wants a value gets.
#[derive(Debug)]
pub enum ValueOrLease {
    /// The value.
    Value(Arc<Entry>),
    /// The lease to load it, which began then.
    Lease(Hlc),
    /// Somebody else has the lease until then.
    Held(UnixMs),
    /// Too many loads are under way.
    Full,
}

/// One who waits for somebody's load.
#[derive(Debug)]
pub struct Waiting<'a>(&'a Values);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Values {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            changes: Changes::new(epoch),
            state: Mutex::default(),
            turns: (0..TURNS).map(|_| Notify::new()).collect(),
            hasher: DefaultHashBuilder::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// These other nodes are there.
    pub fn see(&self, others: &[String], now: UnixMs) {
        self.state.lock().seen.see(others, now);
    }

    /// A place among those who wait; `None`: there is none.
    pub fn wait(&self) -> Option<Waiting<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
        (before < WAITING_MAX).then_some(waiting)
    }

    /// Whoever wants to know of a put of this key.
    pub fn turn(&self, resource: &Resource) -> &Notify {
        let at = usize::try_from(self.hasher.hash_one(resource.key_id())).unwrap_or(0) % TURNS;
        &self.turns[at]
    }
}

impl<F: Clone + Send + Sync> Store<F> {
    /// The value in the memory of node `own`, if that has owned the key since it was put.
    pub fn value_in_memory(
        &self,
        resource: &Resource,
        own: &str,
        now: UnixMs,
    ) -> Option<Arc<Entry>> {
        let state = self.values.state.lock();
        self.believed(&state, resource, own, now)
    }

    fn believed(
        &self,
        state: &State,
        resource: &Resource,
        own: &str,
        now: UnixMs,
    ) -> Option<Arc<Entry>> {
        let key = resource.key.as_str();
        let entry = match self.find(key, &HeaderMap::new(), now) {
            Found::Entry(entry, Verdict::Valid) if now < entry.stored.fresh_until => entry,
            _ => return None,
        };
        let since = entry.taken_at();
        let is_own = state.seen.has_owned_since(key, own, since);
        is_own.then_some(entry)
    }

    /// The value in Redis, if it is to be believed.
    pub async fn value_in_redis(&self, resource: &Resource, now: UnixMs) -> Option<Arc<Entry>> {
        let l2 = self.l2()?;
        let Fetched::Hit(bytes) = l2.get(&stored::key_of(resource, None)).await else {
            return None;
        };
        let entry = Arc::new(value::decode(&bytes, resource)?);
        let is_trusted = entry.fetched_at.time() >= l2.trust_floor()
            && self.verdict(&entry) == Verdict::Valid
            && now < entry.stored.fresh_until;
        is_trusted.then_some(entry)
    }

    /// Takes a value from Redis into memory, unless there is one, or clients hold all that may be dropped for it.
    pub fn take_value(&self, entry: &Arc<Entry>, own: &str, now: UnixMs) {
        if !self.fills.makes_room() {
            return;
        }
        let state = self.values.state.lock();
        if self.believed(&state, &entry.resource, own, now).is_none() {
            self.insert(entry, now);
        }
    }

    /// The value in the memory of node `own`, or the lease to load it, from now until `ends`. Both in one: between a
    /// look and a lease the value could come.
    pub fn value_or_lease(
        &self,
        resource: &Resource,
        own: &str,
        now: UnixMs,
        ends: UnixMs,
    ) -> ValueOrLease {
        let began = self.fetch_time(now);
        let is_void = |held: &Lease| self.verdict_of(resource, &[], held.began) >= Verdict::Unsure;
        let mut state = self.values.state.lock();
        if let Some(entry) = self.believed(&state, resource, own, now) {
            return ValueOrLease::Value(entry);
        }
        let lease = Lease { began, ends };
        match state.leases.ask(resource.key.as_str(), lease, now, is_void) {
            Asked::Granted => ValueOrLease::Lease(began),
            Asked::Held(ends) => ValueOrLease::Held(ends),
            Asked::Full => ValueOrLease::Full,
        }
    }
}
