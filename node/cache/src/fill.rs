//! A body that is read while it comes: one writer, any number of readers, on whatever threads.
//!
//! As long as it may be kept, everything that came stays, and the writer waits for nobody: a slow or vanished client
//! holds up nobody else. Once it turned out too long to be kept ([`FillWriter::let_go`]) only what the slowest reader
//! has not read stays, no further readers are let in, and the writer waits for the slowest; one that holds up others
//! for too long is cut ([`FillWriter::cut_laggards`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;
use weir_core::cache::Stored;
use weir_core::purge::Hlc;

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

/// Memory for bodies under way, shared by all of them.
#[derive(Clone, Debug)]
pub struct Budget(Arc<BudgetState>);

#[derive(Debug)]
struct BudgetState {
    used_bytes: AtomicU64,
    bytes_max: AtomicU64,
}

impl Budget {
    /// Of so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self(Arc::new(BudgetState {
            used_bytes: AtomicU64::new(0),
            bytes_max: AtomicU64::new(bytes_max),
        }))
    }

    /// From now on of so many bytes.
    pub fn configure(&self, bytes_max: u64) {
        self.0.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// What bodies under way take now.
    pub fn used_bytes(&self) -> u64 {
        self.0.used_bytes.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> Result<(), Refused> {
        let bytes_max = self.0.bytes_max.load(Ordering::Relaxed);
        let before = self.0.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes <= bytes_max {
            return Ok(());
        }
        self.give_back(bytes);
        Err(Refused::Busy { bytes_max })
    }

    fn give_back(&self, bytes: u64) {
        self.0.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
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

#[derive(Debug, Default)]
struct Progress {
    pieces: Vec<Bytes>,
    /// Pieces that are not kept any more.
    dropped: usize,
    bytes: u64,
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
    waker: Option<Waker>,
}

impl Progress {
    fn wake_readers(&mut self) -> Vec<Waker> {
        let readers = self.readers.iter_mut().flatten();
        readers.filter_map(|reader| reader.waker.take()).collect()
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
            is_kept: true,
            ..Progress::default()
        };
        FillWriter {
            fill: Arc::new(Self {
                stored,
                fetched_at,
                content_length,
                progress: Mutex::new(progress),
            }),
            budget,
            bytes_max,
            charged_bytes: 0,
        }
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
    budget: Budget,
    bytes_max: u64,
    charged_bytes: u64,
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
        let mut progress = self.fill.progress.lock();
        progress.pieces.push(Bytes::copy_from_slice(piece));
        progress.bytes += bytes;
        let (is_kept, total) = (progress.is_kept, progress.bytes);
        let readers = progress.wake_readers();
        drop(progress);
        readers.into_iter().for_each(Waker::wake);
        if !is_kept {
            return Ok(());
        }
        if total > self.bytes_max {
            return Err(Refused::TooLong {
                bytes_max: self.bytes_max,
            });
        }
        self.budget.take(bytes)?;
        self.charged_bytes += bytes;
        Ok(())
    }

    /// From now on the body is only passed on.
    pub fn let_go(&mut self) {
        let mut progress = self.fill.progress.lock();
        progress.is_kept = false;
        progress.shrink();
        drop(progress);
        self.budget
            .give_back(std::mem::take(&mut self.charged_bytes));
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
            .then(|| joined(&progress.pieces, progress.bytes));
        let readers = progress.wake_readers();
        drop(progress);
        readers.into_iter().for_each(Waker::wake);
        kept
    }
}

/// Bodies up to this long are kept in one piece.
const JOINED_BYTES_MAX: u64 = 64 << 10;

fn joined(pieces: &[Bytes], bytes: u64) -> Box<[Bytes]> {
    match pieces.len() {
        0 => Box::default(),
        2.. if bytes <= JOINED_BYTES_MAX => Box::new([Bytes::from(pieces.concat())]),
        _ => pieces.into(),
    }
}

impl Drop for FillWriter {
    fn drop(&mut self) {
        self.budget.give_back(self.charged_bytes);
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
