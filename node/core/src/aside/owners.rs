//! Whose copy of a value is believed.
//!
//! The owner of a key changes with the nodes that there are. A node that owned it, lost it to another one and got it
//! back may still have what was put before, and nobody told it what was put meanwhile. So a copy is believed only if
//! its node has owned the key ever since it was put.

use std::collections::BTreeMap;

use crate::cache::UnixMs;
use crate::vpn;

/// Nodes that are remembered beyond those that there are.
const NODES_MAX: usize = 4_096;

/// The other nodes, and when each was there last.
#[derive(Debug, Default)]
pub struct SeenNodes {
    last: BTreeMap<String, UnixMs>,
    /// What was put up to then is not believed: nodes of that time are forgotten.
    floor: UnixMs,
}

impl SeenNodes {
    /// These other nodes are there.
    pub fn see<'a>(&mut self, others: impl IntoIterator<Item = &'a String>, now: UnixMs) {
        for node in others {
            match self.last.get_mut(node) {
                Some(last) => *last = now,
                None => _ = self.last.insert(node.clone(), now),
            }
        }
        while self.last.len() > NODES_MAX {
            let Some((node, last)) = self.last.iter().min_by_key(|(_, last)| **last) else {
                return;
            };
            let (node, last) = (node.clone(), *last);
            self.floor = self.floor.max(last);
            self.last.remove(&node);
        }
    }

    /// Whether no other node has owned the key since then.
    pub fn has_owned_since(&self, key: &str, own: &str, since: UnixMs) -> bool {
        let others = self.last.iter().filter(|(_, last)| since <= **last);
        let candidates: Vec<&str> = others.map(|(node, _)| node.as_str()).chain([own]).collect();
        let owner = vpn::owner(key, &candidates);
        owner.is_some_and(|owner| *owner == own) && (since > self.floor || self.floor.0 == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that `b` owns when it is there, and `a` otherwise.
    fn key() -> String {
        let mut keys = (0..).map(|number| format!("key {number}"));
        keys.find(|key| vpn::owner(key, &["a", "b"]) == Some(&"b"))
            .unwrap()
    }

    #[test]
    fn what_was_put_before_another_node_owned_the_key_is_not_believed_when_that_one_left() {
        let (mut seen, key, b) = (SeenNodes::default(), key(), "b".to_owned());
        assert!(seen.has_owned_since(&key, "a", UnixMs(10)));
        seen.see([&b], UnixMs(20));
        seen.see([&b], UnixMs(30));
        assert!(
            !seen.has_owned_since(&key, "a", UnixMs(10)),
            "b may have put another one"
        );
        seen.see([], UnixMs(40));
        assert!(!seen.has_owned_since(&key, "a", UnixMs(30)));
        assert!(
            seen.has_owned_since(&key, "a", UnixMs(31)),
            "b has gone since"
        );
        assert!(seen.has_owned_since(&key, "b", UnixMs(0)));
    }

    #[test]
    fn forgotten_nodes_raise_a_floor() {
        let mut seen = SeenNodes::default();
        for number in 0..=NODES_MAX as u64 {
            seen.see([&format!("node {number}")], UnixMs(100 + number));
        }
        let late = UnixMs(1_000_000);
        assert!(!seen.has_owned_since("k", "a", UnixMs(100)));
        assert!(seen.has_owned_since("k", "a", late));
    }
}
