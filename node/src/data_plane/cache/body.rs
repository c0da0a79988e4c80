//! A body from the cache on its way to the client.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use weir_cache::{Broken, EntryReader, FillReader, KernelCopy};

use super::super::answer::Reason;
use super::super::body::{BodyError, ResponseBody};
use super::super::exchange::Exchange;
use super::super::files::{PART_BYTES_MAX, SendQueue, is_placeholder};
use super::parts::Parts;

/// The body, with the accounts of the client that it goes to.
pub(in super::super) struct CachedBody {
    source: Source,
    /// Bytes that are still to come, if that is known.
    left: Option<u64>,
    exchange: Option<Box<Exchange>>,
}

pub(super) enum Source {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// All of a stored body, which is so long.
    Stored(EntryReader, u64),
    /// Parts of one.
    Parts(Box<Parts>),
    /// All of a stored body that the kernel holds once more.
    InKernel(InKernel),
    /// A body that still comes.
    Filling(FillReader),
    /// A part of one.
    FillingPart(FillingPart),
    /// The answer to a fetch that is for this client alone.
    Own(Box<ResponseBody>),
}

/// A stored body that the connection sends from a file.
pub(super) struct InKernel {
    copy: Arc<KernelCopy>,
    left: Range<u64>,
    queue: Arc<SendQueue>,
}

impl InKernel {
    fn next_part(&mut self) -> Option<Bytes> {
        let left = &mut self.left;
        let part = left.start..left.end.min(left.start + PART_BYTES_MAX);
        left.start = part.end;
        (!part.is_empty()).then(|| self.queue.push(self.copy.file(), None, part))
    }
}

/// Bytes from the midst of a body that still comes.
pub(super) struct FillingPart {
    reader: FillReader,
    /// Bytes before the part that have not come yet.
    before: u64,
    /// Bytes of the part that have not been passed on.
    left: u64,
}

impl FillingPart {
    pub(super) fn new(reader: FillReader, bytes: &Range<u64>) -> Self {
        Self {
            reader,
            before: bytes.start,
            left: bytes.end - bytes.start,
        }
    }

    fn poll_piece(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        while self.left > 0 {
            let Some(piece) = ready!(self.reader.poll_piece(cx)) else {
                // It came shorter than it was announced.
                return Poll::Ready(Some(Err(Broken)));
            };
            let mut piece = match piece {
                Ok(piece) => piece,
                Err(broken) => return Poll::Ready(Some(Err(broken))),
            };
            let skipped = self.before.min(piece.len() as u64);
            self.before -= skipped;
            let rest = piece.split_off(usize::try_from(skipped).unwrap_or(usize::MAX));
            let taken = self.left.min(rest.len() as u64);
            self.left -= taken;
            if taken > 0 {
                piece = rest;
                piece.truncate(usize::try_from(taken).unwrap_or(usize::MAX));
                return Poll::Ready(Some(Ok(piece)));
            }
        }
        Poll::Ready(None)
    }
}

impl CachedBody {
    pub(super) fn new(source: Source, exchange: Box<Exchange>) -> Self {
        if let Some(watch) = &exchange.watch {
            watch.begin(None);
        }
        let left = match &source {
            Source::Empty => Some(0),
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::Stored(_, bytes) => Some(*bytes),
            Source::Parts(parts) => Some(parts.bytes()),
            Source::InKernel(body) => Some(body.left.end - body.left.start),
            Source::Filling(reader) => reader.fill().content_length,
            Source::FillingPart(part) => Some(part.left),
            Source::Own(body) => body.size_hint().exact(),
        };
        Self {
            source,
            left,
            exchange: Some(exchange),
        }
    }

    /// Whoever takes the frames writes them to this connection as they are.
    pub(in super::super) fn may_go_by(&mut self, queue: &Arc<SendQueue>) {
        let (Source::Stored(reader, bytes), Some(exchange)) = (&self.source, &self.exchange) else {
            return;
        };
        if let Some(copy) = reader.kernel_copy(&exchange.core().parts.cache.fills) {
            self.source = Source::InKernel(InKernel {
                copy,
                left: 0..*bytes,
                queue: Arc::clone(queue),
            });
        }
    }

    pub(in super::super) fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_deref()
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = match &mut self.source {
            Source::Empty => None,
            Source::Bytes(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Source::Stored(reader, _) => match reader.next_piece() {
                Ok(piece) => piece,
                Err(_) => return Poll::Ready(Some(Err(BodyError::Cut(Reason::ClientStalled)))),
            },
            Source::Parts(parts) => match parts.next_piece() {
                Ok(piece) => piece,
                Err(_) => return Poll::Ready(Some(Err(BodyError::Cut(Reason::ClientStalled)))),
            },
            Source::InKernel(body) => body.next_part(),
            Source::Filling(reader) => match ready!(reader.poll_piece(cx)) {
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::Fetch))),
                Some(Ok(piece)) => Some(piece),
                None => None,
            },
            Source::FillingPart(part) => match ready!(part.poll_piece(cx)) {
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::Fetch))),
                Some(Ok(piece)) => Some(piece),
                None => None,
            },
            Source::Own(body) => return Pin::new(body.as_mut()).poll_frame(cx),
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn complete(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.completed();
        }
    }

    fn has_ended(&self) -> bool {
        match &self.source {
            Source::Own(body) => body.is_end_stream(),
            _ => self.left == Some(0),
        }
    }
}

impl Body for CachedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_source(cx);
        let Some(exchange) = &mut self.exchange else {
            return polled;
        };
        match &polled {
            Poll::Pending => {
                if let Some(watch) = &exchange.watch {
                    watch.backends_turn();
                }
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(watch) = &exchange.watch {
                    watch.clients_turn();
                }
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if frame.data_ref().is_some_and(|data| is_placeholder(data)) {
                    exchange.core().metrics().sendfile_bytes.add(bytes as u64);
                }
                exchange.received(bytes);
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(bytes as u64);
                }
            }
            Poll::Ready(Some(Err(error))) => {
                let reason = error.reason();
                exchange.failed(reason);
                self.exchange = None;
            }
            Poll::Ready(None) => self.complete(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for CachedBody {
    fn drop(&mut self) {
        // A body of known length is dropped after its last byte without being asked for its end.
        if self.has_ended() {
            self.complete();
        }
    }
}
