//! A body that is read while it comes: one writer, any number of readers, on whatever threads.
//!
//! As long as it may be kept, everything that came stays, and the writer waits for nobody: a slow or vanished client
//! holds up nobody else. Once it turned out too long to be kept ([`FillWriter::let_go`]) only what the slowest reader
//! has not read stays, no further readers are let in, and the writer waits for the slowest; one that holds up others
//! for too long is cut ([`FillWriter::cut_laggards`]).
//!
//! What is held is charged to a [`Budget`] until it is let go, also after the last piece came: a reader that takes
//! nothing holds everything that it has not read.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;
use weir_core::cache::Stored;
use weir_core::purge::Hlc;

use crate::blocks::Filling;
use crate::budget::{Budget, Charge, LAZY_AFTER};
use crate::interest::Interested;

/// Bytes that may wait for the slowest reader of a body that is not kept.
const WINDOW_BYTES: u64 = 1 << 20;

/// The body did not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the body broke off")]
pub struct Broken;

/// A body that may not be kept any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It is longer than what is kept.
    #[error("the body is longer than {bytes_max} bytes")]
    TooLong {
        /// How long it may be.
        bytes_max: u64,
    },
    /// All bodies that come right now take too much memory.
    #[error("bodies under way take more than {bytes_max} bytes")]
    Busy {
        /// How much they may take.
        bytes_max: u64,
    },
}

/// A response whose body is still coming.
#[derive(Debug)]
pub struct Fill {
    /// Everything but the body.
    pub stored: Stored,
    /// When the fetch began, as purges compare it.
    pub fetched_at: Hlc,
    /// How long the body will be, if the origin said so.
    pub content_length: Option<u64>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    pieces: Vec<Bytes>,
    /// Pieces that are not kept any more.
    dropped: usize,
    bytes: u64,
    /// For the pieces that are there.
    charge: Charge,
    is_kept: bool,
    end: Option<Result<(), Broken>>,
    /// Readers by their number; `None` where one has left.
    readers: Vec<Option<ReaderState>>,
    /// Numbers of those that have left.
    free: Vec<usize>,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct ReaderState {
    /// The next piece that it reads.
    at: usize,
    /// It held up others for too long and gets nothing more.
    is_cut: bool,
    /// When it took a piece last, or there was none that it had not taken.
    took_at: Instant,
    waker: Option<Waker>,
}

impl Progress {
    fn wake_readers(&mut self) -> Vec<Waker> {
        let readers = self.readers.iter_mut().flatten();
        let woken = readers.filter_map(|reader| {
            let waker = reader.waker.take()?;
            reader.took_at = Instant::now();
            Some(waker)
        });
        woken.collect()
    }

    fn reading(&self) -> impl Iterator<Item = &ReaderState> {
        let readers = self.readers.iter().flatten();
        readers.filter(|reader| !reader.is_cut)
    }

    fn slowest(&self) -> Option<usize> {
        self.reading().map(|reader| reader.at).min()
    }

    /// Whether somebody has read everything and waits while the window is full of what others have not read.
    fn holds_up(&self) -> bool {
        let end = self.dropped + self.pieces.len();
        self.bytes >= WINDOW_BYTES && self.reading().any(|reader| reader.at == end)
    }

    /// Bytes that a reader has not read.
    fn unread_bytes(&self, at: usize) -> u64 {
        let unread = self.pieces.iter().skip(at - self.dropped);
        unread.map(|piece| piece.len() as u64).sum()
    }

    /// Drops what everybody has read; whether the writer may go on.
    fn shrink(&mut self) {
        if self.is_kept {
            return;
        }
        let Some(slowest) = self.slowest() else {
            if self.readers.iter().flatten().any(|reader| reader.is_cut) {
                self.drop_all();
            }
            return;
        };
        let read = slowest - self.dropped;
        let bytes: u64 = self
            .pieces
            .drain(..read)
            .map(|piece| piece.len() as u64)
            .sum();
        self.dropped += read;
        self.bytes -= bytes;
        self.charge.give_back(bytes);
    }

    /// Nobody reads any more.
    fn drop_all(&mut self) {
        self.dropped += self.pieces.len();
        self.pieces.clear();
        self.charge.give_back(std::mem::take(&mut self.bytes));
    }
}

impl Fill {
    /// A body that begins; it may be `bytes_max` long to be kept.
    pub fn begin(
        stored: Stored,
        fetched_at: Hlc,
        content_length: Option<u64>,
        bytes_max: u64,
        budget: Budget,
    ) -> FillWriter {
        let progress = Progress {
            pieces: Vec::new(),
            dropped: 0,
            bytes: 0,
            charge: budget.charge(),
            is_kept: true,
            end: None,
            readers: Vec::new(),
            free: Vec::new(),
            writer: None,
        };
        FillWriter {
            fill: Arc::new(Self {
                stored,
                fetched_at,
                content_length,
                progress: Mutex::new(progress),
            }),
            bytes_max,
            filling: Filling::default(),
        }
    }

    /// Cuts the readers that have taken nothing for long, if only readers hold it; how many.
    pub(crate) fn cut_lazy(&self, now: Instant) -> usize {
        let mut guard = self.progress.lock();
        let progress = &mut *guard;
        let end = progress.dropped + progress.pieces.len();
        let mut wakers = Vec::new();
        let mut cut = 0;
        for reader in progress.readers.iter_mut().flatten() {
            let is_lazy = reader.at < end && now >= reader.took_at + LAZY_AFTER;
            if is_lazy && !reader.is_cut {
                reader.is_cut = true;
                cut += 1;
                wakers.extend(reader.waker.take());
            }
        }
        if cut > 0 {
            // Whoever comes now has to ask for what is kept, or anew.
            progress.is_kept = false;
            progress.shrink();
            wakers.extend(progress.writer.take());
        }
        drop(guard);
        wakers.into_iter().for_each(Waker::wake);
        cut
    }

    /// Reads from the start; `None` if the start is not kept any more.
    pub fn read(self: &Arc<Self>) -> Option<FillReader> {
        let mut progress = self.progress.lock();
        if !progress.is_kept {
            return None;
        }
        let reader = Some(ReaderState {
            at: 0,
            is_cut: false,
            took_at: Instant::now(),
            waker: None,
        });
        let number = match progress.free.pop() {
            Some(number) => {
                progress.readers[number] = reader;
                number
            }
            None => {
                progress.readers.push(reader);
                progress.readers.len() - 1
            }
        };
        drop(progress);
        Some(FillReader {
            fill: Arc::clone(self),
            number,
            _interested: None,
        })
    }
}

/// The one who writes. Dropped before [`FillWriter::finish`], it breaks the body off.
#[derive(Debug)]
pub struct FillWriter {
    fill: Arc<Fill>,
    bytes_max: u64,
    filling: Filling,
}

impl FillWriter {
    /// For readers.
    pub fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }

    /// The next piece, which is copied: a piece of a read buffer would keep all of that buffer.
    ///
    /// # Errors
    /// The piece was taken, but the body may not be kept any longer: [`FillWriter::let_go`] is due.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Refused> {
        let bytes = piece.len() as u64;
        let parts = self.filling.copy(piece, self.fill.content_length);
        let mut progress = self.fill.progress.lock();
        progress.pieces.extend(parts);
        progress.bytes += bytes;
        let may_be_kept = match progress.is_kept {
            true if progress.bytes > self.bytes_max => Err(Refused::TooLong {
                bytes_max: self.bytes_max,
            }),
            true => progress.charge.take(bytes),
            false => {
                progress.charge.take_anyway(bytes);
                Ok(())
            }
        };
        if matches!(may_be_kept, Err(Refused::TooLong { .. })) {
            progress.charge.take_anyway(bytes);
        }
        let budget = progress.charge.budget().clone();
        let readers = progress.wake_readers();
        drop(progress);
        readers.into_iter().for_each(Waker::wake);
        if matches!(may_be_kept, Err(Refused::Busy { .. })) && budget.cut_lazy() > 0 {
            // It is charged already, and there may be room for it now.
            return budget.check();
        }
        may_be_kept
    }

    /// From now on the body is only passed on.
    pub fn let_go(&mut self) {
        let mut progress = self.fill.progress.lock();
        progress.is_kept = false;
        progress.shrink();
        let budget = progress.charge.budget().clone();
        drop(progress);
        budget.is_held(&self.fill);
    }

    /// Ready when the next piece may come. `Err`: nobody reads what is not kept either.
    pub fn poll_room(&mut self, cx: &Context<'_>) -> Poll<Result<(), Broken>> {
        let mut progress = self.fill.progress.lock();
        if progress.is_kept {
            return Poll::Ready(Ok(()));
        }
        if progress.slowest().is_none() {
            return Poll::Ready(Err(Broken));
        }
        if progress.bytes < WINDOW_BYTES {
            return Poll::Ready(Ok(()));
        }
        progress.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether readers that have read everything wait for others, who have not.
    pub fn is_held_up(&self) -> bool {
        let progress = self.fill.progress.lock();
        !progress.is_kept && progress.holds_up()
    }

    /// Cuts off the readers that hold up others: those who have not read half of the window.
    pub fn cut_laggards(&mut self) -> usize {
        let mut guard = self.fill.progress.lock();
        let progress = &mut *guard;
        if progress.is_kept || !progress.holds_up() {
            return 0;
        }
        let lags: Vec<bool> = progress
            .readers
            .iter()
            .map(|reader| {
                let reader = reader.as_ref().filter(|reader| !reader.is_cut);
                reader.is_some_and(|reader| progress.unread_bytes(reader.at) >= WINDOW_BYTES / 2)
            })
            .collect();
        let mut wakers = Vec::new();
        for (reader, _) in progress
            .readers
            .iter_mut()
            .zip(&lags)
            .filter(|(_, lags)| **lags)
        {
            if let Some(reader) = reader {
                reader.is_cut = true;
                wakers.extend(reader.waker.take());
            }
        }
        progress.shrink();
        drop(guard);
        wakers.into_iter().for_each(Waker::wake);
        lags.iter().filter(|lags| **lags).count()
    }

    /// The body came whole: what was kept of it, or `None` if it was only passed on.
    pub fn finish(self) -> Option<Box<[Bytes]>> {
        let mut progress = self.fill.progress.lock();
        progress.end = Some(Ok(()));
        let kept = progress
            .is_kept
            .then(|| self.filling.finish(&progress.pieces));
        let readers = progress.wake_readers();
        let budget = progress.charge.budget().clone();
        let is_read = progress.reading().next().is_some();
        drop(progress);
        readers.into_iter().for_each(Waker::wake);
        if kept.is_some() && is_read {
            budget.is_held(&self.fill);
        }
        kept
    }
}

impl Drop for FillWriter {
    fn drop(&mut self) {
        let mut progress = self.fill.progress.lock();
        if progress.end.is_none() {
            progress.end = Some(Err(Broken));
            let readers = progress.wake_readers();
            drop(progress);
            readers.into_iter().for_each(Waker::wake);
        }
    }
}

/// One who reads.
#[derive(Debug)]
pub struct FillReader {
    fill: Arc<Fill>,
    number: usize,
    _interested: Option<Interested>,
}

impl FillReader {
    /// The same for somebody who wanted what is fetched before it came.
    #[must_use]
    pub fn with(mut self, interested: Option<Interested>) -> Self {
        self._interested = interested;
        self
    }

    /// What is read.
    pub fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }

    /// The next piece; `None` after the last one.
    pub fn poll_piece(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let mut guard = self.fill.progress.lock();
        let progress = &mut *guard;
        let Some(reader) = progress.readers[self.number].as_mut() else {
            return Poll::Ready(None);
        };
        if reader.is_cut {
            return Poll::Ready(Some(Err(Broken)));
        }
        if let Some(piece) = progress.pieces.get(reader.at - progress.dropped) {
            let piece = piece.clone();
            reader.at += 1;
            reader.took_at = Instant::now();
            progress.shrink();
            let writer = progress.writer.take_if(|_| progress.bytes < WINDOW_BYTES);
            drop(guard);
            writer.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(Ok(piece)));
        }
        match progress.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(broken)) => Poll::Ready(Some(Err(broken))),
            None => {
                reader.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for FillReader {
    fn drop(&mut self) {
        let mut progress = self.fill.progress.lock();
        progress.readers[self.number] = None;
        progress.free.push(self.number);
        progress.shrink();
        let writer = progress.writer.take();
        drop(progress);
        writer.into_iter().for_each(Waker::wake);
    }
}
