//! Which keys of other owners a node keeps.

use std::collections::BTreeMap;

use super::Rate;

/// Bounds of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorLimits {
    /// Bytes: an eighth of the first tier.
    pub bytes_max: u64,
    /// Keys that are watched and not mirrored.
    pub watched_max: usize,
    /// Requests a second that make a key hot whatever else there is.
    pub hot_per_second: u64,
}

impl MirrorLimits {
    /// Of a node with this first tier, in bytes.
    pub fn of_l1(l1_bytes: u64) -> Self {
        Self {
            bytes_max: l1_bytes / 8,
            watched_max: 4_096,
            hot_per_second: 20,
        }
    }
}

/// What to do with a response that another node gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promotion<K> {
    /// Keep it, and drop these.
    Mirror {
        /// Which ones leave.
        evicted: Vec<K>,
    },
    /// Not hot enough, or too large.
    Pass,
}

/// Which keys are mirrored, and how hot they are.
#[derive(Clone, Debug)]
pub struct Mirror<K> {
    limits: MirrorLimits,
    watched: BTreeMap<K, Rate>,
}

impl<K: Ord + Clone> Mirror<K> {
    /// Nothing is mirrored.
    pub fn new(limits: MirrorLimits) -> Self {
        Self {
            limits,
            watched: BTreeMap::new(),
        }
    }

    /// A key of another owner was asked for; also on each hit of the mirror (or on a sample of them).
    pub fn asked(&mut self, key: &K, now_ms: u64) {
        self.watched.insert(key.clone(), Rate::new(now_ms));
    }

    /// The owner's answer is here, `bytes` of it: whether to keep it.
    pub fn offer(&mut self, key: &K, bytes: u64, now_ms: u64) -> Promotion<K> {
        let _ = (key, bytes, now_ms, self.limits);
        panic!("not written yet")
    }

    /// It is mirrored no more (purged, expired).
    pub fn remove(&mut self, key: &K) {
        self.watched.remove(key);
    }

    /// Bytes that are mirrored.
    pub fn bytes(&self) -> u64 {
        panic!("not written yet")
    }
}
