//! Memory beside what is kept: bodies under way, and what clients still hold of them and of what was dropped.
//!
//! What is held is charged until it is let go. When there is no room for another body, readers that have taken nothing
//! for long are cut, so that whoever holds much and reads nothing does not keep others from being kept.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::fill::{Fill, Refused};
use crate::in_kernel::BODIES_MAX;
use crate::reading::{Readers, Slot};

/// A reader that has taken nothing for this long is cut when there is no room.
pub const LAZY_AFTER: Duration = Duration::from_secs(10);
/// Between two looks for such readers.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Bodies whose readers are known before those that are gone are forgotten.
pub(crate) const HELD_LEAST: usize = 64;
/// The part of it that bodies may take which the kernel holds once more.
const IN_KERNEL_SHARE: u64 = 4;

/// Memory for bodies under way and for what is held of what is not kept, shared by all of them.
#[derive(Clone, Debug)]
pub struct Budget(Arc<State>);

#[derive(Debug)]
struct State {
    used_bytes: AtomicU64,
    bytes_max: AtomicU64,
    in_kernel_bytes: AtomicU64,
    in_kernel: AtomicU32,
    held: Mutex<Held>,
    readers: Mutex<Readers>,
}

/// Bodies that only their readers hold.
#[derive(Debug, Default)]
struct Held {
    bodies: Vec<Weak<Fill>>,
    /// How many make it worth to forget those that are gone.
    forget_at: usize,
    looked_at: Option<Instant>,
}

impl Budget {
    /// Of so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self(Arc::new(State {
            used_bytes: AtomicU64::new(0),
            bytes_max: AtomicU64::new(bytes_max),
            in_kernel_bytes: AtomicU64::new(0),
            in_kernel: AtomicU32::new(0),
            held: Mutex::default(),
            readers: Mutex::default(),
        }))
    }

    /// From now on of so many bytes.
    pub fn configure(&self, bytes_max: u64) {
        self.0.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// How much may be taken.
    pub fn bytes_max(&self) -> u64 {
        self.0.bytes_max.load(Ordering::Relaxed)
    }

    /// What is taken now. More than there may be if what is passed on, and held for that, comes to more.
    pub fn used_bytes(&self) -> u64 {
        self.0.used_bytes.load(Ordering::Relaxed)
    }

    /// Nothing of it.
    pub(crate) fn charge(&self) -> Charge {
        Charge {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// Room for a body that the kernel holds once more; `None` if there is none.
    pub(crate) fn kernel_share(&self, bytes: u64) -> Option<KernelShare> {
        let state = &self.0;
        let before = state.in_kernel_bytes.fetch_add(bytes, Ordering::Relaxed);
        let bodies = state.in_kernel.fetch_add(1, Ordering::Relaxed);
        let mut share = KernelShare {
            charge: self.charge(),
            bytes,
        };
        let bytes_max = state.bytes_max.load(Ordering::Relaxed) / IN_KERNEL_SHARE;
        let has_room = before + bytes <= bytes_max && bodies < BODIES_MAX;
        (has_room && share.charge.take(bytes).is_ok()).then_some(share)
    }

    /// From now on only its readers hold this body.
    pub(crate) fn is_held(&self, body: &Arc<Fill>) {
        let mut held = self.0.held.lock();
        if held.bodies.len() >= held.forget_at.max(HELD_LEAST) {
            held.bodies.retain(|body| body.strong_count() > 0);
            held.forget_at = 2 * held.bodies.len();
        }
        held.bodies.push(Arc::downgrade(body));
    }

    /// Somebody reads what is kept, and may do so when it is kept no more.
    pub(crate) fn is_read(&self, slot: &Arc<Slot>) {
        self.0.readers.lock().add(slot);
    }

    /// Whether there is room, if need be at the cost of readers that have taken nothing for long.
    pub fn makes_room(&self) -> bool {
        self.check().is_ok() || (self.cut_lazy() > 0 && self.check().is_ok())
    }

    fn try_take(&self, bytes: u64) -> Result<(), Refused> {
        let bytes_max = self.bytes_max();
        let before = self.0.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes <= bytes_max {
            return Ok(());
        }
        self.give_back(bytes);
        Err(Refused::Busy { bytes_max })
    }

    /// Whether there is room for what is charged.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        let bytes_max = self.bytes_max();
        match self.used_bytes() <= bytes_max {
            true => Ok(()),
            false => Err(Refused::Busy { bytes_max }),
        }
    }

    fn take_anyway(&self, bytes: u64) {
        self.0.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.0.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Cuts the readers that have taken nothing for long; how many. Looks no more often than [`LOOK_INTERVAL`].
    pub(crate) fn cut_lazy(&self) -> usize {
        let now = Instant::now();
        let bodies: Vec<Arc<Fill>> = {
            let mut held = self.0.held.lock();
            if held.looked_at.is_some_and(|at| now < at + LOOK_INTERVAL) {
                return 0;
            }
            held.looked_at = Some(now);
            held.bodies.iter().filter_map(Weak::upgrade).collect()
        };
        let slots = self.0.readers.lock().all();
        // What is let go is dropped here, outside of any lock.
        let cut = slots.iter().filter_map(|slot| slot.cut_lazy(now)).count();
        cut + bodies.iter().map(|body| body.cut_lazy(now)).sum::<usize>()
    }
}

/// What somebody has taken of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: u64,
}

impl Charge {
    /// More, if there is room.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Refused> {
        let taken = self.budget.try_take(bytes);
        match taken {
            Ok(()) => self.bytes += bytes,
            Err(_) => self.take_anyway(bytes),
        }
        taken
    }

    /// More, for what is there already.
    pub(crate) fn take_anyway(&mut self, bytes: u64) {
        self.budget.take_anyway(bytes);
        self.bytes += bytes;
    }

    pub(crate) fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.budget.give_back(bytes);
        self.bytes -= bytes;
    }

    pub(crate) const fn budget(&self) -> &Budget {
        &self.budget
    }
}

/// Room for a body that the kernel holds once more; given back when dropped.
#[derive(Debug)]
pub(crate) struct KernelShare {
    charge: Charge,
    bytes: u64,
}

impl Drop for KernelShare {
    fn drop(&mut self) {
        let state = &self.charge.budget.0;
        state
            .in_kernel_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
        state.in_kernel.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}
