//! Who is to load what is not there: one at a time for each key, and nobody for longer than their lease.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::cache::UnixMs;
use crate::purge::Hlc;

/// Leases that there may be at a time.
pub const LEASES_MAX: usize = 65_536;

/// The right to load a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When it was given: what was purged since beats what its holder loads. No two of one node are the same.
    pub began: Hlc,
    /// It is nobody's from here on.
    pub ends: UnixMs,
}

/// What became of whoever wants to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// They are to load.
    Granted,
    /// Somebody else is loading, at most until then.
    Held(UnixMs),
    /// There are [`LEASES_MAX`] leases.
    Full,
}

/// The lease is not held: it has ended, or another one was given since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the lease has ended")]
pub struct NotHeld;

/// All leases of a node.
#[derive(Debug, Default)]
pub struct Leases(BTreeMap<Box<str>, Lease>);

impl Leases {
    /// Gives the lease of a key, unless somebody holds one that a purge has not made void.
    pub fn ask(
        &mut self,
        key: &str,
        lease: Lease,
        now: UnixMs,
        is_void: impl FnOnce(&Lease) -> bool,
    ) -> Asked {
        if let Some(held) = self.0.get(key)
            && now < held.ends
            && !is_void(held)
        {
            return Asked::Held(held.ends);
        }
        if self.0.len() >= LEASES_MAX && !self.0.contains_key(key) {
            self.0.retain(|_, held| now < held.ends);
            if self.0.len() >= LEASES_MAX {
                return Asked::Full;
            }
        }
        self.0.insert(key.into(), lease);
        Asked::Granted
    }

    /// The lease that is held.
    ///
    /// # Errors
    /// [`NotHeld`].
    pub fn held(&self, key: &str, began: Hlc, now: UnixMs) -> Result<Lease, NotHeld> {
        let held = self.0.get(key).filter(|held| held.began == began);
        held.filter(|held| now < held.ends).copied().ok_or(NotHeld)
    }

    /// Whoever held the lease of a key holds it no more.
    pub fn end(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// How many there are, those that have ended and that nobody asked for since included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(began: u64, ends: u64) -> Lease {
        Lease {
            began: Hlc::from_time(began, 1),
            ends: UnixMs(ends),
        }
    }

    const fn at(ms: u64) -> UnixMs {
        UnixMs(ms)
    }

    #[test]
    fn one_loads_at_a_time_and_a_dead_one_blocks_nobody() {
        let mut leases = Leases::default();
        let never = |_: &Lease| false;
        assert_eq!(leases.ask("a", lease(1, 100), at(0), never), Asked::Granted);
        assert_eq!(
            leases.ask("a", lease(2, 150), at(50), never),
            Asked::Held(at(100))
        );
        assert_eq!(
            leases.ask("b", lease(3, 150), at(50), never),
            Asked::Granted
        );
        assert_eq!(
            leases.ask("a", lease(4, 200), at(100), never),
            Asked::Granted
        );
        assert_eq!(
            leases.held("a", Hlc::from_time(1, 1), at(101)),
            Err(NotHeld)
        );
        assert_eq!(
            leases.held("a", Hlc::from_time(4, 1), at(101)),
            Ok(lease(4, 200))
        );
        assert_eq!(
            leases.held("a", Hlc::from_time(4, 1), at(200)),
            Err(NotHeld)
        );
    }

    #[test]
    fn a_lease_from_before_a_purge_is_taken_over() {
        let mut leases = Leases::default();
        leases.ask("a", lease(1, 100), at(0), |_| false);
        let purged = |held: &Lease| held.began.time() <= 5;
        assert_eq!(
            leases.ask("a", lease(6, 100), at(1), purged),
            Asked::Granted
        );
        assert_eq!(
            leases.ask("a", lease(7, 100), at(1), purged),
            Asked::Held(at(100))
        );
    }

    #[test]
    fn there_are_only_so_many_and_those_that_ended_make_room() {
        let mut leases = Leases::default();
        for number in 0..LEASES_MAX as u64 {
            let asked = leases.ask(&number.to_string(), lease(number, 100), at(0), |_| false);
            assert_eq!(asked, Asked::Granted);
        }
        assert_eq!(
            leases.ask("new", lease(9, 200), at(99), |_| false),
            Asked::Full
        );
        assert_eq!(
            leases.ask("7", lease(9, 200), at(99), |_| true),
            Asked::Granted
        );
        assert_eq!(
            leases.ask("new", lease(9, 200), at(100), |_| false),
            Asked::Granted
        );
        assert_eq!(leases.len(), 2);
        leases.end("7");
        assert_eq!(leases.len(), 1);
    }
}
