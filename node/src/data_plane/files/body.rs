//! A file on its way to the client.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use weir_core::files::Stamp;

use super::super::answer::Reason;
use super::super::body::BodyError;
use super::super::exchange::Exchange;
use super::{disk, off_core};

/// Bytes of one read. A body holds at most two of them: one that the client takes, one ahead.
const CHUNK_BYTES: u64 = 128 << 10;

/// How long an answer may wait for a disk.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) read_timeout: Duration,
    /// When all of it must have gone.
    pub(super) deadline: Option<Instant>,
}

impl Limits {
    /// Until when what begins now must end, and what is said if it does not.
    pub(super) fn due(&self, now: Instant) -> (Instant, Reason) {
        let read = (now + self.read_timeout, Reason::ReadTimeout);
        let total = self.deadline.map(|at| (at, Reason::TotalTimeout));
        total.filter(|total| total.0 < read.0).unwrap_or(read)
    }
}

/// Some bytes of a body.
#[derive(Debug)]
pub(super) enum Piece {
    /// These.
    Held(Bytes),
    /// Those that are there in the file.
    Read(Range<u64>),
}

impl Piece {
    fn bytes(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Read(range) => range.end - range.start,
        }
    }
}

/// An open file in the state that is sent.
pub(super) struct Source {
    pub(super) file: Arc<OwnedFd>,
    pub(super) stamp: Stamp,
    pub(super) permits: Arc<Semaphore>,
}

type Chunk = Result<Bytes, Reason>;

/// The next chunk, which is read while the client takes the one before.
enum Ahead {
    Coming(Pin<Box<dyn Future<Output = Chunk>>>),
    Here(Chunk),
}

/// The body, with the accounts of the request that it answers.
pub(in super::super) struct FileBody {
    pieces: VecDeque<Piece>,
    source: Option<Source>,
    ahead: Option<Ahead>,
    left: u64,
    exchange: Option<Box<Exchange>>,
    limits: Limits,
}

impl FileBody {
    /// The accounts of the client that it goes to.
    pub(in super::super) fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_deref()
    }

    pub(super) fn new(
        pieces: VecDeque<Piece>,
        source: Option<Source>,
        exchange: Box<Exchange>,
        limits: Limits,
    ) -> Self {
        if let Some(watch) = &exchange.watch {
            watch.begin(limits.deadline.map(|at| (at, Reason::TotalTimeout)));
        }
        Self {
            left: pieces.iter().map(Piece::bytes).sum(),
            pieces,
            source,
            ahead: None,
            exchange: Some(exchange),
            limits,
        }
    }

    pub(in super::super) fn bytes_left(&self) -> u64 {
        self.left
    }

    pub(in super::super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(mut exchange) = self.exchange.take() else {
            return Poll::Ready(None);
        };
        let watch = exchange.watch.as_deref();
        match self.poll_chunk(cx) {
            Poll::Pending => {
                if let Some(watch) = watch {
                    watch.backends_turn();
                }
                self.exchange = Some(exchange);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(bytes))) => {
                if let Some(watch) = watch {
                    watch.clients_turn();
                }
                exchange.received(bytes.len());
                self.exchange = Some(exchange);
                self.left -= bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(Some(Err(reason))) => {
                exchange.failed(reason);
                Poll::Ready(Some(Err(BodyError::Cut(reason))))
            }
            Poll::Ready(None) => {
                exchange.completed();
                Poll::Ready(None)
            }
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        loop {
            if let Some(ahead) = self.ahead.take() {
                let chunk = match ahead {
                    Ahead::Here(chunk) => chunk,
                    Ahead::Coming(mut coming) => match coming.as_mut().poll(cx) {
                        Poll::Ready(chunk) => chunk,
                        Poll::Pending => {
                            self.ahead = Some(Ahead::Coming(coming));
                            return Poll::Pending;
                        }
                    },
                };
                if chunk.is_ok() {
                    self.read_ahead(cx);
                }
                return Poll::Ready(Some(chunk));
            }
            match self.pieces.front() {
                None => return Poll::Ready(None),
                Some(Piece::Read(_)) => self.read_ahead(cx),
                Some(Piece::Held(_)) => {
                    let Some(Piece::Held(bytes)) = self.pieces.pop_front() else {
                        return Poll::Ready(None);
                    };
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }

    /// Begins to read the next chunk, if it is one that has to be read.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        let (Some(Piece::Read(range)), Some(source)) = (self.pieces.front_mut(), &self.source)
        else {
            return;
        };
        let chunk = range.start..range.end.min(range.start + CHUNK_BYTES);
        range.start = chunk.end;
        if range.is_empty() {
            self.pieces.pop_front();
        }
        let (file, stamp) = (Arc::clone(&source.file), source.stamp);
        let due = self.limits.due(Instant::now());
        let mut coming = Box::pin(off_core(Arc::clone(&source.permits), due, move || {
            disk::read_range(&*file, &stamp, chunk)
        }));
        // The read begins when it is first asked for.
        self.ahead = Some(match coming.as_mut().poll(cx) {
            Poll::Ready(chunk) => Ahead::Here(chunk),
            Poll::Pending => Ahead::Coming(coming),
        });
    }

    fn complete(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.completed();
        }
    }
}

impl Drop for FileBody {
    fn drop(&mut self) {
        // A body of known length is dropped after its last byte without being asked for its end.
        if self.left == 0 {
            self.complete();
        }
    }
}
