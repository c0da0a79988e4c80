//! A table of stamps that one thread writes and any thread reads without a lock.
//!
//! Buckets of eight ways; an id is in one of two buckets and never moves, so a reader looks at two cache lines. A way
//! is written time first and id last, and given up only after the floor was raised; a reader looks at the floor last.
//! Hence a reader that races with an eviction sees the stamp, or the floor that stands for it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Hardness;

pub(super) const WAYS: usize = 8;
/// Buckets among which the oldest stamp is looked for when one must go.
const SWEEP_BUCKETS: usize = 16;
/// The lowest bits of an id are not of the hash: whether it is taken, and how hard the purge is.
const TAKEN: u64 = 0b10;
const HARD: u64 = 0b01;

/// One cache line of ids, one of times.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket {
    ids: [AtomicU64; WAYS],
    times: [AtomicU64; WAYS],
}

/// The newest purges of one hash: [`super::Hlc::time`] of each, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) soft: u64,
    pub(super) hard: u64,
}

/// What putting a stamp did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// A later one is there.
    Known,
    /// There was an earlier one.
    Raised,
    /// There was none.
    Added,
    /// There is none, and no room in either bucket.
    Full,
}

/// A place of a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    bucket: usize,
    way: usize,
    pub(super) time: u64,
}

#[derive(Debug)]
pub(super) struct Table {
    buckets: Box<[Bucket]>,
}

impl Table {
    /// With room for at least so many stamps, in a power of two.
    pub(super) fn with_ways(ways: usize) -> Self {
        let buckets = ways.div_ceil(WAYS).next_power_of_two();
        Self {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
        }
    }

    pub(super) fn ways(&self) -> usize {
        self.buckets.len() * WAYS
    }

    pub(super) fn newest(&self, hash: u64) -> Newest {
        let id = id_of(hash);
        let mut newest = Newest::default();
        for bucket in self.buckets_of(id) {
            let bucket = &self.buckets[bucket];
            for (found, time) in bucket.ids.iter().zip(&bucket.times) {
                let found = found.load(Ordering::Acquire);
                if found & !HARD != id {
                    continue;
                }
                let time = time.load(Ordering::Acquire);
                match found & HARD {
                    HARD => newest.hard = newest.hard.max(time),
                    _ => newest.soft = newest.soft.max(time),
                }
            }
        }
        newest
    }

    /// Only the one writer may call it, as all below.
    pub(super) fn put(&self, hash: u64, hardness: Hardness, time: u64) -> Put {
        let id = id_of(hash) | if hardness == Hardness::Hard { HARD } else { 0 };
        self.put_id(id, time)
    }

    fn put_id(&self, id: u64, time: u64) -> Put {
        let buckets = self.buckets_of(id & !HARD);
        for bucket in buckets {
            let bucket = &self.buckets[bucket];
            if let Some(way) = bucket.position(id) {
                let before = bucket.times[way].fetch_max(time, Ordering::AcqRel);
                return if before < time {
                    Put::Raised
                } else {
                    Put::Known
                };
            }
        }
        let [first, second] = buckets.map(|bucket| &self.buckets[bucket]);
        let emptier = match second.free() > first.free() {
            true => second,
            false => first,
        };
        let Some(way) = emptier.position(0) else {
            return Put::Full;
        };
        emptier.times[way].store(time, Ordering::Release);
        emptier.ids[way].store(id, Ordering::Release);
        Put::Added
    }

    /// The oldest stamp of the two buckets of a hash: what must go for it if both are full.
    pub(super) fn oldest_beside(&self, hash: u64) -> Option<Way> {
        self.oldest_of(self.buckets_of(id_of(hash)).into_iter())
    }

    /// An old stamp: the oldest of some buckets from `hand` on, which moves.
    pub(super) fn oldest_from(&self, hand: &mut usize) -> Option<Way> {
        for _ in 0..self.buckets.len().div_ceil(SWEEP_BUCKETS) {
            let from = *hand;
            *hand = from.wrapping_add(SWEEP_BUCKETS);
            let mask = self.buckets.len() - 1;
            let swept = (0..SWEEP_BUCKETS).map(|step| from.wrapping_add(step) & mask);
            if let Some(way) = self.oldest_of(swept) {
                return Some(way);
            }
        }
        None
    }

    fn oldest_of(&self, buckets: impl Iterator<Item = usize>) -> Option<Way> {
        let ways = buckets.flat_map(|bucket| (0..WAYS).map(move |way| (bucket, way)));
        let taken = ways.filter_map(|(bucket, way)| {
            let found = &self.buckets[bucket];
            let is_taken = found.ids[way].load(Ordering::Acquire) != 0;
            is_taken.then(|| Way {
                bucket,
                way,
                time: found.times[way].load(Ordering::Acquire),
            })
        });
        taken.min_by_key(|way| way.time)
    }

    /// Gives a place up; the floor must have been raised to its time.
    pub(super) fn clear(&self, way: Way) {
        self.buckets[way.bucket].ids[way.way].store(0, Ordering::Release);
    }

    /// Puts every stamp of this table into another one, and gives those that found no room there.
    pub(super) fn copy_into(&self, other: &Self) -> Vec<u64> {
        let mut left_out = Vec::new();
        for bucket in &self.buckets {
            for (id, time) in bucket.ids.iter().zip(&bucket.times) {
                let (id, time) = (id.load(Ordering::Acquire), time.load(Ordering::Acquire));
                if id != 0 && other.put_id(id, time) == Put::Full {
                    left_out.push(time);
                }
            }
        }
        left_out
    }

    fn buckets_of(&self, id: u64) -> [usize; 2] {
        let mask = self.buckets.len() - 1;
        [0x9e37_79b9_7f4a_7c15_u64, 0xc2b2_ae3d_27d4_eb4f]
            .map(|odd| (id.wrapping_mul(odd) >> 32) as usize & mask)
    }
}

impl Bucket {
    fn position(&self, id: u64) -> Option<usize> {
        self.ids
            .iter()
            .position(|found| found.load(Ordering::Acquire) == id)
    }

    fn free(&self) -> usize {
        let is_free = |id: &&AtomicU64| id.load(Ordering::Acquire) == 0;
        self.ids.iter().filter(is_free).count()
    }
}

fn id_of(hash: u64) -> u64 {
    hash.rotate_left(2) & !(TAKEN | HARD) | TAKEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_two_cache_lines() {
        assert_eq!(size_of::<Bucket>(), 128);
        assert_eq!(align_of::<Bucket>(), 64);
    }

    #[test]
    fn soft_and_hard_stamps_of_one_hash_are_apart_and_only_rise() {
        let table = Table::with_ways(64);
        let hash = 0xdead_beef_0000_0001;
        assert_eq!(table.put(hash, Hardness::Soft, 5), Put::Added);
        assert_eq!(table.put(hash, Hardness::Hard, 3), Put::Added);
        assert_eq!(table.put(hash, Hardness::Soft, 9), Put::Raised);
        assert_eq!(table.put(hash, Hardness::Soft, 7), Put::Known);
        assert_eq!(table.newest(hash), Newest { soft: 9, hard: 3 });
        assert_eq!(table.newest(1 << 40), Newest::default());
    }

    #[test]
    fn at_half_load_nothing_is_refused() {
        let table = Table::with_ways(1 << 14);
        let mut random = fastrand::Rng::with_seed(3);
        let hashes: Vec<u64> = (0..1 << 13).map(|_| random.u64(..)).collect();
        for hash in &hashes {
            assert_eq!(table.put(*hash, Hardness::Hard, *hash | 1), Put::Added);
        }
        assert!(
            hashes
                .iter()
                .all(|hash| table.newest(*hash).hard == *hash | 1)
        );
    }

    #[test]
    fn what_is_swept_is_old() {
        let table = Table::with_ways(1 << 12);
        let mut random = fastrand::Rng::with_seed(4);
        for time in 1..=1 << 11 {
            table.put(random.u64(..), Hardness::Hard, time);
        }
        let mut hand = 0;
        for _ in 0..100 {
            let way = table.oldest_from(&mut hand).unwrap();
            assert!(way.time < 400, "{}", way.time);
            table.clear(way);
        }
    }
}
