//! A hybrid logical clock: wall time that never goes back and never falls behind what was seen.

use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

const COUNTER_BITS: u32 = 16;
/// The last millisecond that a stamp can tell.
const LAST_MS: u64 = (1 << (64 - COUNTER_BITS)) - 1;

/// How far a stamp of another node may be ahead of this node's wall clock, in milliseconds.
pub const DEFAULT_DRIFT_MAX_MS: u64 = 2_000;

/// When something happened, in an order that respects cause and effect among nodes.
///
/// Ordered by time, then by node, so that any two stamps of different events differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc {
    time: u64,
    node: u32,
}

impl Hlc {
    /// Before everything.
    pub const ZERO: Self = Self { time: 0, node: 0 };

    /// A stamp of its parts; a time past what a stamp can tell (the year 10889) is the last one.
    pub fn new(unix_ms: u64, counter: u16, node: u32) -> Self {
        let time = (unix_ms.min(LAST_MS) << COUNTER_BITS) | u64::from(counter);
        Self { time, node }
    }

    /// A stamp as [`Self::time`] and [`Self::node`] told it.
    pub const fn from_time(time: u64, node: u32) -> Self {
        Self { time, node }
    }

    /// Milliseconds and counter in one number, which orders as time does.
    pub const fn time(self) -> u64 {
        self.time
    }

    /// Milliseconds since 1970.
    pub const fn unix_ms(self) -> u64 {
        self.time >> COUNTER_BITS
    }

    /// Which of the events of that millisecond.
    pub const fn counter(self) -> u16 {
        (self.time & 0xffff) as u16
    }

    /// The node that made it.
    pub const fn node(self) -> u32 {
        self.node
    }
}

/// A stamp that this node does not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the stamp of node {node} is {ahead_ms} ms ahead of the wall clock, at most {bound_ms} ms are followed"
)]
pub struct TooFarAhead {
    /// Whose stamp it is.
    pub node: u32,
    /// How far ahead it is.
    pub ahead_ms: u64,
    /// How far ahead it may be.
    pub bound_ms: u64,
}

/// A node's clock; any thread may ask it, and none waits for another.
#[derive(Debug)]
pub struct HlcClock {
    last: AtomicU64,
    node: u32,
    drift_max_ms: u64,
}

impl HlcClock {
    /// A clock that has seen nothing. `drift_max_ms`: how far ahead of the wall clock stamps of others may be.
    pub fn new(node: u32, drift_max_ms: u64) -> Self {
        Self {
            last: AtomicU64::new(0),
            node,
            drift_max_ms,
        }
    }

    /// A stamp that is after every stamp that this clock gave or saw.
    pub fn now(&self, wall_unix_ms: u64) -> Hlc {
        let wall = wall_unix_ms.min(LAST_MS) << COUNTER_BITS;
        let next = |last: u64| wall.max(last.saturating_add(1));
        let updated = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        // The closure never refuses: either way it is the value before.
        let (Ok(before) | Err(before)) = updated;
        Hlc::from_time(next(before), self.node)
    }

    /// Follows a stamp of another node: what this clock gives from now on is after it.
    ///
    /// # Errors
    ///
    /// A stamp that is further ahead than the bound moves nothing, so that one broken clock does not take all along.
    pub fn observe(&self, seen: Hlc, wall_unix_ms: u64) -> Result<(), TooFarAhead> {
        let ahead_ms = seen.unix_ms().saturating_sub(wall_unix_ms);
        if ahead_ms > self.drift_max_ms {
            return Err(TooFarAhead {
                node: seen.node,
                ahead_ms,
                bound_ms: self.drift_max_ms,
            });
        }
        self.last.fetch_max(seen.time, Ordering::AcqRel);
        Ok(())
    }

    /// How far ahead of the wall clock stamps of others may be, in milliseconds.
    pub fn drift_max_ms(&self) -> u64 {
        self.drift_max_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_never_gives_the_same_or_an_earlier_stamp() {
        let clock = HlcClock::new(1, DEFAULT_DRIFT_MAX_MS);
        let mut last = Hlc::ZERO;
        for wall in [5, 5, 9, 3, 3, 0, 9, 10, u64::MAX, 7] {
            let now = clock.now(wall);
            assert!(now.time() > last.time(), "{now:?} after {last:?}");
            last = now;
        }
    }

    #[test]
    fn a_full_counter_carries_into_the_millisecond() {
        let clock = HlcClock::new(1, DEFAULT_DRIFT_MAX_MS);
        let mut now = clock.now(7);
        for _ in 0..u16::MAX {
            now = clock.now(7);
        }
        assert_eq!((now.unix_ms(), now.counter()), (7, u16::MAX));
        let next = clock.now(7);
        assert_eq!((next.unix_ms(), next.counter()), (8, 0));
    }

    #[test]
    fn what_was_seen_is_before_what_comes() {
        let clock = HlcClock::new(1, 2_000);
        let seen = Hlc::new(11_500, 9, 2);
        assert_eq!(clock.observe(seen, 10_000), Ok(()));
        assert!(clock.now(10_001) > seen);
        assert_eq!(clock.observe(Hlc::new(5, 0, 3), 10_002), Ok(()));
        assert!(clock.now(10_002) > seen);
    }

    #[test]
    fn a_stamp_that_is_too_far_ahead_moves_nothing() {
        let clock = HlcClock::new(1, 2_000);
        let refused = clock.observe(Hlc::new(12_001, 0, 2), 10_000);
        let told = refused.unwrap_err().to_string();
        assert_eq!(
            told,
            "the stamp of node 2 is 2001 ms ahead of the wall clock, at most 2000 ms are followed"
        );
        assert_eq!(clock.now(10_000), Hlc::new(10_000, 0, 1));
        assert_eq!(clock.observe(Hlc::new(12_000, 0, 2), 10_000), Ok(()));
    }

    #[test]
    fn stamps_of_threads_are_all_different() {
        let clock = HlcClock::new(1, 2_000);
        let mut all: Vec<Hlc> = std::thread::scope(|scope| {
            let give = || (0..2_000).map(|_| clock.now(1)).collect::<Vec<_>>();
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(give)).collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6_000);
    }
}
