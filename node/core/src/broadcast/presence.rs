//! Who is there, of all nodes.
//!
//! Each node alone says who is with it, as a whole and with a number that rises: merging is keeping the newest of each
//! node, in whatever order they come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::UnixMs;

/// Bounds of what is known of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceLimits {
    /// How long a node's word holds that says nothing more.
    pub ttl: Duration,
    /// Changes are told together, at most once in this time.
    pub interval: Duration,
    /// Beyond so many members only their number is told.
    pub members_max: usize,
}

impl Default for PresenceLimits {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            interval: Duration::from_secs(1),
            members_max: 10_000,
        }
    }
}

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Present {
    /// Everybody, by name; each once, however many connections they have on however many nodes.
    Members(BTreeSet<Arc<str>>),
    /// Too many to name; who is on several nodes counts on each.
    Count(usize),
}

/// Who came and went since it was told last. Who came and went in between is in neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Who is there and was not.
    pub joined: Vec<Arc<str>>,
    /// Who was there and is not.
    pub left: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Word {
    version: u64,
    said_at: UnixMs,
    members: BTreeSet<Arc<str>>,
    /// All of them, also when they are not named.
    count: usize,
}

/// What all nodes say of a topic.
#[derive(Debug, Default)]
pub struct Presence {
    nodes: BTreeMap<Arc<str>, Word>,
    told: BTreeSet<Arc<str>>,
    told_at: Option<UnixMs>,
}

impl Presence {
    /// Takes what a node says, unless something newer is known of it; whether it was taken. A node that has more
    /// members than may be named says `count` alone.
    pub fn merge(
        &mut self,
        node: &str,
        version: u64,
        members: BTreeSet<Arc<str>>,
        count: usize,
        now: UnixMs,
    ) -> bool {
        if self
            .nodes
            .get(node)
            .is_some_and(|word| word.version > version)
        {
            return false;
        }
        let count = count.max(members.len());
        let word = Word {
            version,
            said_at: now,
            members,
            count,
        };
        self.nodes.insert(node.into(), word);
        true
    }

    /// Forgets what nodes said that say nothing more.
    pub fn expire(&mut self, now: UnixMs, limits: PresenceLimits) {
        self.nodes
            .retain(|_, word| now.since(word.said_at) < limits.ttl);
    }

    /// Who is there.
    pub fn present(&self, limits: PresenceLimits) -> Present {
        let count = self.nodes.values().map(|word| word.count).sum();
        let named: usize = self.nodes.values().map(|word| word.members.len()).sum();
        if count > limits.members_max || named < count {
            return Present::Count(count);
        }
        let members = self.nodes.values().flat_map(|word| word.members.iter());
        Present::Members(members.cloned().collect())
    }

    /// Who came and went, when it is time to tell it and there is something to tell. Nobody is told by name while there
    /// are too many.
    pub fn changes(&mut self, now: UnixMs, limits: PresenceLimits) -> Option<Changes> {
        if self
            .told_at
            .is_some_and(|at| now.since(at) < limits.interval)
        {
            return None;
        }
        let Present::Members(members) = self.present(limits) else {
            return None;
        };
        if members == self.told {
            return None;
        }
        let changes = Changes {
            joined: members.difference(&self.told).cloned().collect(),
            left: self.told.difference(&members).cloned().collect(),
        };
        self.told = members;
        self.told_at = Some(now);
        Some(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PresenceLimits = PresenceLimits {
        ttl: Duration::from_secs(60),
        interval: Duration::from_secs(1),
        members_max: 3,
    };

    fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn who_is_on_two_nodes_comes_once_and_goes_once() {
        let mut presence = Presence::default();
        presence.merge("a", 1, names(&["ann"]), 1, UnixMs(0));
        presence.merge("b", 1, names(&["ann", "bob"]), 2, UnixMs(0));
        let changes = presence.changes(UnixMs(0), LIMITS).unwrap();
        assert_eq!((changes.joined.len(), changes.left.len()), (2, 0));
        presence.merge("a", 2, names(&[]), 0, UnixMs(2_000));
        assert_eq!(presence.changes(UnixMs(2_000), LIMITS), None);
        presence.merge("b", 2, names(&["bob"]), 1, UnixMs(2_000));
        let changes = presence.changes(UnixMs(2_000), LIMITS).unwrap();
        assert_eq!(changes.left, [Arc::from("ann")]);
    }

    #[test]
    fn who_comes_and_goes_within_a_second_is_not_told() {
        let mut presence = Presence::default();
        presence.merge("a", 1, names(&["ann"]), 1, UnixMs(0));
        assert!(presence.changes(UnixMs(0), LIMITS).is_some());
        presence.merge("a", 2, names(&["ann", "bob"]), 2, UnixMs(100));
        assert_eq!(presence.changes(UnixMs(100), LIMITS), None);
        presence.merge("a", 3, names(&["ann"]), 1, UnixMs(200));
        assert_eq!(presence.changes(UnixMs(1_000), LIMITS), None);
    }

    #[test]
    fn a_late_word_changes_nothing_and_a_silent_node_is_forgotten() {
        let mut presence = Presence::default();
        assert!(presence.merge("a", 5, names(&["ann"]), 1, UnixMs(0)));
        assert!(!presence.merge("a", 4, names(&["bob"]), 1, UnixMs(1)));
        assert_eq!(presence.present(LIMITS), Present::Members(names(&["ann"])));
        presence.expire(UnixMs(59_999), LIMITS);
        assert_eq!(presence.present(LIMITS), Present::Members(names(&["ann"])));
        presence.expire(UnixMs(60_000), LIMITS);
        assert_eq!(presence.present(LIMITS), Present::Members(names(&[])));
    }

    #[test]
    fn too_many_members_are_a_number() {
        let mut presence = Presence::default();
        presence.merge("a", 1, names(&["1", "2", "3", "4"]), 4, UnixMs(0));
        presence.merge("b", 1, names(&[]), 9_000, UnixMs(0));
        assert_eq!(presence.present(LIMITS), Present::Count(9_004));
        assert_eq!(presence.changes(UnixMs(0), LIMITS), None);
    }
}
