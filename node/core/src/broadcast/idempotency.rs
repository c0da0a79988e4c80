//! A message that is published twice is one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::cache::UnixMs;

/// How long a key is remembered.
const KEPT: Duration = Duration::from_secs(120);
/// Keys of one topic; beyond, the oldest is forgotten early.
const KEYS_MAX: usize = 1_024;
/// What a key takes beside its own bytes, which are there twice.
const KEY_BYTES: usize = 96;

/// Keys of a topic's newest messages and the offsets that those were given.
#[derive(Debug, Default)]
pub struct Recent {
    offsets: BTreeMap<Box<str>, u64>,
    order: VecDeque<(UnixMs, Box<str>)>,
    bytes: usize,
}

impl Recent {
    /// The offset that was given to the message with this key.
    pub fn find(&self, key: &str) -> Option<u64> {
        self.offsets.get(key).copied()
    }

    /// Remembers a key.
    pub fn remember(&mut self, key: &str, offset: u64, now: UnixMs) {
        self.forget_old(now);
        if self.offsets.insert(key.into(), offset).is_some() {
            return;
        }
        self.order.push_back((now, key.into()));
        self.bytes += cost(key);
        if self.order.len() > KEYS_MAX {
            self.forget_first();
        }
    }

    /// Forgets what is old.
    pub fn forget_old(&mut self, now: UnixMs) {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| now.since(*at) >= KEPT)
        {
            self.forget_first();
        }
    }

    /// Forgets everything: offsets begin anew.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// What they take, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.offsets.remove(&key);
            self.bytes -= cost(&key);
        }
    }
}

fn cost(key: &str) -> usize {
    2 * key.len() + KEY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_for_120_s_and_no_longer() {
        let mut recent = Recent::default();
        recent.remember("a", 1, UnixMs(0));
        recent.forget_old(UnixMs(119_999));
        assert_eq!(recent.find("a"), Some(1));
        recent.forget_old(UnixMs(120_000));
        assert_eq!((recent.find("a"), recent.bytes()), (None, 0));
    }

    #[test]
    fn the_oldest_of_too_many_keys_is_forgotten() {
        let mut recent = Recent::default();
        for n in 0..2_000_u64 {
            recent.remember(&n.to_string(), n, UnixMs(n));
        }
        assert_eq!(
            (recent.order.len(), recent.offsets.len()),
            (KEYS_MAX, KEYS_MAX)
        );
        assert_eq!((recent.find("975"), recent.find("976")), (None, Some(976)));
    }
}
