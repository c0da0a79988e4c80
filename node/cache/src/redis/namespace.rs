//! Parts of the tier that are purged whole, each in one step.
//!
//! The keys of a namespace carry its generation, a number that Redis keeps. Purging the namespace changes the number,
//! so nothing written before is found again; Redis evicts it in time. The number is the stamp of the purge, or of the
//! node that missed it: unlike a counter it never comes back after Redis evicted or forgot it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::queue::Write;
use super::shared::Shared;
use super::{Fetched, KEY_BYTES_MAX, L2, L2Settings, VALUE_BYTES_MAX, read};

/// Longest name of a namespace.
pub const NAME_BYTES_MAX: usize = 64;
/// Namespaces that there may be.
pub const NAMESPACES_MAX: usize = 256;
/// Keys that one command deletes.
const DELETE_KEYS_MAX: usize = 128;
/// Redis takes no duration that ends beyond its calendar.
const TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Why there is no such namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNamespace {
    /// Its name has other characters or another length.
    #[error("namespace {0:?} is not 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, '.', '_' and '-'")]
    Name(String),
    /// There are as many as there may be.
    #[error("there are {NAMESPACES_MAX} namespaces already")]
    TooMany,
}

/// A part of the tier; cheap to clone, usable on any thread.
#[derive(Clone, Debug)]
pub struct Namespace {
    l2: L2,
    generation: Arc<Generation>,
}

impl Namespace {
    pub(super) const fn new(l2: L2, generation: Arc<Generation>) -> Self {
        Self { l2, generation }
    }

    /// What is kept under a key. Waits no longer than the command timeout and asks once.
    pub async fn get(&self, key: &[u8]) -> Fetched {
        let shared = self.shared();
        match self.generation.full_key(key) {
            Some(key) => read::read(shared, &key).await,
            None => {
                shared.counters.away.one();
                Fetched::Away
            }
        }
    }

    /// [`L2::configure`].
    pub fn configure(&self, settings: L2Settings) {
        self.l2.configure(settings);
    }

    /// [`L2::trust_floor`].
    pub fn trust_floor(&self) -> u64 {
        self.l2.trust_floor()
    }

    /// The tier that it is a part of.
    pub const fn tier(&self) -> &L2 {
        &self.l2
    }

    /// Keeps a value for so long, some time soon, if nothing prevents it. An empty value is as good as none.
    pub fn put(&self, key: &[u8], value: Bytes, ttl: Duration) {
        self.put_or_delete(key, value, ttl, None);
    }

    /// The same, and if the value does not get to Redis, what is there is forgotten by that stamp: a reader finds this
    /// value or none. While Redis is away that waits for it; what cannot wait raises [`L2::trust_floor`].
    pub fn replace(&self, key: &[u8], value: Bytes, ttl: Duration, stamp: u64) {
        self.put_or_delete(key, value, ttl, Some(stamp));
    }

    fn put_or_delete(&self, key: &[u8], value: Bytes, ttl: Duration, instead: Option<u64>) {
        let shared = self.shared();
        let fits = (1..=VALUE_BYTES_MAX).contains(&value.len()) && key.len() <= KEY_BYTES_MAX;
        if !fits || ttl < Duration::from_millis(1) {
            shared.counters.puts_refused.one();
            if let Some(stamp) = instead {
                self.delete(&[key], stamp);
            }
            return;
        }
        let full_key = self.generation.full_key(key);
        if let Some(key) = full_key {
            let write = Write::Put {
                key,
                value,
                ttl: ttl.min(TTL_MAX),
                instead,
            };
            match shared.takes_values() {
                true => shared.push(write),
                false => shared.lost(write),
            }
            return;
        }
        shared.counters.puts_dropped.one();
        if let Some(stamp) = instead {
            shared.undelivered(1, stamp);
        }
    }

    /// Forgets keys, by a purge of that stamp. What cannot be delivered raises [`L2::trust_floor`] to it.
    pub fn delete(&self, keys: &[&[u8]], stamp: u64) {
        let shared = self.shared();
        for keys in keys.chunks(DELETE_KEYS_MAX) {
            let full = |key: &&[u8]| self.generation.full_key(key);
            match keys.iter().map(full).collect() {
                Some(keys) => shared.push(Write::Delete { keys, stamp }),
                None => shared.undelivered(keys.len(), stamp),
            }
        }
    }

    /// Forgets everything, by a purge of that stamp, which no other purge has had.
    pub fn purge_all(&self, stamp: u64) {
        let generation = Arc::clone(&self.generation);
        generation.renew(stamp.max(1));
        self.shared().push(Write::Renew { generation, stamp });
    }

    fn shared(&self) -> &Shared {
        self.l2.shared()
    }
}

/// The generation that a namespace is in.
#[derive(Debug)]
pub(super) struct Generation {
    name: String,
    /// 0 until Redis told.
    current: AtomicU64,
    /// Purges that Redis has not been told of yet.
    renewals: AtomicU32,
}

impl Generation {
    pub(super) fn new(name: &str) -> Result<Self, InvalidNamespace> {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_fine) {
            return Err(InvalidNamespace::Name(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            current: AtomicU64::new(0),
            renewals: AtomicU32::new(0),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where Redis keeps it.
    pub(super) fn key(&self) -> String {
        format!("weir:{}:gen", self.name)
    }

    /// The key in Redis; `None` while the generation is not known.
    fn full_key(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self.current.load(Ordering::Acquire) {
            0 => None,
            current => {
                let mut full = format!("weir:{}:{current:x}:", self.name).into_bytes();
                full.extend_from_slice(key);
                Some(full)
            }
        }
    }

    fn renew(&self, stamp: u64) {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        self.current.store(stamp, Ordering::SeqCst);
    }

    /// Redis was told of a purge, or never will be.
    pub(super) fn renewed(&self) {
        self.renewals.fetch_sub(1, Ordering::SeqCst);
    }

    /// What is known before Redis is asked; `None` while it would answer with what a purge ended.
    pub(super) fn before_asking(&self) -> Option<u64> {
        let current = self.current.load(Ordering::SeqCst);
        (self.renewals.load(Ordering::SeqCst) == 0).then_some(current)
    }

    /// What Redis answered, unless a purge came in between.
    pub(super) fn learn(&self, before: u64, seen: u64) {
        if self.renewals.load(Ordering::SeqCst) == 0 {
            let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
            let _ = self.current.compare_exchange(before, seen, set, fetch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_before_a_purge_does_not_bring_the_old_generation_back() {
        let generation = Generation::new("pages").unwrap();
        let before = generation.before_asking().unwrap();
        generation.learn(before, 7);
        assert_eq!(generation.full_key(b"k").unwrap(), b"weir:pages:7:k");

        let before = generation.before_asking().unwrap();
        generation.renew(9);
        generation.learn(before, 7);
        assert_eq!(generation.before_asking(), None);
        generation.renewed();
        generation.learn(before, 7);
        assert_eq!(generation.full_key(b"k").unwrap(), b"weir:pages:9:k");
        assert_eq!(generation.before_asking(), Some(9));
    }

    #[test]
    fn names_that_would_mix_up_keys_are_refused() {
        for name in ["", "a:b", "a b", "{a}", "ä", &"x".repeat(65)] {
            let refused = Generation::new(name).unwrap_err();
            assert_eq!(refused, InvalidNamespace::Name(name.to_owned()));
        }
        assert!(Generation::new("a.b_c-D9").is_ok());
    }
}
