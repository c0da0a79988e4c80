//! What became of lines.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Written = queued + dropped for want of room; of the queued some may not get into the file.
#[derive(Debug, Default)]
pub struct LogCounts {
    queued: AtomicU64,
    no_room: AtomicU64,
    not_in_file: AtomicU64,
    failures: AtomicU64,
    rotations: AtomicU64,
    not_on_stderr: AtomicU64,
    waiting_bytes: AtomicUsize,
}

impl LogCounts {
    /// Lines that were taken.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Lines that found no room in the queue.
    pub fn no_room(&self) -> u64 {
        self.no_room.load(Ordering::Relaxed)
    }

    /// Lines that did not get into the file.
    pub fn not_in_file(&self) -> u64 {
        self.not_in_file.load(Ordering::Relaxed)
    }

    /// Times that the file could not be written, opened or put aside.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Times that the file was put aside.
    pub fn rotations(&self) -> u64 {
        self.rotations.load(Ordering::Relaxed)
    }

    /// Lines that standard error did not take in time, or not at all.
    pub fn stderr_dropped(&self) -> u64 {
        self.not_on_stderr.load(Ordering::Relaxed)
    }

    /// Bytes of lines that wait.
    #[cfg(test)]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Takes room for bytes that will wait, if there is any.
    pub(super) fn take_room(&self, bytes: usize, bytes_max: usize) -> bool {
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= bytes_max;
        if !fits {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    pub(super) fn left_queue(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn was_queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn found_no_room(&self) {
        self.no_room.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn not_on_stderr(&self, lines: u64) {
        self.not_on_stderr.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn file_failed(&self, lines_lost: u64) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.not_in_file.fetch_add(lines_lost, Ordering::Relaxed);
    }

    pub(super) fn rotated(&self, times: u64) {
        self.rotations.fetch_add(times, Ordering::Relaxed);
    }
}
