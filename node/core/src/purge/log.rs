//! The purges of this process in their order, so that a peer can go on where it was.

use std::collections::VecDeque;

use super::{Hardness, Hlc, Purge, Scope};

/// How much is kept for peers that were away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Purges.
    pub purges_max: usize,
    /// Age in milliseconds.
    pub age_max_ms: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            purges_max: 100_000,
            age_max_ms: 15 * 60_000,
        }
    }
}

/// What a peer needs to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume<'a> {
    /// The peer lacks purges that are not kept any more, none of them later than this: its floor.
    pub floor: Option<Hlc>,
    /// After which number `purges` go on: the one asked for, or a later one together with a floor.
    pub after: u64,
    /// What it lacks and is kept, in order, as far as was asked for.
    pub purges: Vec<&'a Purge>,
}

/// The purges of one origin: this process, or another one whose purges this node can give on when it is gone.
#[derive(Debug)]
pub struct PurgeLog {
    origin: u64,
    limits: LogLimits,
    last: u64,
    kept: VecDeque<(u64, Purge)>,
    forgotten: Option<Hlc>,
}

impl PurgeLog {
    /// Empty; `origin` is of this process alone, not of an earlier one on the same node.
    pub fn new(origin: u64, limits: LogLimits) -> Self {
        Self {
            origin,
            limits,
            last: 0,
            kept: VecDeque::new(),
            forgotten: None,
        }
    }

    /// The purges of another process after the one numbered `after`. None before it is known, and none of them is later
    /// than `floor`.
    pub fn relaying(origin: u64, after: u64, floor: Hlc, limits: LogLimits) -> Self {
        Self {
            last: after,
            forgotten: (after > 0).then_some(floor),
            ..Self::new(origin, limits)
        }
    }

    /// Takes a purge of the process whose log this relays, if it is the next one ([`super::Received::New`]).
    pub fn relay(&mut self, purge: &Purge, now_ms: u64) -> bool {
        let is_next = purge.origin == self.origin && purge.seq == self.last + 1;
        if is_next {
            self.last = purge.seq;
            self.kept.push_back((now_ms, purge.clone()));
            self.forget(now_ms);
        }
        is_next
    }

    /// Takes a purge of this process and numbers it.
    pub fn append(&mut self, scope: Scope, hardness: Hardness, at: Hlc, now_ms: u64) -> Purge {
        self.last += 1;
        let purge = Purge {
            scope,
            hardness,
            at,
            origin: self.origin,
            seq: self.last,
        };
        self.kept.push_back((now_ms, purge.clone()));
        self.forget(now_ms);
        purge
    }

    /// Lets go of what is too much or too old; each append does so too.
    pub fn forget(&mut self, now_ms: u64) {
        while let Some((kept_ms, _)) = self.kept.front() {
            let is_old = now_ms.saturating_sub(*kept_ms) > self.limits.age_max_ms;
            if !is_old && self.kept.len() <= self.limits.purges_max {
                return;
            }
            let gone = self.kept.pop_front().map(|(_, purge)| purge.at);
            self.forgotten = self.forgotten.max(gone);
        }
    }

    /// What a peer lacks that has seen this `origin` up to `seq` (0: nothing), `most` purges at a time. Of another
    /// origin, an earlier life of this node, it has seen nothing of this one.
    pub fn since(&self, origin: u64, seq: u64, most: usize) -> Resume<'_> {
        // A number that was never given is of another life, too.
        let seen = match origin == self.origin && seq <= self.last {
            true => seq,
            false => 0,
        };
        let before_kept = self.last - self.kept.len() as u64;
        let after = seen.max(before_kept);
        let skip = usize::try_from(after - before_kept).unwrap_or(usize::MAX);
        Resume {
            floor: self.forgotten.filter(|_| seen < before_kept),
            after,
            purges: self
                .kept
                .iter()
                .skip(skip)
                .take(most)
                .map(|(_, purge)| purge)
                .collect(),
        }
    }

    /// Whose purges they are.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// The number of the last purge; 0: none yet.
    pub fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(purges_max: usize, count: u64) -> PurgeLog {
        let limits = LogLimits {
            purges_max,
            age_max_ms: 1_000,
        };
        let mut log = PurgeLog::new(7, limits);
        for n in 1..=count {
            let purge = log.append(Scope::Key(n), Hardness::Hard, Hlc::new(n, 0, 1), n);
            assert_eq!((purge.origin, purge.seq), (7, n));
        }
        log
    }

    fn numbers(resume: &Resume<'_>) -> Vec<u64> {
        resume.purges.iter().map(|purge| purge.seq).collect()
    }

    #[test]
    fn a_peer_gets_what_it_lacks_and_no_more() {
        let log = log(10, 5);
        let resume = log.since(7, 3, 100);
        assert_eq!((resume.floor, resume.after), (None, 3));
        assert_eq!(numbers(&resume), [4, 5]);
        assert_eq!(numbers(&log.since(7, 5, 100)), [0; 0]);
        assert_eq!(numbers(&log.since(7, 0, 2)), [1, 2]);
    }

    #[test]
    fn a_peer_that_was_away_too_long_gets_a_floor_and_what_is_kept() {
        let log = log(3, 8);
        let resume = log.since(7, 4, 100);
        assert_eq!(resume.floor, Some(Hlc::new(5, 0, 1)));
        assert_eq!((resume.after, numbers(&resume)), (5, vec![6, 7, 8]));
        let resume = log.since(7, 5, 100);
        assert_eq!((resume.floor, numbers(&resume)), (None, vec![6, 7, 8]));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut log = log(100, 8);
        log.forget(1_004);
        let resume = log.since(7, 0, 100);
        assert_eq!(resume.floor, Some(Hlc::new(3, 0, 1)));
        assert_eq!(numbers(&resume), [4, 5, 6, 7, 8]);
        log.forget(9_000);
        let resume = log.since(7, 0, 100);
        assert_eq!(resume.floor, Some(Hlc::new(8, 0, 1)));
        assert_eq!((resume.after, numbers(&resume)), (8, vec![]));
        assert_eq!(log.since(7, 8, 100).floor, None);
    }

    #[test]
    fn a_peer_of_an_earlier_life_has_seen_nothing_of_this_one() {
        let log = log(10, 2);
        assert_eq!(numbers(&log.since(6, 2, 100)), [1, 2]);
        assert_eq!(numbers(&log.since(7, 99, 100)), [1, 2]);
    }

    #[test]
    fn what_another_process_purged_is_given_on_when_it_is_gone() {
        let (gone, floor) = (log(10, 5), Hlc::new(2, 0, 1));
        let mut relayed = PurgeLog::relaying(7, 2, floor, LogLimits::default());
        let last = gone.since(7, 4, 1).purges[0];
        assert!(!relayed.relay(last, 9));
        for purge in gone.since(7, 2, 100).purges {
            assert!(relayed.relay(purge, 9));
            assert!(!relayed.relay(purge, 9));
        }
        assert_eq!(relayed.since(7, 3, 100), gone.since(7, 3, 100));
        let resume = relayed.since(7, 0, 100);
        assert_eq!((resume.floor, resume.after), (Some(floor), 2));
        assert_eq!(numbers(&resume), [3, 4, 5]);
    }
}
