//! How far a node has seen the purges of others.

use std::collections::BTreeMap;

/// What to do with a purge that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The next one: merge it.
    New,
    /// Merged already.
    Duplicate,
    /// Some before it are missing: merge it, and resume after `last`.
    Gap {
        /// The last one that came in order.
        last: u64,
    },
}

/// How far this node has seen each origin, of a bounded number of them.
#[derive(Clone, Debug)]
pub struct Receiver {
    origins_max: usize,
    /// Of each origin the last number in order, and when it was told last.
    origins: BTreeMap<u64, (u64, u64)>,
    told: u64,
}

impl Receiver {
    /// Nothing was seen. Beyond `origins_max` the one that was silent longest is forgotten, which costs a resumption
    /// from the beginning of what its log keeps.
    pub fn new(origins_max: usize) -> Self {
        Self {
            origins_max: origins_max.max(1),
            origins: BTreeMap::new(),
            told: 0,
        }
    }

    /// A purge came.
    pub fn receive(&mut self, origin: u64, seq: u64) -> Received {
        let last = self.last(origin);
        let (received, last) = match seq.checked_sub(last) {
            None | Some(0) => (Received::Duplicate, last),
            Some(1) => (Received::New, seq),
            Some(_) => (Received::Gap { last }, last),
        };
        self.tell(origin, last);
        received
    }

    /// The answer to a resumption goes on after that number; what was missing is in its floor.
    pub fn resumed(&mut self, origin: u64, after: u64) {
        let last = self.last(origin).max(after);
        self.tell(origin, last);
    }

    /// The last one of an origin that came in order: where to resume. 0: none.
    pub fn last(&self, origin: u64) -> u64 {
        self.origins.get(&origin).map_or(0, |(last, _)| *last)
    }

    fn tell(&mut self, origin: u64, last: u64) {
        self.told += 1;
        self.origins.insert(origin, (last, self.told));
        if self.origins.len() > self.origins_max {
            let silent = self.origins.iter().min_by_key(|(_, (_, told))| *told);
            if let Some(silent) = silent.map(|(origin, _)| *origin) {
                self.origins.remove(&silent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_stays_open_until_what_was_missing_came() {
        let mut receiver = Receiver::new(4);
        assert_eq!(receiver.receive(1, 1), Received::New);
        assert_eq!(receiver.receive(1, 4), Received::Gap { last: 1 });
        assert_eq!(receiver.receive(1, 1), Received::Duplicate);
        for seq in 2..=4 {
            assert_eq!(receiver.receive(1, seq), Received::New);
        }
        assert_eq!(receiver.last(1), 4);
    }

    #[test]
    fn a_floor_closes_a_gap_and_nothing_goes_back() {
        let mut receiver = Receiver::new(4);
        receiver.resumed(1, 50);
        assert_eq!(receiver.receive(1, 51), Received::New);
        receiver.resumed(1, 3);
        assert_eq!(receiver.last(1), 51);
    }

    #[test]
    fn of_too_many_origins_the_one_silent_longest_is_forgotten() {
        let mut receiver = Receiver::new(2);
        receiver.receive(1, 1);
        receiver.receive(2, 1);
        receiver.receive(1, 2);
        receiver.receive(3, 1);
        assert_eq!([1, 2, 3].map(|origin| receiver.last(origin)), [2, 0, 1]);
    }
}
