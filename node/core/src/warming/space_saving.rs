//! Who comes most often, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};

/// How many keys are counted within one window, unless said otherwise.
pub const COUNTED_KEYS: usize = 1_024;

/// How many times something came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// At most as often as this.
    pub count: u64,
    /// At least `count` less this.
    pub error: u64,
}

impl Counted {
    /// At least as often as this.
    pub fn at_least(self) -> u64 {
        self.count - self.error
    }
}

/// The SpaceSaving counter (Metwally, Agrawal, El Abbadi 2005): whatever came more often than one in `capacity` is in
/// it, and no count is too low.
#[derive(Clone, Debug)]
pub struct SpaceSaving<K> {
    capacity: usize,
    counted: BTreeMap<K, Counted>,
    /// The same keys by count, so that the least is found at once.
    by_count: BTreeSet<(u64, K)>,
}

impl<K: Ord + Clone> SpaceSaving<K> {
    /// Counts up to `capacity` keys (at least one) at a time.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            counted: BTreeMap::new(),
            by_count: BTreeSet::new(),
        }
    }

    /// It came once more. What takes the place of the least frequent one takes over its count as its error.
    pub fn count(&mut self, key: &K) -> Counted {
        self.count_many(key, 1)
    }

    /// It came so many times more.
    pub fn count_many(&mut self, key: &K, times: u64) -> Counted {
        let before = match self.counted.get(key) {
            Some(before) => {
                self.by_count.remove(&(before.count, key.clone()));
                *before
            }
            None if self.counted.len() < self.capacity => Counted { count: 0, error: 0 },
            None => {
                let least = self.by_count.pop_first();
                let count = least.map_or(0, |(count, least)| {
                    self.counted.remove(&least);
                    count
                });
                Counted {
                    count,
                    error: count,
                }
            }
        };
        let counted = Counted {
            count: before.count.saturating_add(times),
            ..before
        };
        self.counted.insert(key.clone(), counted);
        self.by_count.insert((counted.count, key.clone()));
        counted
    }

    /// How often it came; none: at most as often as whatever is counted.
    pub fn get(&self, key: &K) -> Option<Counted> {
        self.counted.get(key).copied()
    }

    /// The most frequent ones, the first first.
    pub fn top(&self, most: usize) -> Vec<(K, Counted)> {
        let by_count = self.by_count.iter().rev().take(most);
        by_count
            .filter_map(|(_, key)| Some((key.clone(), self.get(key)?)))
            .collect()
    }

    /// A new window begins: everything is forgotten.
    pub fn reset(&mut self) {
        self.counted.clear();
        self.by_count.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_long_as_there_is_room_counts_are_exact() {
        let mut counter = SpaceSaving::new(3);
        for key in ["a", "b", "a", "c", "a", "b"] {
            counter.count(&key);
        }
        let counts: Vec<_> = counter
            .top(9)
            .into_iter()
            .map(|(key, counted)| (key, counted.count, counted.error))
            .collect();
        assert_eq!(counts, [("a", 3, 0), ("b", 2, 0), ("c", 1, 0)]);
        assert_eq!(counter.top(1).len(), 1);
        counter.reset();
        assert_eq!(counter.get(&"a"), None);
    }

    #[test]
    fn a_newcomer_takes_over_the_count_of_the_least() {
        let mut counter = SpaceSaving::new(2);
        for key in ["a", "a", "b"] {
            counter.count(&key);
        }
        let counted = counter.count(&"c");
        assert_eq!(counted, Counted { count: 2, error: 1 });
        assert_eq!(counted.at_least(), 1);
        assert_eq!(counter.get(&"b"), None);
    }

    #[test]
    fn what_comes_often_is_found_among_much_that_comes_once() {
        let mut counter = SpaceSaving::new(64);
        let mut random = fastrand::Rng::with_seed(1);
        let mut exact = BTreeMap::new();
        for _ in 0..20_000 {
            let key = match random.u32(..) % 3 {
                0 => u64::from(random.u8(..8)),
                _ => random.u64(100..),
            };
            counter.count(&key);
            *exact.entry(key).or_insert(0_u64) += 1;
        }
        for key in 0..8 {
            let counted = counter.get(&key).unwrap();
            assert!((counted.at_least()..=counted.count).contains(&exact[&key]));
        }
        let top: BTreeSet<u64> = counter.top(8).into_iter().map(|(key, _)| key).collect();
        assert_eq!(top, (0..8).collect());
        assert_eq!(counter.top(1_000).len(), 64);
    }
}
