//! When the next sample is due, counted down on each thread by what it allocates.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_core::heap::distance;

thread_local! {
    /// What is left to the next sample. Nothing is dropped at a thread's end, so allocations of that time find it too.
    static LEFT: Cell<u64> = const { Cell::new(0) };
    /// Of this thread's distances; 0 until the first is drawn.
    static SEED: Cell<u64> = const { Cell::new(0) };
    /// Whether this thread takes a sample; what that allocates is none.
    static IS_BUSY: Cell<bool> = const { Cell::new(false) };
}

/// The threads that have drawn, so that none has another's seed.
static THREADS: AtomicU64 = AtomicU64::new(0);

/// Counts an allocation down at a rate that is not 0; whether it is to be sampled.
#[inline]
pub(crate) fn is_due(size: usize, rate: u64) -> bool {
    let cost = (size as u64).saturating_mul(rate);
    LEFT.with(|left| match left.get().checked_sub(cost) {
        Some(rest) => {
            left.set(rest);
            false
        }
        None => is_crossed(cost),
    })
}

#[cold]
#[inline(never)]
fn is_crossed(cost: u64) -> bool {
    if IS_BUSY.get() {
        return false;
    }
    // A thread that has not drawn yet begins now: the next drop is as far from here as from anywhere.
    if SEED.get() == 0
        && let Some(rest) = draw().checked_sub(cost)
    {
        LEFT.set(rest);
        return false;
    }
    LEFT.set(draw());
    true
}

fn draw() -> u64 {
    let seed = match SEED.get() {
        0 => {
            let thread = THREADS.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            thread.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        }
        seed => seed,
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let drawn = random.u64(..);
    SEED.set(random.get_seed().max(1));
    distance(drawn)
}

/// While it is held, this thread samples nothing.
pub(crate) struct Busy(());

impl Busy {
    /// `None` if it is held already.
    pub(crate) fn begin() -> Option<Self> {
        (!IS_BUSY.replace(true)).then_some(Self(()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        IS_BUSY.set(false);
    }
}
