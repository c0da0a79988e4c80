//! The allocator of the binary: mimalloc, and a heap profile by sampled allocations on top of it.
//!
//! **On the way of each allocation** lies one load of a number that is written when somebody begins or ends a profile,
//! and a branch; of each one that is freed, a look at the last bits of its address. While sampling is on, an
//! allocation also counts down a number of its thread (`countdown`). Nothing is written that another core reads.
//!
//! **A sample** is allocated at an address that is a multiple of 4 KiB, which is how it is known when it is freed: only
//! what has such an address is looked up (`live`). Its stack is unwound and kept once (`stacks`). Both are tables of
//! fixed size, of atomics, without locks; full, a sample is dropped and counted, or counted without its stack.
//!
//! **Inside an allocator** nothing may panic, wait or allocate. Indexes are checked, arithmetic wraps or saturates
//! (lints), a thread that samples does not sample what that allocates, and what a thread has of its own needs no
//! destructor, so that it is there to a thread's end. Child processes share nothing of it: between `fork` and `exec`
//! nobody allocates.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests may panic"
    )
)]

mod back;
mod countdown;
mod live;
mod profile;
mod sampler;
mod stacks;
mod unwind;

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::Ordering;

use mimalloc::MiMalloc;
use parking_lot::Mutex;

pub use back::forget_binaries;
pub use profile::{Allocated, Amount, HeapProfile};
pub use unwind::Names;

use sampler::{SAMPLER, has_sampled, rate, set_rate};
use stacks::Sum;
use weir_core::heap;

/// What addresses of samples are multiples of. Others may be by chance, above all of large blocks: those are looked up
/// in vain.
const MARK: usize = 4_096;

/// Mimalloc, sampled.
#[derive(Clone, Copy, Debug)]
pub struct Sampled;

/// The alignment that marks a sample; `None` if nothing could be allocated with it.
#[inline]
fn marked(size: usize, align: usize) -> Option<Layout> {
    Layout::from_size_align(size, align.max(MARK)).ok()
}

/// The layout to allocate with if a sample is due, and its rate. Out of line, so that what it needs burdens nobody
/// while nothing is sampled.
#[inline(never)]
fn due(size: usize, align: usize) -> Option<(Layout, u64)> {
    let rate = rate();
    if rate == 0 || !countdown::is_due(size, rate) {
        return None;
    }
    Some((marked(size, align)?, rate))
}

/// Keeps a sample of what was allocated, unless that failed.
#[inline]
fn sampled(pointer: *mut u8, size: usize, rate: u64) -> *mut u8 {
    if !pointer.is_null() {
        SAMPLER.take_sample(pointer.addr(), size, rate);
    }
    pointer
}

/// Whether an allocation may be a sample.
#[inline]
fn may_be_sample(pointer: *mut u8) -> bool {
    pointer.addr() & (MARK - 1) == 0 && has_sampled()
}

/// What is known of an allocation that ends, if it is a sample.
#[inline(never)]
fn taken(pointer: *mut u8) -> Option<live::Entry> {
    SAMPLER.live.take(pointer.addr())
}

#[expect(unsafe_code, reason = "an allocator is an unsafe trait")]
// SAFETY: every block is mimalloc's, of the size that was asked for and of its alignment or a multiple of it, and goes
// back to mimalloc, which finds size and alignment of a block by its address and takes no notice of the layout given
// back. What is done besides touches no block, and does not unwind.
unsafe impl GlobalAlloc for Sampled {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if rate() > 0
            && let Some((marked, rate)) = due(layout.size(), layout.align())
        {
            // SAFETY: the size is the caller's, so not 0; the alignment is a multiple of theirs.
            let pointer = unsafe { MiMalloc.alloc(marked) };
            return sampled(pointer, layout.size(), rate);
        }
        // SAFETY: as the caller was to see to.
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if rate() > 0
            && let Some((marked, rate)) = due(layout.size(), layout.align())
        {
            // SAFETY: the size is the caller's, so not 0; the alignment is a multiple of theirs.
            let pointer = unsafe { MiMalloc.alloc_zeroed(marked) };
            return sampled(pointer, layout.size(), rate);
        }
        // SAFETY: as the caller was to see to.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if may_be_sample(pointer) {
            // Before the address can be somebody else's.
            taken(pointer);
        }
        // SAFETY: the block is mimalloc's, and the caller gives it up.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    /// Counts as what was there having ended, and as an allocation of the new size.
    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let before = may_be_sample(pointer).then(|| taken(pointer)).flatten();
        let due = if rate() > 0 {
            due(size, layout.align())
        } else {
            None
        };
        let wanted = due.map_or(layout, |(marked, _)| marked);
        // SAFETY: the block is mimalloc's, the size the caller's, the alignment theirs or a multiple.
        let moved = unsafe { MiMalloc.realloc(pointer, wanted, size) };
        match (moved.is_null(), due, before) {
            (false, Some((_, rate)), _) => {
                sampled(moved, size, rate);
            }
            // What was there is there still.
            (true, _, Some(entry)) => {
                SAMPLER.live.put(pointer.addr(), entry);
            }
            _ => {}
        }
        moved
    }
}

/// What was ordered.
struct Orders {
    /// The rate that is in force without a window.
    always: u64,
    has_window: bool,
}

static ORDERS: Mutex<Orders> = Mutex::new(Orders {
    always: 0,
    has_window: false,
});

/// Samples all the time, once in so many bytes, which are brought into the bounds of [`weir_core::heap`]; 0: not at
/// all. Holds from the next allocation on, or from the end of the window that is open.
pub fn sample_always(interval: u64) {
    let mut orders = ORDERS.lock();
    orders.always = if interval == 0 {
        0
    } else {
        heap::rate(interval)
    };
    if !orders.has_window {
        set_rate(orders.always);
    }
}

/// What is sampled all the time, since that began; `None` if nothing is.
pub fn since_start() -> Option<HeapProfile> {
    let always = ORDERS.lock().always;
    (always > 0).then(|| HeapProfile {
        stacks: HeapProfile::of(&SAMPLER, &[], |_| true),
        interval: heap::MEAN_DISTANCE.checked_div(always).unwrap_or(0),
        dropped: SAMPLER.dropped.load(Ordering::Relaxed),
    })
}

/// A time of closer sampling; it ends when this is dropped.
#[derive(Debug)]
pub struct Window {
    number: u32,
    rate: u64,
    before: Vec<Sum>,
    dropped_before: u64,
}

impl Window {
    /// Samples once in so many bytes, or in those of [`sample_always`] if they are fewer. `None` while another one is
    /// open.
    pub fn begin(interval: u64) -> Option<Self> {
        let mut orders = ORDERS.lock();
        if std::mem::replace(&mut orders.has_window, true) {
            return None;
        }
        let rate = heap::rate(interval).max(orders.always);
        let window = Self {
            number: SAMPLER
                .window
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_add(1),
            rate,
            before: SAMPLER.stacks.sums(),
            dropped_before: SAMPLER.dropped.load(Ordering::Relaxed),
        };
        set_rate(rate);
        Some(window)
    }

    /// What was allocated since the beginning, and what of that is still there.
    pub fn end(self) -> HeapProfile {
        // What is allocated to tell it is not of it.
        set_rate(ORDERS.lock().always);
        let dropped = SAMPLER.dropped.load(Ordering::Relaxed);
        HeapProfile {
            stacks: HeapProfile::of(&SAMPLER, &self.before, |entry| entry.window == self.number),
            interval: heap::MEAN_DISTANCE.checked_div(self.rate).unwrap_or(0),
            dropped: dropped.saturating_sub(self.dropped_before),
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut orders = ORDERS.lock();
        SAMPLER.window.fetch_add(1, Ordering::Relaxed);
        set_rate(orders.always);
        orders.has_window = false;
    }
}
