//! Sampled allocations that have not been freed: a table of fixed size that is never locked.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Places that an address may be at.
const WAYS: usize = 8;
/// What no address is: a place that somebody is writing.
const CLAIMED: usize = 1;

/// What is known of a sampled allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// In bytes.
    pub(crate) size: u64,
    /// At what rate it was sampled.
    pub(crate) rate: u64,
    /// Where its stack is.
    pub(crate) stack: u32,
    /// In which window it was sampled.
    pub(crate) window: u32,
}

/// Addresses of one line of cache.
#[repr(align(64))]
struct Addresses([AtomicUsize; WAYS]);

struct Slot {
    size: AtomicU64,
    rate: AtomicU64,
    /// The stack above the window.
    origin: AtomicU64,
}

/// The table, with so many buckets of [`WAYS`] places each.
pub(crate) struct Live<const BUCKETS: usize> {
    addresses: [Addresses; BUCKETS],
    slots: [[Slot; WAYS]; BUCKETS],
}

impl<const BUCKETS: usize> Live<BUCKETS> {
    pub(crate) const fn new() -> Self {
        Self {
            addresses: [const { Addresses([const { AtomicUsize::new(0) }; WAYS]) }; BUCKETS],
            slots: [const { [const { Slot::new() }; WAYS] }; BUCKETS],
        }
    }

    fn bucket(address: usize) -> usize {
        let mixed = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        usize::try_from(mixed)
            .unwrap_or(0)
            .checked_rem(BUCKETS)
            .unwrap_or(0)
    }

    fn places(&self, address: usize) -> impl Iterator<Item = (&AtomicUsize, &Slot)> {
        let bucket = Self::bucket(address);
        let (addresses, slots) = (self.addresses.get(bucket), self.slots.get(bucket));
        let slots = slots.into_iter().flatten();
        addresses.into_iter().flat_map(|all| &all.0).zip(slots)
    }

    /// Keeps what an allocation is; whether there was a place. Whoever calls owns the address.
    pub(crate) fn put(&self, address: usize, entry: Entry) -> bool {
        for (at, slot) in self.places(address) {
            let claimed = at.compare_exchange(0, CLAIMED, Ordering::Acquire, Ordering::Relaxed);
            if claimed.is_ok() {
                slot.write(entry);
                at.store(address, Ordering::Release);
                return true;
            }
        }
        false
    }

    /// Forgets an allocation and says what it was. Whoever calls owns the address, so nobody else takes it
    /// meanwhile, and what was put is seen by whoever was handed it.
    #[inline]
    pub(crate) fn take(&self, address: usize) -> Option<Entry> {
        let bucket = Self::bucket(address);
        let mut ways = self.addresses.get(bucket)?.0.iter();
        let way = ways.position(|at| at.load(Ordering::Relaxed) == address)?;
        self.take_at(bucket, way)
    }

    #[cold]
    #[inline(never)]
    fn take_at(&self, bucket: usize, way: usize) -> Option<Entry> {
        let at = self.addresses.get(bucket)?.0.get(way)?;
        let entry = self.slots.get(bucket)?.get(way)?.read();
        at.store(0, Ordering::Release);
        Some(entry)
    }

    /// Everything that is here. What changes meanwhile is told as it was, as it is, or not.
    pub(crate) fn for_each(&self, mut tell: impl FnMut(Entry)) {
        let all = self.addresses.iter().zip(&self.slots);
        for (at, slot) in all.flat_map(|(addresses, slots)| addresses.0.iter().zip(slots)) {
            let address = at.load(Ordering::Acquire);
            let entry = slot.read();
            if address > CLAIMED && at.load(Ordering::Acquire) == address {
                tell(entry);
            }
        }
    }
}

impl Slot {
    const fn new() -> Self {
        Self {
            size: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            origin: AtomicU64::new(0),
        }
    }

    fn write(&self, entry: Entry) {
        let origin = u64::from(entry.stack) << 32 | u64::from(entry.window);
        self.size.store(entry.size, Ordering::Relaxed);
        self.rate.store(entry.rate, Ordering::Relaxed);
        self.origin.store(origin, Ordering::Relaxed);
    }

    fn read(&self) -> Entry {
        let origin = self.origin.load(Ordering::Relaxed);
        Entry {
            size: self.size.load(Ordering::Relaxed),
            rate: self.rate.load(Ordering::Relaxed),
            stack: (origin >> 32) as u32,
            window: origin as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: Entry = Entry {
        size: 5,
        rate: 6,
        stack: 7,
        window: 8,
    };

    fn told(live: &Live<4>) -> usize {
        let mut told = 0;
        live.for_each(|_| told += 1);
        told
    }

    proptest! {
        #[test]
        fn what_was_put_is_taken_once_and_a_full_place_takes_no_more(
            addresses in prop::collection::btree_set(1_usize..1_000, 1..100),
        ) {
            let live = Live::<4>::new();
            let addresses: Vec<usize> = addresses.into_iter().map(|at| at << 12).collect();
            let put = |at: &usize| live.put(*at, Entry { size: *at as u64, ..ENTRY });
            let (kept, dropped): (Vec<usize>, Vec<usize>) = addresses.iter().copied().partition(put);
            prop_assert!(kept.len() <= 4 * WAYS);
            prop_assert!(kept.len() >= addresses.len().min(WAYS));
            prop_assert_eq!(told(&live), kept.len());
            for at in dropped {
                prop_assert_eq!(live.take(at), None);
            }
            for at in kept {
                prop_assert_eq!(live.take(at), Some(Entry { size: at as u64, ..ENTRY }));
                prop_assert_eq!(live.take(at), None);
            }
            prop_assert_eq!(told(&live), 0);
        }
    }
}
