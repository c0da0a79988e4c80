//! A file on its way to the client.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::Instant;

use super::super::answer::Reason;
use super::super::body::BodyError;
use super::super::exchange::Exchange;
use super::ahead::{Ahead, BROUGHT_IN_BYTES, READ_BYTES, Ready, Source};
use super::sendfile::{PART_BYTES_MAX, PART_BYTES_MIN, SendQueue, is_placeholder};

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

/// The body, with the accounts of the request that it answers.
pub(in super::super) struct FileBody {
    pieces: VecDeque<Piece>,
    source: Option<Source>,
    ahead: Option<Ahead>,
    /// Bytes that are in memory and can be sent from there.
    brought_in: Range<u64>,
    left: u64,
    exchange: Option<Box<Exchange>>,
    limits: Limits,
    /// Of the client's connection, if it may take the file itself.
    queue: Option<Arc<SendQueue>>,
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
            brought_in: 0..0,
            exchange: Some(exchange),
            limits,
            queue: None,
        }
    }

    /// Whoever takes the frames writes them to this connection as they are.
    pub(in super::super) fn may_go_by(&mut self, queue: &Arc<SendQueue>) {
        let source = self.source.as_ref();
        if source.is_some_and(|source| source.nowhere.is_some()) {
            self.queue = Some(Arc::clone(queue));
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
                if is_placeholder(&bytes) {
                    let metrics = exchange.core().metrics();
                    metrics.sendfile_bytes.add(bytes.len() as u64);
                }
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

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Reason>>> {
        loop {
            if !self.brought_in.is_empty() {
                return Poll::Ready(Some(self.next_part(cx)));
            }
            if let Some(ahead) = &mut self.ahead {
                let chunk = ready!(ahead.poll(cx));
                self.ahead = None;
                let bytes = match chunk {
                    Ok(Ready::BroughtIn(chunk)) => {
                        self.brought_in = chunk;
                        continue;
                    }
                    Ok(Ready::Unfit(bytes, rest)) => {
                        self.queue = None;
                        self.pieces.push_front(Piece::Read(rest));
                        bytes
                    }
                    Ok(Ready::Read(bytes)) => bytes,
                    Err(reason) => return Poll::Ready(Some(Err(reason))),
                };
                self.read_ahead(cx);
                return Poll::Ready(Some(Ok(bytes)));
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

    /// What stands for the next bytes that are in memory.
    fn next_part(&mut self, cx: &mut Context<'_>) -> Result<Bytes, Reason> {
        let (Some(queue), Some(source)) = (&self.queue, &self.source) else {
            return Err(Reason::FileError);
        };
        let rest = &mut self.brought_in;
        let part = rest.start..rest.end.min(rest.start + PART_BYTES_MAX);
        rest.start = part.end;
        let bytes = queue.push(&source.file, Some(source.stamp), part);
        if rest.is_empty() {
            self.read_ahead(cx);
        }
        Ok(bytes)
    }

    /// Begins with the next chunk, if it is one that has to be read or brought in.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        while let Some(Piece::Read(range)) = self.pieces.front()
            && range.is_empty()
        {
            self.pieces.pop_front();
        }
        let (Some(Piece::Read(range)), Some(source)) = (self.pieces.front_mut(), &self.source)
        else {
            return;
        };
        let sends = self.queue.is_some() && range.end - range.start >= PART_BYTES_MIN;
        let bytes_max = if sends { BROUGHT_IN_BYTES } else { READ_BYTES };
        let chunk = range.start..range.end.min(range.start + bytes_max);
        range.start = chunk.end;
        let ahead = Ahead::begin(source, &self.limits, chunk, sends, cx);
        self.ahead = Some(ahead);
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
        } else if let Some(reason) = self.queue.as_ref().and_then(|queue| queue.take_failure())
            && let Some(exchange) = &mut self.exchange
        {
            exchange.failed(reason);
        }
    }
}
