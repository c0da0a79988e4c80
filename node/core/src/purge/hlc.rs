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
        // The closure never refuses, so both arms are the value before.
        let before = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)))
            .unwrap_or_else(|last| last);
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
