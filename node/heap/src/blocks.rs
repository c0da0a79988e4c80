//! Blocks of one size, at addresses of their own.
//!
//! Blocks that come and go for as long as a process lasts leave holes in what an allocator for all sizes has them in,
//! and in a huge page a hole is as resident as what is beside it. Here each hole is a place for any block, and the
//! system is told to make no huge pages. As many as [`Blocks::keep`] says stay resident, so that a block that follows
//! another one costs no page faults; beyond that, what is given back goes to the system at once.
//!
//! Nothing here waits or allocates. Blocks that nobody has are in two stacks, linked by their numbers in a table aside;
//! what is at the top is in one word with a number that each change counts up, so that nobody takes the top for what it
//! was before. The addresses are reserved as a whole, and memory is put behind them when they are first given out.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use weir_core::heap::BLOCK_BYTES;

/// What blocks are aligned to: pages of the system.
pub(crate) const BLOCK_ALIGN: usize = 4_096;

const _: () = assert!(BLOCK_BYTES.is_multiple_of(BLOCK_ALIGN));

/// Blocks that nobody has: the number of the top one from 1 on, 0 if there is none, below a count of changes.
#[derive(Debug)]
struct Stack(AtomicU64);

/// How many bits the number of a block takes.
const NUMBER_BITS: u32 = 32;

/// Of [`Blocks`] whose addresses the system has refused.
const REFUSED: *mut u8 = ptr::without_provenance_mut(1);

/// Up to so many blocks.
#[derive(Debug)]
pub(crate) struct Blocks<const MAX: usize> {
    /// Where the first one is; null until somebody wants one.
    base: AtomicPtr<u8>,
    /// For each block in a stack, the number of the one beneath.
    beneath: [AtomicU32; MAX],
    /// Blocks that have been given out.
    begun: AtomicUsize,
    /// Resident and nobody's.
    warm: Stack,
    /// Nobody's, and with nothing behind them.
    cold: Stack,
    /// Blocks that somebody has, and warm ones.
    resident: AtomicUsize,
    /// Beyond so many, what is given back is not kept warm.
    kept: AtomicUsize,
}

impl Stack {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    const fn top(word: u64) -> u32 {
        word as u32
    }

    /// The word that follows `word`.
    const fn with_top(word: u64, number: u32) -> u64 {
        (word >> NUMBER_BITS).wrapping_add(1) << NUMBER_BITS | number as u64
    }

    fn push(&self, beneath: &[AtomicU32], number: u32) {
        let Some(link) = link(beneath, number) else {
            return;
        };
        let put = |word| {
            link.store(Self::top(word), Ordering::Relaxed);
            Some(Self::with_top(word, number))
        };
        // Whoever takes it sees what was done to it before.
        let _word = self
            .0
            .fetch_update(Ordering::Release, Ordering::Relaxed, put);
    }

    fn pop(&self, beneath: &[AtomicU32]) -> Option<u32> {
        let take = |word| {
            let link = link(beneath, Self::top(word))?;
            // What another one has put there meanwhile is not taken: the word is another one then.
            Some(Self::with_top(word, link.load(Ordering::Relaxed)))
        };
        let word = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        word.ok().map(Self::top)
    }
}

/// Where the number beneath a block's is.
fn link(beneath: &[AtomicU32], number: u32) -> Option<&AtomicU32> {
    beneath.get(usize::try_from(number).ok()?.checked_sub(1)?)
}

impl<const MAX: usize> Blocks<MAX> {
    const RANGE_BYTES: usize = MAX.saturating_mul(BLOCK_BYTES);

    pub(crate) const fn new() -> Self {
        Self {
            base: AtomicPtr::new(ptr::null_mut()),
            beneath: [const { AtomicU32::new(0) }; MAX],
            begun: AtomicUsize::new(0),
            warm: Stack::new(),
            cold: Stack::new(),
            resident: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
        }
    }

    /// Keeps so many resident from now on; with 0 none is given out.
    pub(crate) fn keep(&self, blocks: usize) {
        self.kept.store(blocks, Ordering::Relaxed);
        while self.resident.load(Ordering::Relaxed) > blocks
            && let Some(number) = self.warm.pop(&self.beneath)
        {
            self.cool(number);
        }
    }

    /// A block; `None` if there is none to be had. What is in it is anything.
    pub(crate) fn take(&self) -> Option<*mut u8> {
        if self.kept.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let base = self.base()?;
        let number = match self.warm.pop(&self.beneath) {
            Some(number) => number,
            None => {
                let number = self.cold.pop(&self.beneath).or_else(|| self.begin(base))?;
                self.resident.fetch_add(1, Ordering::Relaxed);
                number
            }
        };
        Some(Self::address(base, number))
    }

    /// Whether an address is a block's.
    pub(crate) fn has(&self, pointer: *mut u8) -> bool {
        let base = self.base.load(Ordering::Acquire);
        base > REFUSED && pointer.addr().wrapping_sub(base.addr()) < Self::RANGE_BYTES
    }

    /// Gives a block back, which nobody uses any more; whether it is one.
    pub(crate) fn give_back(&self, pointer: *mut u8) -> bool {
        if !self.has(pointer) {
            return false;
        }
        let base = self.base.load(Ordering::Acquire);
        let at = pointer.addr().wrapping_sub(base.addr()) / BLOCK_BYTES;
        let number = u32::try_from(at.wrapping_add(1)).unwrap_or(0);
        if self.resident.load(Ordering::Relaxed) > self.kept.load(Ordering::Relaxed) {
            self.cool(number);
        } else {
            self.warm.push(&self.beneath, number);
        }
        true
    }

    fn address(base: *mut u8, number: u32) -> *mut u8 {
        let at = usize::try_from(number).unwrap_or(0).wrapping_sub(1);
        base.wrapping_add(at.wrapping_mul(BLOCK_BYTES))
    }

    /// Where the first one is. `None` if the system has no addresses.
    fn base(&self) -> Option<*mut u8> {
        let mut base = self.base.load(Ordering::Acquire);
        if base.is_null() {
            base = self.reserve();
        }
        (base != REFUSED).then_some(base)
    }

    #[cold]
    fn reserve(&self) -> *mut u8 {
        let reserved = system::reserve(Self::RANGE_BYTES).unwrap_or(REFUSED);
        let set = self.base.compare_exchange(
            ptr::null_mut(),
            reserved,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match set {
            Ok(_) => reserved,
            // Another thread was first.
            Err(base) => {
                if reserved != REFUSED {
                    system::release(reserved, Self::RANGE_BYTES);
                }
                base
            }
        }
    }

    /// Puts memory behind the first address that never had any.
    #[cold]
    fn begin(&self, base: *mut u8) -> Option<u32> {
        let next = |begun: usize| (begun < MAX).then(|| begun.wrapping_add(1));
        let begun = self
            .begun
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .ok()?;
        let number = u32::try_from(begun.wrapping_add(1)).ok()?;
        system::commit(Self::address(base, number), BLOCK_BYTES).then_some(number)
    }

    /// Gives the system what is behind a block that nobody has.
    #[cold]
    fn cool(&self, number: u32) {
        let base = self.base.load(Ordering::Acquire);
        system::forget(Self::address(base, number), BLOCK_BYTES);
        self.resident.fetch_sub(1, Ordering::Relaxed);
        self.cold.push(&self.beneath, number);
    }
}

/// Memory of the system, by addresses.
mod system {
    use std::ptr;

    /// Addresses for so many bytes, with nothing behind them.
    pub(super) fn reserve(bytes: usize) -> Option<*mut u8> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        #[expect(unsafe_code, reason = "memory comes from the system")]
        // SAFETY: addresses that the system chooses are nobody's yet.
        let at = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return None;
        }
        // A system that makes no huge pages refuses, which is as good.
        #[expect(unsafe_code, reason = "memory comes from the system")]
        // SAFETY: the range was made above, and the advice changes nothing of what is in it.
        let _refused = unsafe { libc::madvise(at, bytes, libc::MADV_NOHUGEPAGE) };
        Some(at.cast())
    }

    /// Undoes [`reserve`], whose addresses nobody has.
    pub(super) fn release(at: *mut u8, bytes: usize) {
        #[expect(unsafe_code, reason = "memory goes back to the system")]
        // SAFETY: the whole range was reserved by this thread, and nothing in it was given to anybody.
        let _refused = unsafe { libc::munmap(at.cast(), bytes) };
    }

    /// Puts memory behind addresses that were reserved; whether there is any.
    pub(super) fn commit(at: *mut u8, bytes: usize) -> bool {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        #[expect(unsafe_code, reason = "memory comes from the system")]
        // SAFETY: the addresses are of a block that nobody has yet.
        let refused = unsafe { libc::mprotect(at.cast(), bytes, access) };
        refused == 0
    }

    /// Forgets what is in memory that nobody uses; it is zeros from then on.
    pub(super) fn forget(at: *mut u8, bytes: usize) {
        #[expect(unsafe_code, reason = "memory goes back to the system")]
        // SAFETY: the addresses are of a block that nobody has, and of this range alone.
        let _refused = unsafe { libc::madvise(at.cast(), bytes, libc::MADV_DONTNEED) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeSet;
    use std::thread;

    use super::*;

    #[expect(unsafe_code, reason = "a test looks into blocks")]
    fn write(block: *mut u8, byte: u8) {
        // SAFETY: the block is this thread's, and as long as that.
        unsafe { ptr::write_bytes(block, byte, BLOCK_BYTES) };
    }

    #[expect(unsafe_code, reason = "a test looks into blocks")]
    fn is_all(block: *mut u8, byte: u8) -> bool {
        // SAFETY: the block is this thread's, as long as that, and what the system gives is zeros.
        let bytes = unsafe { std::slice::from_raw_parts(block, BLOCK_BYTES) };
        bytes.iter().all(|one| *one == byte)
    }

    #[expect(unsafe_code, reason = "a test looks into blocks")]
    fn write_ends(block: *mut u8, byte: u8) {
        // SAFETY: the block is this thread's, and as long as that.
        unsafe {
            block.write(byte);
            block.add(BLOCK_BYTES - 1).write(byte);
        }
    }

    #[expect(unsafe_code, reason = "a test looks into blocks")]
    fn has_ends(block: *mut u8, byte: u8) -> bool {
        // SAFETY: the block is this thread's, as long as that, and was written.
        unsafe { block.read() == byte && block.add(BLOCK_BYTES - 1).read() == byte }
    }

    #[test]
    fn there_are_so_many_blocks_and_none_lies_in_another() {
        let blocks = Blocks::<3>::new();
        assert!(blocks.take().is_none(), "none is kept");
        blocks.keep(1);
        let taken: BTreeSet<_> = (0..3).map(|_| blocks.take().unwrap()).collect();
        assert!(blocks.take().is_none());
        let addresses: Vec<_> = taken.iter().map(|block| block.addr()).collect();
        for (pair, block) in addresses.windows(2).zip(&taken) {
            assert_eq!(pair[1] - pair[0], BLOCK_BYTES);
            assert!(block.addr().is_multiple_of(BLOCK_ALIGN));
            write(*block, 1);
        }
        for block in &taken {
            assert!(blocks.give_back(*block));
        }
        let again: BTreeSet<_> = (0..3).map(|_| blocks.take().unwrap()).collect();
        assert_eq!(taken, again);
    }

    #[test]
    fn what_is_elsewhere_is_no_block() {
        let blocks = Blocks::<2>::new();
        let mut other = 0_u8;
        assert!(!blocks.give_back(&raw mut other), "before there are any");
        blocks.keep(2);
        let first = blocks.take().unwrap();
        assert!(!blocks.give_back(&raw mut other));
        assert!(!blocks.has(first.wrapping_sub(1)));
        assert!(blocks.has(first.wrapping_add(2 * BLOCK_BYTES - 1)));
        assert!(!blocks.has(first.wrapping_add(2 * BLOCK_BYTES)));
    }

    #[test]
    fn as_many_stay_resident_as_are_kept_and_the_rest_goes_to_the_system() {
        let blocks = Blocks::<4>::new();
        blocks.keep(2);
        let taken: Vec<_> = (0..4).map(|_| blocks.take().unwrap()).collect();
        for block in taken {
            write(block, 7);
            blocks.give_back(block);
        }
        assert_eq!(blocks.resident.load(Ordering::Relaxed), 2);
        let again: Vec<_> = (0..4).map(|_| blocks.take().unwrap()).collect();
        let warm = again.iter().filter(|block| is_all(**block, 7)).count();
        let cold = again.iter().filter(|block| is_all(**block, 0)).count();
        assert_eq!((warm, cold), (2, 2));
        for block in again {
            write(block, 8);
            blocks.give_back(block);
        }
        blocks.keep(1);
        assert_eq!(blocks.resident.load(Ordering::Relaxed), 1);
        assert!(is_all(blocks.take().unwrap(), 8));
        assert!(is_all(blocks.take().unwrap(), 0));
    }

    #[test]
    fn no_block_is_two_threads() {
        static SHARED: Blocks<6> = Blocks::new();
        SHARED.keep(3);
        thread::scope(|scope| {
            for thread in 1..=4 {
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let taken: Vec<_> = (0..2).filter_map(|_| SHARED.take()).collect();
                        for block in &taken {
                            write_ends(*block, thread);
                        }
                        for block in taken {
                            assert!(has_ends(block, thread), "another thread has written");
                            SHARED.give_back(block);
                        }
                    }
                });
            }
        });
        let left: BTreeSet<_> = (0..7).map_while(|_| SHARED.take()).collect();
        assert_eq!(left.len(), 6, "none is lost, none twice");
        assert_eq!(SHARED.resident.load(Ordering::Relaxed), 6);
    }
}
