//! Stacks that allocated, each once: a table of fixed size that is never locked and never forgets.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Calls of a stack that are kept, the innermost ones.
pub(crate) const DEPTH_MAX: usize = 128;
/// Places that a stack may be at.
const PROBES: usize = 32;
/// Parts of an object that are counted.
pub(crate) const OBJECT: f64 = 256.0;

/// What a stack has allocated, as its samples say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// In parts of [`OBJECT`].
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

struct Place {
    /// Of the stack; 0 where there is none.
    hash: AtomicU64,
    /// 0 until the calls are written.
    depth: AtomicUsize,
    calls: [AtomicUsize; DEPTH_MAX],
    objects: AtomicU64,
    bytes: AtomicU64,
}

/// The table. Its first place is for the stacks that find none.
pub(crate) struct Stacks<const PLACES: usize> {
    places: [Place; PLACES],
}

impl<const PLACES: usize> Stacks<PLACES> {
    pub(crate) const fn new() -> Self {
        Self {
            places: [const { Place::new() }; PLACES],
        }
    }

    /// The place of a stack, from the innermost call outwards; 0 if there is none for it.
    pub(crate) fn place(&self, calls: &[usize]) -> u32 {
        let hash = hash(calls);
        for probe in 0..PROBES {
            let index = (usize::try_from(hash >> 32).unwrap_or(0)).wrapping_add(probe);
            let index = index.checked_rem(PLACES).unwrap_or(0);
            if index > 0
                && let Some(place) = self.places.get(index)
                && place.is_of(hash, calls)
            {
                return u32::try_from(index).unwrap_or(0);
            }
        }
        0
    }

    /// Counts what was allocated at a place.
    pub(crate) fn count(&self, place: u32, size: u64, times: f64) {
        if let Some(place) = self.places.get(place as usize) {
            let objects = (times * OBJECT).round() as u64;
            let bytes = (times * size as f64).round() as u64;
            place.objects.fetch_add(objects, Ordering::Relaxed);
            place.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// What each place has counted.
    pub(crate) fn sums(&self) -> Vec<Sum> {
        let sum = |place: &Place| Sum {
            objects: place.objects.load(Ordering::Relaxed),
            bytes: place.bytes.load(Ordering::Relaxed),
        };
        self.places.iter().map(sum).collect()
    }

    /// The calls of a place; none of the first.
    pub(crate) fn calls(&self, place: usize) -> Vec<usize> {
        let place = self.places.get(place);
        place.map(Place::calls).unwrap_or_default()
    }
}

impl Place {
    const fn new() -> Self {
        Self {
            hash: AtomicU64::new(0),
            depth: AtomicUsize::new(0),
            calls: [const { AtomicUsize::new(0) }; DEPTH_MAX],
            objects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Whether this is the stack's place, or becomes it. One that is just being written is not: the stack then has
    /// two, which whoever reads adds up.
    fn is_of(&self, hash: u64, calls: &[usize]) -> bool {
        let claimed = self
            .hash
            .compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed);
        match claimed {
            Ok(_) => {
                for (at, call) in self.calls.iter().zip(calls) {
                    at.store(*call, Ordering::Relaxed);
                }
                let depth = calls.len().min(DEPTH_MAX);
                self.depth.store(depth, Ordering::Release);
                true
            }
            Err(there) => {
                there == hash
                    && self.depth.load(Ordering::Acquire) == calls.len()
                    && (self.calls.iter().zip(calls))
                        .all(|(at, call)| at.load(Ordering::Relaxed) == *call)
            }
        }
    }

    fn calls(&self) -> Vec<usize> {
        let depth = self.depth.load(Ordering::Acquire);
        let calls = self.calls.iter().take(depth);
        calls.map(|call| call.load(Ordering::Relaxed)).collect()
    }
}

/// Never 0.
fn hash(calls: &[usize]) -> u64 {
    let mixed = calls.iter().fold(0_u64, |hash, call| {
        (hash.rotate_left(23) ^ *call as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    });
    (mixed ^ mixed.rotate_left(29)) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_has_one_place_and_those_that_find_none_share_the_first() {
        let stacks = Stacks::<16>::new();
        let all: Vec<Vec<usize>> = (1..100).map(|call| vec![call, call + 1]).collect();
        let places: Vec<u32> = all.iter().map(|calls| stacks.place(calls)).collect();
        let again: Vec<u32> = all.iter().map(|calls| stacks.place(calls)).collect();
        assert_eq!(places, again);
        assert_eq!(places.iter().filter(|place| **place > 0).count(), 15);
        for (calls, place) in all.iter().zip(places) {
            let kept = stacks.calls(place as usize);
            assert_eq!(kept, if place > 0 { calls.clone() } else { Vec::new() });
            stacks.count(place, 10, 2.0);
        }
        let sums = stacks.sums();
        assert_eq!(sums.iter().map(|sum| sum.bytes).sum::<u64>(), 99 * 20);
        let objects = (99.0 * 2.0 * OBJECT) as u64;
        assert_eq!(sums.iter().map(|sum| sum.objects).sum::<u64>(), objects);
    }
}
