//! Keys whose owner, another node, breaks off in the midst of its answers.
//!
//! By then its readers have the beginning and are cut. One that does so again at the next answer would do so for as
//! long as anybody asks, so it is not asked for that key for a while; its other keys are as good as before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use weir_core::cache::{Key, UnixMs};
use weir_core::purge::key_id;

/// For so long it is not asked, and so long a break is remembered.
pub(super) const LET_ALONE_MS: u64 = 10_000;
/// So many answers that break off, and none that came whole between them.
pub(super) const BREAKS_MAX: u32 = 2;
/// Keys that are remembered; of further ones nothing is, until some of these are forgotten.
const KEYS_MAX: usize = 1_024;

#[derive(Debug)]
struct Broken {
    times: u32,
    last: UnixMs,
}

impl Broken {
    fn is_past(&self, now: UnixMs) -> bool {
        now.0 >= self.last.0 + LET_ALONE_MS
    }
}

/// What is remembered of keys that others own.
#[derive(Debug, Default)]
pub(super) struct Breaks {
    keys: Mutex<HashMap<u64, Broken>>,
    /// Whether there are any: most fetches look no further.
    any: AtomicBool,
}

impl Breaks {
    /// Whether the owner of this key is not to be asked for it.
    pub(super) fn lets_alone(&self, key: &Key, now: UnixMs) -> bool {
        self.any.load(Ordering::Relaxed)
            && self
                .keys
                .lock()
                .get(&id_of(key))
                .is_some_and(|broken| broken.times >= BREAKS_MAX && !broken.is_past(now))
    }

    /// An answer for this key broke off.
    pub(super) fn broke_off(&self, key: &Key, now: UnixMs) {
        let mut keys = self.keys.lock();
        let id = id_of(key);
        if keys.len() >= KEYS_MAX && !keys.contains_key(&id) {
            keys.retain(|_, broken| !broken.is_past(now));
            if keys.len() >= KEYS_MAX {
                return;
            }
        }
        let broken = keys.entry(id).or_insert(Broken {
            times: 0,
            last: now,
        });
        broken.times = broken.times.saturating_add(1);
        broken.last = now;
        self.any.store(true, Ordering::Relaxed);
    }

    /// One came whole.
    pub(super) fn came_whole(&self, key: &Key) {
        if self.any.load(Ordering::Relaxed) {
            let mut keys = self.keys.lock();
            keys.remove(&id_of(key));
            self.any.store(!keys.is_empty(), Ordering::Relaxed);
        }
    }
}

fn id_of(key: &Key) -> u64 {
    key_id(key.namespace(), key.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(5);

    fn key(number: usize) -> Key {
        Key::of_value("values", &number.to_string()).unwrap()
    }

    #[test]
    fn an_owner_that_breaks_off_twice_in_a_row_is_let_alone_for_that_key_for_10_seconds() {
        let breaks = Breaks::default();
        breaks.broke_off(&key(1), NOW);
        assert!(!breaks.lets_alone(&key(1), NOW), "once may be chance");
        breaks.broke_off(&key(1), NOW);
        assert!(breaks.lets_alone(&key(1), UnixMs(10_004)));
        assert!(!breaks.lets_alone(&key(2), NOW), "other keys are as good");
        assert!(!breaks.lets_alone(&key(1), UnixMs(10_005)));
        breaks.broke_off(&key(1), UnixMs(10_006));
        assert!(breaks.lets_alone(&key(1), UnixMs(10_007)), "it still does");
    }

    #[test]
    fn an_answer_that_comes_whole_makes_up_for_what_broke_off_before() {
        let breaks = Breaks::default();
        breaks.broke_off(&key(1), NOW);
        breaks.came_whole(&key(1));
        breaks.broke_off(&key(1), NOW);
        assert!(!breaks.lets_alone(&key(1), NOW));
        breaks.came_whole(&key(1));
        assert!(!breaks.any.load(Ordering::Relaxed));
    }

    #[test]
    fn keys_that_are_remembered_have_a_bound() {
        let breaks = Breaks::default();
        for _ in 0..BREAKS_MAX {
            for number in 0..=KEYS_MAX {
                breaks.broke_off(&key(number), NOW);
            }
        }
        assert_eq!(breaks.keys.lock().len(), KEYS_MAX);
        assert!(!breaks.lets_alone(&key(KEYS_MAX), NOW));
        let later = UnixMs(NOW.0 + LET_ALONE_MS);
        breaks.broke_off(&key(KEYS_MAX), later);
        assert_eq!(breaks.keys.lock().len(), 1, "what is past made room");
    }
}
