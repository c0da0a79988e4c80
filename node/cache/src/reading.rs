//! Who reads what is kept, at their own pace.
//!
//! A short body is in a client's connection at once. Whoever reads a long one holds all of it until they have taken it
//! or leave, also when it is kept no more. They hold it by way of a slot that can be emptied: when there is no room for
//! another body ([`Budget`]), those who have taken nothing for long of what is kept no more get nothing further.

use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use weir_core::content_coding::Coding;

use crate::budget::{Budget, HELD_LEAST, LAZY_AFTER};
use crate::entry::Entry;
use crate::fill::Broken;
use crate::in_kernel::KernelCopy;

/// Bytes that go to a connection at once; as much of a connection's answers is in memory anyway. A body up to this long
/// is not watched.
pub const PIECE_BYTES_MAX: usize = 256 << 10;

/// One who reads an entry.
#[derive(Debug)]
pub struct EntryReader {
    held: Held,
    /// The piece that is read next, and what has been read of it.
    at: u32,
    offset: u32,
}

#[derive(Debug)]
enum Held {
    Short(Arc<Entry>),
    Long(Arc<Slot>),
}

/// What a reader of a long body holds.
#[derive(Debug)]
pub(crate) struct Slot(Mutex<Reading>);

#[derive(Debug)]
struct Reading {
    /// `None` once it is cut.
    entry: Option<Arc<Entry>>,
    took_at: Instant,
}

impl Slot {
    /// Takes what it holds from a reader that has taken nothing for long, if only readers hold it. Its memory is let
    /// go when that is dropped.
    pub(crate) fn cut_lazy(&self, now: Instant) -> Option<Arc<Entry>> {
        let mut reading = self.0.lock();
        let is_lazy = now >= reading.took_at + LAZY_AFTER;
        let is_held = reading.entry.as_ref().is_some_and(|entry| entry.is_held());
        (is_lazy && is_held).then(|| reading.entry.take()).flatten()
    }
}

impl EntryReader {
    /// Reads an entry from its start.
    pub fn new(entry: Arc<Entry>, budget: &Budget) -> Self {
        let is_short = entry.longest_bytes() <= PIECE_BYTES_MAX as u64;
        let held = match is_short {
            true => Held::Short(entry),
            false => {
                let slot = Arc::new(Slot(Mutex::new(Reading {
                    entry: Some(entry),
                    took_at: Instant::now(),
                })));
                budget.is_read(&slot);
                Held::Long(slot)
            }
        };
        Self {
            held,
            at: 0,
            offset: 0,
        }
    }

    /// The next bytes of the body, [`PIECE_BYTES_MAX`] at most; `None` after the last ones.
    ///
    /// # Errors
    /// It took nothing for too long.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>, Broken> {
        let (at, offset) = (self.at as usize, self.offset as usize);
        let found = self.with(|entry| {
            let piece = entry.body.get(at)?;
            let end = piece.len().min(offset + PIECE_BYTES_MAX);
            let is_last = end == piece.len();
            // A piece that is passed on whole is not counted twice.
            let bytes = match (offset, is_last) {
                (0, true) => piece.clone(),
                _ => piece.slice(offset..end),
            };
            Some((bytes, is_last, end))
        })?;
        let Some((bytes, is_last, end)) = found else {
            return Ok(None);
        };
        match is_last {
            true => (self.at, self.offset) = (self.at + 1, 0),
            false => self.offset = u32::try_from(end).unwrap_or(u32::MAX),
        }
        Ok(Some(bytes))
    }

    /// The copy of all of the body that the kernel holds, if nothing was read yet and it is asked for often.
    pub fn kernel_copy(&self, budget: &Budget) -> Option<Arc<KernelCopy>> {
        let copy = self.with(|entry| entry.kernel_copy(budget).cloned());
        copy.ok()
            .flatten()
            .filter(|_| (self.at, self.offset) == (0, 0))
    }

    /// Bytes of one piece of the body.
    ///
    /// # Errors
    /// It took nothing for too long.
    pub fn slice(&self, piece: usize, bytes: Range<usize>) -> Result<Option<Bytes>, Broken> {
        self.with(|entry| Some(entry.body.get(piece)?.slice(bytes)))
    }

    /// Bytes of the body in a coding.
    ///
    /// # Errors
    /// It took nothing for too long.
    pub fn coded(&self, coding: Coding, bytes: Range<usize>) -> Result<Option<Bytes>, Broken> {
        self.with(|entry| Some(entry.coded(coding)?.body.as_ref()?.slice(bytes)))
    }

    fn with<T>(&self, read: impl FnOnce(&Entry) -> Option<T>) -> Result<Option<T>, Broken> {
        match &self.held {
            Held::Short(entry) => Ok(read(entry)),
            Held::Long(slot) => {
                let mut reading = slot.0.lock();
                reading.took_at = Instant::now();
                reading.entry.as_deref().map(read).ok_or(Broken)
            }
        }
    }
}

/// Everybody who reads long bodies.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    slots: Vec<Weak<Slot>>,
    /// How many make it worth to forget those that are gone.
    forget_at: usize,
}

impl Readers {
    pub(crate) fn add(&mut self, slot: &Arc<Slot>) {
        if self.slots.len() >= self.forget_at.max(HELD_LEAST) {
            self.slots.retain(|slot| slot.strong_count() > 0);
            self.forget_at = 2 * self.slots.len();
        }
        self.slots.push(Arc::downgrade(slot));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.iter().filter_map(Weak::upgrade).collect()
    }
}
