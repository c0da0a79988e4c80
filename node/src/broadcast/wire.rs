//! A client's stream and what is on its way into it, for the socket's task and, while that rests, for the shard.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weir_broadcast::{SLICES_MAX, Sent, Sink, Writing};

/// Of one thread. Nobody holds it while anything is waited for.
pub(super) struct Wire<S>(RefCell<Ends<S>>);

struct Ends<S> {
    stream: S,
    /// Came before what is still in the stream.
    ahead: Bytes,
    writing: Writing,
}

impl<S> Wire<S> {
    /// `ahead` was read of the stream already.
    pub(super) fn new(stream: S, ahead: Bytes) -> Self {
        Self(RefCell::new(Ends {
            stream,
            ahead,
            writing: Writing::new(),
        }))
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.0.borrow().writing.is_empty()
    }

    /// Bytes on their way.
    pub(super) fn writing_bytes(&self) -> usize {
        self.0.borrow().writing.bytes()
    }

    /// Puts something on its way.
    pub(super) fn push(&self, frame: Bytes) {
        self.0.borrow_mut().writing.push(frame);
    }

    /// Lets somebody put more on its way.
    pub(super) fn fill<T>(&self, fill: impl FnOnce(&mut Writing) -> T) -> T {
        fill(&mut self.0.borrow_mut().writing)
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Ends { stream, ahead, .. } = &mut *self.0.borrow_mut();
        if ahead.is_empty() {
            return Pin::new(stream).poll_read(cx, buffer);
        }
        buffer.put_slice(&ahead.split_to(ahead.len().min(buffer.remaining())));
        if ahead.is_empty() {
            // Nothing is held of it.
            *ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Writes of what is on its way as much as the stream takes.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Ends {
            stream, writing, ..
        } = &mut *self.0.borrow_mut();
        let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
        let filled = writing.slices(&mut slices);
        let wrote = match slices.get(..filled).unwrap_or_default() {
            // The system takes one slice at less cost than a list of one.
            [one] => Pin::new(stream).poll_write(cx, one),
            slices => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        match ready!(wrote)? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => {
                writing.advance(written);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Ends what this side says.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut self.0.borrow_mut().stream;
        ready!(Pin::new(&mut *stream).poll_flush(cx))?;
        Pin::new(stream).poll_shutdown(cx)
    }
}

impl<S: AsyncWrite + Unpin> Sink for Wire<S> {
    fn send(&self, frame: &Bytes) -> Sent {
        let mut ends = self.0.borrow_mut();
        if !ends.writing.is_empty() {
            return Sent::Busy;
        }
        let mut nobody = Context::from_waker(Waker::noop());
        let written = match Pin::new(&mut ends.stream).poll_write(&mut nobody, frame) {
            Poll::Ready(Ok(written)) => written,
            // The socket's task tries again, and waits or sees what is wrong: an error of a stream stays.
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        if written == frame.len() {
            return Sent::Whole;
        }
        ends.writing.push(frame.slice(written..));
        Sent::Begun
    }
}
