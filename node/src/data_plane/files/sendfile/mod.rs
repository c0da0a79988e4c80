//! Files that the kernel itself copies into a client's connection.
//!
//! hyper owns what is written to a connection, so it gets placeholders: [`SendQueue::push`] makes bytes that stand for
//! a part of a file and are nowhere but in one static, and hyper hands them on by address. Below it `client_io` asks
//! [`SendQueue::next`], which knows a placeholder by its address, and what it stands for by its turn.
//!
//! A placeholder can never reach a client. Whoever copies it drops it before its part was sent, and whoever hands on
//! anything else than the next byte of the part whose turn it is is seen by its address; either ends the connection
//! before another byte is written.

mod resident;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{fstat, sendfile};
use rustix::io::{Errno, retry_on_intr};
use weir_core::files::Stamp;

use super::super::answer::Reason;
use super::disk::stamp_of;
pub(super) use resident::{bring_in, nowhere};

/// Bytes of one part, which bound the time that one call takes of a core.
pub(in crate::data_plane) const PART_BYTES_MAX: u64 = 512 << 10;
/// What is shorter is read: it is copied sooner than it is sent.
pub(super) const PART_BYTES_MIN: u64 = 32 << 10;

/// Parts that may wait in one connection; hyper takes 16 buffers before it writes. Each has an address of its own.
const PARTS_MAX: usize = 64;

static PLACEHOLDER: [u8; PART_BYTES_MAX as usize + PARTS_MAX] =
    [0; PART_BYTES_MAX as usize + PARTS_MAX];

/// A part of a file that stands in the queue of a connection.
struct Part {
    file: Arc<OwnedFd>,
    /// `None`: nobody else writes to it.
    stamp: Option<Stamp>,
    at: u64,
    bytes: usize,
    /// Where its placeholder begins.
    turn: usize,
    /// By the connection alone.
    sent: AtomicUsize,
}

impl Part {
    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    fn left(&self) -> usize {
        self.bytes - self.sent()
    }

    /// What stands for the bytes that are still to be sent.
    fn placeholder(&self) -> &'static [u8] {
        &PLACEHOLDER[self.turn + self.sent()..self.turn + self.bytes]
    }
}

/// The bytes that the parser has in a part's place.
struct Placeholder {
    part: Arc<Part>,
    queue: Arc<SendQueue>,
}

impl AsRef<[u8]> for Placeholder {
    fn as_ref(&self) -> &[u8] {
        self.part.placeholder()
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        if self.part.left() > 0 {
            // Whatever was made of it, the client's stream cannot go on behind it.
            self.queue.is_dead.store(true, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
struct Waiting {
    parts: VecDeque<Arc<Part>>,
    /// Of the next one.
    turn: usize,
}

/// What one connection is to send from files, in the order of its stream. Its bodies and its stream use it, all on one
/// core; it is locked only because hyper wants both to be `Send`.
///
/// It holds [`PARTS_MAX`] parts; one more ends the connection.
#[derive(Default)]
pub(in crate::data_plane) struct SendQueue {
    waiting: Mutex<Waiting>,
    is_dead: AtomicBool,
    failed: Mutex<Option<Reason>>,
}

/// What a connection writes next.
pub(in crate::data_plane) enum Next<'a, 'b> {
    /// These bytes.
    Memory(&'a [IoSlice<'b>]),
    /// These bytes, right before those of a file.
    MemoryBeforeFile(&'a [IoSlice<'b>]),
    /// Of a file.
    File(Sending<'a>),
}

impl SendQueue {
    /// Bytes to be handed to the connection's parser in place of a part of a file, at most [`PART_BYTES_MAX`]. The
    /// connection ends if the file is in another state than `stamp` says when it is sent.
    pub(in crate::data_plane) fn push(
        self: &Arc<Self>,
        file: &Arc<OwnedFd>,
        stamp: Option<Stamp>,
        range: Range<u64>,
    ) -> Bytes {
        let bytes = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut waiting = self.waiting.lock();
        let part = Arc::new(Part {
            file: Arc::clone(file),
            stamp,
            at: range.start,
            bytes: bytes.min(PLACEHOLDER.len() - PARTS_MAX),
            turn: waiting.turn,
            sent: AtomicUsize::new(0),
        });
        waiting.turn = (waiting.turn + 1) % PARTS_MAX;
        if waiting.parts.len() < PARTS_MAX {
            waiting.parts.push_back(Arc::clone(&part));
        } else {
            self.die(Reason::FileError);
        }
        let queue = Arc::clone(self);
        Bytes::from_owner(Placeholder { part, queue })
    }

    /// Why a file ended the connection, once.
    pub(in crate::data_plane) fn take_failure(&self) -> Option<Reason> {
        self.failed.lock().take()
    }

    /// Whether nothing may be written any more.
    pub(in crate::data_plane) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// What is first of what the parser wants to write.
    ///
    /// # Errors
    /// Nothing may be written any more.
    pub(in crate::data_plane) fn next<'a, 'b>(
        &'a self,
        slices: &'a [IoSlice<'b>],
    ) -> io::Result<Next<'a, 'b>> {
        let first = slices.iter().position(|slice| is_placeholder(slice));
        if self.is_dead() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match first {
            None => Ok(Next::Memory(slices)),
            Some(0) => self.sending(&slices[0]).map(Next::File),
            Some(first) => Ok(Next::MemoryBeforeFile(&slices[..first])),
        }
    }

    /// The part that a placeholder stands for.
    fn sending(&self, slice: &[u8]) -> io::Result<Sending<'_>> {
        let part = self.waiting.lock().parts.front().cloned();
        let is_its = |part: &Arc<Part>| {
            let rest = part.placeholder();
            slice.as_ptr() == rest.as_ptr() && slice.len() <= rest.len()
        };
        match part.filter(is_its) {
            Some(part) => Ok(Sending {
                queue: self,
                part,
                bytes: slice.len(),
            }),
            None => Err(self.die(Reason::FileError)),
        }
    }

    fn die(&self, reason: Reason) -> io::Error {
        self.is_dead.store(true, Ordering::Relaxed);
        *self.failed.lock() = Some(reason);
        io::ErrorKind::ConnectionAborted.into()
    }
}

/// Whether these bytes stand for those of a file.
pub(in crate::data_plane) fn is_placeholder(slice: &[u8]) -> bool {
    !slice.is_empty() && PLACEHOLDER.as_ptr_range().contains(&slice.as_ptr())
}

/// The next bytes of a part.
pub(in crate::data_plane) struct Sending<'a> {
    queue: &'a SendQueue,
    part: Arc<Part>,
    bytes: usize,
}

impl Sending<'_> {
    /// Sends as many as the socket takes, if the file is still what it was.
    ///
    /// # Errors
    /// What the system says of the socket; an end of the connection if the file is at fault.
    pub(in crate::data_plane) fn send(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let (part, queue) = (&self.part, self.queue);
        if let Some(stamp) = &part.stamp {
            let now = fstat(&part.file).map_err(|_| queue.die(Reason::FileError))?;
            if stamp.is_torn(&stamp_of(&now)) {
                return Err(queue.die(Reason::FileChanged));
            }
        }
        let mut at = part.at + part.sent() as u64;
        let sent = retry_on_intr(|| sendfile(socket, &part.file, Some(&mut at), self.bytes));
        match sent {
            Ok(0) => Err(queue.die(Reason::FileChanged)),
            Ok(sent) => {
                part.sent.fetch_add(sent, Ordering::Relaxed);
                if part.left() == 0 {
                    queue.waiting.lock().parts.pop_front();
                }
                Ok(sent)
            }
            Err(Errno::IO) => Err(queue.die(Reason::FileError)),
            Err(error) => Err(error.into()),
        }
    }
}
