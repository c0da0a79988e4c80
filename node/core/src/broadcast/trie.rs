//! Which patterns take a name, without asking each of them.

use std::collections::BTreeMap;

use super::{OWN_TOPICS, Pattern, TopicName};

/// Patterns and who has them. A look-up visits what patterns have in common once.
#[derive(Debug)]
pub struct PatternTrie<T> {
    root: Node<T>,
    patterns: usize,
}

#[derive(Debug)]
struct Node<T> {
    next: BTreeMap<Box<str>, Node<T>>,
    /// Whose pattern ends here.
    here: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            next: BTreeMap::new(),
            here: Vec::new(),
        }
    }
}

impl<T> Default for PatternTrie<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            patterns: 0,
        }
    }
}

impl<T: Clone + PartialEq> PatternTrie<T> {
    /// Adds a pattern of `whose`; whether it is new.
    pub fn insert(&mut self, pattern: &Pattern, whose: T) -> bool {
        let mut node = &mut self.root;
        for segment in pattern.as_str().split('.') {
            node = node.next.entry(segment.into()).or_default();
        }
        if node.here.contains(&whose) {
            return false;
        }
        node.here.push(whose);
        self.patterns += 1;
        true
    }

    /// Removes a pattern of `whose`; whether it was there.
    pub fn remove(&mut self, pattern: &Pattern, whose: &T) -> bool {
        let segments: Vec<_> = pattern.as_str().split('.').collect();
        let removed = remove(&mut self.root, &segments, whose);
        self.patterns -= usize::from(removed);
        removed
    }

    /// Whether somebody has this pattern.
    pub fn contains(&self, pattern: &Pattern) -> bool {
        let mut node = &self.root;
        for segment in pattern.as_str().split('.') {
            let Some(next) = node.next.get(segment) else {
                return false;
            };
            node = next;
        }
        !node.here.is_empty()
    }

    /// Whose patterns take a topic; who has several that do is there several times.
    pub fn takers(&self, topic: &TopicName) -> Vec<T> {
        let mut takers = Vec::new();
        if self.patterns > 0 {
            let segments: Vec<_> = topic.as_str().split('.').collect();
            let own = topic.as_str().starts_with(OWN_TOPICS);
            find(&self.root, &segments, !own, &mut takers);
        }
        takers
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.patterns
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.patterns == 0
    }
}

fn find<T: Clone>(node: &Node<T>, segments: &[&str], wild: bool, takers: &mut Vec<T>) {
    let Some((first, rest)) = segments.split_first() else {
        takers.extend_from_slice(&node.here);
        return;
    };
    if let Some(next) = node.next.get(*first) {
        find(next, rest, true, takers);
    }
    if !wild {
        return;
    }
    if let Some(next) = node.next.get("*") {
        find(next, rest, true, takers);
    }
    if let Some(next) = node.next.get(">") {
        takers.extend_from_slice(&next.here);
    }
}

fn remove<T: PartialEq>(node: &mut Node<T>, segments: &[&str], whose: &T) -> bool {
    let Some((first, rest)) = segments.split_first() else {
        let before = node.here.len();
        node.here.retain(|other| other != whose);
        return node.here.len() < before;
    };
    let Some(next) = node.next.get_mut(*first) else {
        return false;
    };
    let removed = remove(next, rest, whose);
    if next.here.is_empty() && next.next.is_empty() {
        node.next.remove(*first);
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut trie = PatternTrie::default();
        let patterns = ["a.*", "a.>", "*.b"].map(|text| Pattern::new(text).unwrap());
        for pattern in &patterns {
            assert!(trie.insert(pattern, 1) && !trie.insert(pattern, 1));
        }
        assert_eq!(trie.takers(&TopicName::new("a.b").unwrap()).len(), 3);
        for pattern in &patterns {
            assert!(
                trie.contains(pattern) && trie.remove(pattern, &1) && !trie.remove(pattern, &1)
            );
        }
        assert!(trie.is_empty() && trie.root.next.is_empty());
    }
}
