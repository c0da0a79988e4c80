//! How many there are, and who registered them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Everyone who is registered: nodes by id, or backends by `service/backend`.
#[derive(Clone, Debug, Default)]
pub struct Census {
    tokens: BTreeMap<Arc<str>, Arc<str>>,
    by_token: BTreeMap<Arc<str>, usize>,
    by_service: BTreeMap<Arc<str>, usize>,
}

/// Of a backend its service; nodes have none.
fn service_of(name: &str) -> &str {
    name.split_once('/').map_or("", |(service, _)| service)
}

impl Census {
    /// Takes note of one, and of the token that it showed; empty without one. True if anything is other than before.
    pub fn put(&mut self, name: &str, token: &str) -> bool {
        if self.tokens.get(name).is_some_and(|had| **had == *token) {
            return false;
        }
        self.remove(name);
        self.tokens.insert(name.into(), token.into());
        add(&mut self.by_token, token);
        add(&mut self.by_service, service_of(name));
        true
    }

    /// Takes one out; true if it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(token) = self.tokens.remove(name) else {
            return false;
        };
        take(&mut self.by_token, &token);
        take(&mut self.by_service, service_of(name));
        true
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether one is there.
    pub fn contains(&self, name: &str) -> bool {
        self.tokens.contains_key(name)
    }

    /// Whether one is there that showed this token.
    pub fn contains_by(&self, name: &str, token: &str) -> bool {
        self.tokens.get(name).is_some_and(|had| **had == *token)
    }

    /// How many showed this token.
    pub fn of_token(&self, token: &str) -> usize {
        self.by_token.get(token).copied().unwrap_or(0)
    }

    /// How many backends the service of this one has.
    pub fn of_service_of(&self, name: &str) -> usize {
        self.by_service.get(service_of(name)).copied().unwrap_or(0)
    }

    /// Takes out whoever does not pass.
    pub fn retain(&mut self, mut stays: impl FnMut(&str) -> bool) {
        let gone: Vec<Arc<str>> = self
            .tokens
            .keys()
            .filter(|name| !stays(name))
            .map(Arc::clone)
            .collect();
        for name in gone {
            self.remove(&name);
        }
    }
}

fn add(counts: &mut BTreeMap<Arc<str>, usize>, of: &str) {
    match counts.get_mut(of) {
        Some(count) => *count += 1,
        None => drop(counts.insert(of.into(), 1)),
    }
}

fn take(counts: &mut BTreeMap<Arc<str>, usize>, of: &str) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_counts_once_for_their_token_and_their_service() {
        let mut census = Census::default();
        assert!(census.put("web/a", "one"));
        assert!(!census.put("web/a", "one"), "it is known");
        census.put("web/b", "one");
        census.put("api/a", "two");
        let counts = |census: &Census| {
            let of_tokens = ["one", "two"].map(|token| census.of_token(token));
            (census.len(), of_tokens, census.of_service_of("web/c"))
        };
        assert_eq!(counts(&census), (3, [2, 1], 2));
        assert!(census.put("web/a", "two"), "another token has it now");
        assert_eq!(counts(&census), (3, [1, 2], 2));
        assert!(census.remove("web/b") && !census.remove("web/b"));
        assert_eq!(counts(&census), (2, [0, 2], 1));
        census.retain(|name| name == "api/a");
        assert_eq!(counts(&census), (1, [0, 1], 0));
    }
}
