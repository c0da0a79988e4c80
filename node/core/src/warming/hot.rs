//! Who came most often within the last while.

use super::space_saving::{Counted, SpaceSaving};

/// Counts over a sliding window: exact for the part of it that has begun last, and of the one before in proportion to
/// how much of that still lies within the window.
#[derive(Clone, Debug)]
pub struct HotKeys<K> {
    capacity: usize,
    window_ms: u64,
    begun_ms: u64,
    current: SpaceSaving<K>,
    before: SpaceSaving<K>,
}

impl<K: Ord + Clone> HotKeys<K> {
    /// Counts up to `capacity` keys within `window_ms`, from `now_ms` on.
    pub fn new(capacity: usize, window_ms: u64, now_ms: u64) -> Self {
        Self {
            capacity,
            window_ms: window_ms.max(1),
            begun_ms: now_ms,
            current: SpaceSaving::new(capacity),
            before: SpaceSaving::new(capacity),
        }
    }

    /// Another window, at once, and room for as many keys from the next one on; what was counted stays counted.
    pub fn configure(&mut self, capacity: usize, window_ms: u64) {
        self.capacity = capacity;
        self.window_ms = window_ms.max(1);
    }

    /// The window, in milliseconds.
    pub fn window_ms(&self) -> u64 {
        self.window_ms
    }

    /// A key came so many times.
    pub fn count(&mut self, key: &K, times: u64, now_ms: u64) {
        self.roll(now_ms);
        self.current.count_many(key, times);
    }

    /// How often a key came within the window before `now_ms`.
    pub fn get(&mut self, key: &K, now_ms: u64) -> Counted {
        self.roll(now_ms);
        let nothing = Counted { count: 0, error: 0 };
        let current = self.current.get(key).unwrap_or(nothing);
        let before = self.before.get(key).unwrap_or(nothing);
        let remaining_ms = self.window_ms - now_ms.saturating_sub(self.begun_ms);
        let share = |count: u64| {
            let share = u128::from(count) * u128::from(remaining_ms) / u128::from(self.window_ms);
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        // Rounded down after the error was taken away, so that nothing counts that did not certainly come.
        let at_least = current.at_least() + share(before.at_least());
        let count = current.count + share(before.count);
        Counted {
            count,
            error: count.saturating_sub(at_least),
        }
    }

    /// The most frequent ones, the first first.
    pub fn top(&mut self, most: usize, now_ms: u64) -> Vec<(K, Counted)> {
        self.roll(now_ms);
        let mut keys: Vec<K> = [&self.current, &self.before]
            .iter()
            .flat_map(|part| part.top(self.capacity))
            .map(|(key, _)| key)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let counted = keys.into_iter().map(|key| {
            let counted = self.get(&key, now_ms);
            (key, counted)
        });
        let mut counted: Vec<_> = counted.filter(|(_, counted)| counted.count > 0).collect();
        counted.sort_by(|a, b| b.1.count.cmp(&a.1.count).then_with(|| a.0.cmp(&b.0)));
        counted.truncate(most);
        counted
    }

    /// Whether a key is counted.
    pub fn contains(&self, key: &K) -> bool {
        self.current.get(key).is_some() || self.before.get(key).is_some()
    }

    fn roll(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.begun_ms) / self.window_ms;
        if passed == 0 {
            return;
        }
        let ended = std::mem::replace(&mut self.current, SpaceSaving::new(self.capacity));
        self.before = match passed {
            1 => ended,
            _ => SpaceSaving::new(self.capacity),
        };
        self.begun_ms += passed * self.window_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn what_came_within_the_last_hour_counts_and_fades() {
        let mut hot = HotKeys::new(8, HOUR_MS, 0);
        hot.count(&"a", 10, 5);
        assert_eq!(hot.get(&"a", HOUR_MS - 1).count, 10);
        assert_eq!(hot.get(&"a", HOUR_MS + HOUR_MS / 2).count, 5);
        hot.count(&"a", 3, HOUR_MS + HOUR_MS / 2);
        assert_eq!(hot.get(&"a", HOUR_MS + HOUR_MS / 2).at_least(), 8);
        assert_eq!(hot.get(&"a", 3 * HOUR_MS).count, 0);
        assert!(hot.top(8, 3 * HOUR_MS).is_empty());
    }

    #[test]
    fn the_hottest_come_first_from_both_parts_of_the_window() {
        let mut hot = HotKeys::new(8, HOUR_MS, 0);
        hot.count(&"old", 100, 0);
        hot.count(&"new", 20, HOUR_MS);
        let top: Vec<_> = hot.top(8, HOUR_MS + HOUR_MS / 2).into_iter().collect();
        let counts: Vec<_> = top.iter().map(|(key, c)| (*key, c.count)).collect();
        assert_eq!(counts, [("old", 50), ("new", 20)]);
        assert_eq!(hot.top(1, HOUR_MS + HOUR_MS / 2).len(), 1);
    }

    #[test]
    fn a_clock_that_goes_back_or_far_ahead_does_no_harm() {
        let mut hot = HotKeys::new(2, 1_000, 10_000);
        hot.count(&1, 1, 5);
        assert_eq!(hot.get(&1, 0).count, 1);
        assert_eq!(hot.get(&1, u64::MAX).count, 0);
        hot.count(&1, u64::MAX, u64::MAX);
        hot.count(&1, 1, u64::MAX);
        assert_eq!(hot.get(&1, u64::MAX).count, u64::MAX);
    }

    #[test]
    fn never_are_more_keys_counted_than_there_is_room_for() {
        let mut hot = HotKeys::new(16, HOUR_MS, 0);
        for key in 0..1_000 {
            hot.count(&key, 1, key);
        }
        assert_eq!(hot.top(1_000, 1_000).len(), 16);
    }
}
