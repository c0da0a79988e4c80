//! How far the clocks of other nodes are ahead.

use std::collections::BTreeMap;

use super::Hlc;

/// How far the clocks of peers are ahead of this node's, at most, as their answers show.
///
/// It must know every node of the mesh: clocks follow each other, so one that is not in it may carry others along.
/// A clock that is stepped ahead is known with its next answer: ask as often as clocks may be stepped.
#[derive(Clone, Debug)]
pub struct Skew {
    ahead_ms: BTreeMap<u32, u64>,
    drift_max_ms: u64,
    is_mesh_unknown: bool,
}

impl Skew {
    /// Nothing is known of any peer. `drift_max_ms`: the bound of [`super::HlcClock`], which no clock is trusted
    /// beyond.
    pub fn new(drift_max_ms: u64) -> Self {
        Self {
            ahead_ms: BTreeMap::new(),
            drift_max_ms,
            is_mesh_unknown: false,
        }
    }

    /// There are peers, and it is not known which: until [`Self::mesh_is_known`] one may be ahead as far as any may.
    pub fn mesh_is_unknown(&mut self) {
        self.is_mesh_unknown = true;
    }

    /// Every peer has been named.
    pub fn mesh_is_known(&mut self) {
        self.is_mesh_unknown = false;
    }

    /// A peer answered with its time. It read its clock after it was asked, so it is ahead by no more than the
    /// difference.
    ///
    /// `asked_unix_ms`: this node's wall clock when the question left.
    pub fn answered(&mut self, peer: u32, asked_unix_ms: u64, their_now: Hlc) {
        let ahead_ms = their_now.unix_ms().saturating_sub(asked_unix_ms);
        self.ahead_ms.insert(peer, ahead_ms.min(self.drift_max_ms));
    }

    /// A peer that does not answer, or answered never: it may be ahead as far as any may.
    pub fn unknown(&mut self, peer: u32) {
        self.ahead_ms.insert(peer, self.drift_max_ms);
    }

    /// A peer left.
    pub fn remove(&mut self, peer: u32) {
        self.ahead_ms.remove(&peer);
    }

    /// By how much a purge is to be stamped later than now, in milliseconds: the peer furthest ahead.
    pub fn margin_ms(&self) -> u64 {
        let furthest_ms = self.ahead_ms.values().copied().max();
        match self.is_mesh_unknown {
            true => self.drift_max_ms,
            false => furthest_ms.unwrap_or(0),
        }
    }

    /// The stamp of a purge that is made now: at or after every stamp that any peer gave until now.
    ///
    /// Whoever asked for the purge is to be answered when this time has passed, so that what it does next is after it.
    pub fn purge_stamp(&self, now: Hlc, wall_unix_ms: u64) -> Hlc {
        match self.margin_ms() {
            0 => now,
            margin_ms => now.max(Hlc::new(
                wall_unix_ms.saturating_add(margin_ms),
                u16::MAX,
                now.node(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_is_as_late_as_the_clock_that_is_furthest_ahead() {
        let mut skew = Skew::new(2_000);
        let now = Hlc::new(1_000, 4, 1);
        assert_eq!(skew.purge_stamp(now, 1_000), now);
        skew.answered(2, 900, Hlc::new(930, 0, 2));
        skew.answered(3, 900, Hlc::new(700, 0, 3));
        assert_eq!(skew.margin_ms(), 30);
        assert!(skew.purge_stamp(now, 1_000) >= Hlc::new(1_030, u16::MAX, 1));
        skew.remove(2);
        assert_eq!(skew.purge_stamp(now, 1_000), now);
    }

    #[test]
    fn a_peer_that_nothing_is_known_of_counts_as_far_ahead_as_any_may_be() {
        let mut skew = Skew::new(2_000);
        skew.unknown(2);
        assert_eq!(skew.margin_ms(), 2_000);
        skew.answered(2, 0, Hlc::new(9_000_000, 0, 2));
        assert_eq!(skew.margin_ms(), 2_000);
        skew.answered(2, 0, Hlc::new(1, 0, 2));
        assert_eq!(skew.margin_ms(), 1);
    }

    #[test]
    fn before_the_peers_are_named_one_may_be_ahead_as_far_as_any_may() {
        let mut skew = Skew::new(2_000);
        skew.mesh_is_unknown();
        skew.answered(2, 900, Hlc::new(930, 0, 2));
        assert_eq!(skew.margin_ms(), 2_000);
        skew.mesh_is_known();
        assert_eq!(skew.margin_ms(), 30);
    }
}
