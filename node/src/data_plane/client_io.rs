//! A client connection's bytes, with a guard before the HTTP/1 parser.
//!
//! The parser gets only heads that [`RequestGuard`] found sound, whole and at once; the rest is held
//! here. After a refusal the parser reads the end of the stream once it has answered what came before,
//! and the connection's owner takes the stream back to answer.

use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures::FutureExt as _;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use weir_core::http1::{Limits, Refusal, RequestGuard};

use super::activity::Activity;
use super::files::{Next, SendQueue, Sending};
use super::lost_client;
use crate::ports::net::Stream;

/// Bytes read at once while a head is incomplete.
const READ_BYTES: usize = 8 << 10;

/// A client's connection.
pub(super) trait ClientSocket: Stream {
    /// Whether its client has closed it, or its side of it, whatever is still to be read before that.
    fn has_hung_up(&self) -> bool;

    /// Writes what something follows at once, so that both go together.
    fn poll_write_more(
        &self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Sends of a file once the socket takes something.
    fn poll_send(&self, cx: &mut Context<'_>, sending: &Sending<'_>) -> Poll<io::Result<usize>>;

    /// Has the system give up a client whose own takes nothing for so long.
    fn give_up_lost_after(&self, _patience: Duration) {}
}

impl ClientSocket for TcpStream {
    fn has_hung_up(&self) -> bool {
        // Only what is known already: nothing is read and nobody waits.
        let ready = self.ready(Interest::READABLE).now_or_never();
        ready.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
    }

    fn poll_write_more(
        &self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        poll_writable(self, cx, || {
            let mut none = SendAncillaryBuffer::default();
            Ok(sendmsg(self, slices, &mut none, flags)?)
        })
    }

    fn poll_send(&self, cx: &mut Context<'_>, sending: &Sending<'_>) -> Poll<io::Result<usize>> {
        poll_writable(self, cx, || sending.send(self.as_fd()))
    }

    fn give_up_lost_after(&self, patience: Duration) {
        lost_client::give_up_after(self, patience);
    }
}

fn poll_writable(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    mut write: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, &mut write) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
}

/// A client's connection, whatever carries it.
pub(super) type ClientStream = Box<dyn ClientSocket>;

/// A client's stream between the socket and the HTTP parser.
pub(super) struct ClientIo {
    stream: ClientStream,
    guard: Option<RequestGuard>,
    /// Read but not passed on: first the sound bytes, then an incomplete head.
    held: BytesMut,
    /// How many bytes of `held` are sound.
    sound: usize,
    refusal: Option<Refusal>,
    activity: Arc<Activity>,
    /// What is sent from files; none over HTTP/2.
    sends: Option<Arc<SendQueue>>,
    /// A client whose system takes nothing is given up.
    gives_up_lost: bool,
}

impl ClientIo {
    /// HTTP/2: no guard, its framing cannot be misread.
    pub(super) fn unguarded(
        stream: ClientStream,
        already_read: BytesMut,
        activity: Arc<Activity>,
    ) -> Self {
        let sound = already_read.len();
        Self {
            stream,
            guard: None,
            held: already_read,
            sound,
            refusal: None,
            activity,
            sends: None,
            gives_up_lost: false,
        }
    }

    /// HTTP/1: every head passes the guard.
    pub(super) fn guarded(
        stream: ClientStream,
        already_read: BytesMut,
        limits: Limits,
        activity: Arc<Activity>,
        sends: Arc<SendQueue>,
    ) -> Self {
        let mut io = Self {
            stream,
            guard: Some(RequestGuard::new(limits)),
            held: already_read,
            sound: 0,
            refusal: None,
            activity,
            sends: Some(sends),
            gives_up_lost: false,
        };
        io.judge_held();
        io
    }

    /// Why the guard refused.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Whether no request is under way: then a refusal has had no answer.
    pub(super) fn is_between_requests(&self) -> bool {
        self.guard
            .as_ref()
            .is_some_and(RequestGuard::is_between_requests)
    }

    /// The stream itself, for the answer to a refusal.
    pub(super) fn into_stream(self) -> ClientStream {
        self.stream
    }

    /// The stream, and what was read of it and is still to be passed on, for what follows HTTP.
    pub(super) fn hand_over(self) -> (ClientStream, BytesMut) {
        (self.stream, self.held)
    }

    /// Judges what is held beyond the sound bytes.
    fn judge_held(&mut self) {
        let Some(guard) = &mut self.guard else {
            self.sound = self.held.len();
            return;
        };
        match guard.feed(&self.held[self.sound..]) {
            Ok(pass) => self.sound += pass,
            Err(refused) => {
                self.sound += refused.pass;
                self.refusal = Some(refused.refusal);
            }
        }
        self.note_head();
    }

    fn note_head(&self) {
        let incomplete = self.refusal.is_none() && self.held.len() > self.sound;
        if incomplete {
            self.activity.head_began();
        } else {
            self.activity.head_ended();
        }
    }

    /// Has a lost client given up, once that is wanted.
    fn give_up_lost_after(&mut self) {
        if !self.gives_up_lost
            && let Some(patience) = self.activity.lost_after()
        {
            self.gives_up_lost = true;
            self.stream.give_up_lost_after(patience);
        }
    }

    /// The common case: reads straight into the parser's buffer, where whole messages pass in place.
    fn poll_read_in_place(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let Some(guard) = &mut self.guard else {
            return Poll::Ready(Ok(()));
        };
        let fresh = &buf.filled()[before..];
        if fresh.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let (pass, refusal) = match guard.feed(fresh) {
            Ok(pass) => (pass, None),
            Err(refused) => (refused.pass, Some(refused.refusal)),
        };
        self.refusal = refusal;
        if pass < fresh.len() && refusal.is_none() {
            self.held.extend_from_slice(&fresh[pass..]);
            self.note_head();
        }
        buf.set_filled(before + pass);
        Poll::Ready(Ok(()))
    }

    /// Writes what comes `before` a file, and of the file at once what the socket takes.
    fn poll_write_both(
        &self,
        cx: &mut Context<'_>,
        before: &[io::IoSlice<'_>],
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream.poll_write_more(cx, before))?;
        let is_whole = written == before.iter().map(|slice| slice.len()).sum::<usize>();
        let sends = self.sends.as_ref().filter(|_| is_whole);
        // What goes wrong with the file is told to whoever comes to write the rest.
        let sent = match sends.map(|sends| sends.next(&all[before.len()..])) {
            Some(Ok(Next::File(sending))) => match self.stream.poll_send(cx, &sending) {
                Poll::Ready(Ok(sent)) => sent,
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            },
            _ => 0,
        };
        Poll::Ready(Ok(written + sent))
    }

    /// Reads more of an incomplete head.
    fn poll_read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [0; READ_BYTES];
        let mut buf = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        self.held.extend_from_slice(buf.filled());
        let read = buf.filled().len();
        if read > 0 {
            self.judge_held();
        }
        Poll::Ready(Ok(read))
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while buf.filled().len() == before {
            if self.sound > 0 {
                let passed = self.sound.min(buf.remaining());
                buf.put_slice(&self.held[..passed]);
                self.held.advance(passed);
                self.sound -= passed;
                if self.held.is_empty() {
                    // A connection that rests holds no buffer.
                    self.held = BytesMut::new();
                }
                break;
            }
            if self.refusal.is_some() {
                if self.is_between_requests() {
                    // Told of the end now, the parser would drop the request before.
                    ready!(self.activity.poll_quiet(cx));
                }
                break;
            }
            if self.held.is_empty() {
                ready!(self.poll_read_in_place(cx, buf))?;
                let ended = self.held.is_empty() && buf.filled().len() == before;
                if ended {
                    break;
                }
            } else if ready!(self.poll_read_more(cx))? == 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.give_up_lost_after();
        let this = &mut *self;
        let next = match &this.sends {
            Some(sends) => sends.next(slices)?,
            None => Next::Memory(slices),
        };
        let polled = match next {
            // The system takes one slice at less cost than a list of one.
            Next::Memory([one]) => Pin::new(&mut this.stream).poll_write(cx, one),
            Next::Memory(slices) => Pin::new(&mut this.stream).poll_write_vectored(cx, slices),
            Next::MemoryBeforeFile(before) => this.poll_write_both(cx, before, slices),
            Next::File(sending) => this.stream.poll_send(cx, &sending),
        };
        this.activity.write_blocked(polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The parser flushes whenever it is polled, and reads nothing while nobody takes a body from it.
        if self.guard.is_some() && self.activity.is_watched() && self.stream.has_hung_up() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refusal.is_some() {
            // The owner still has to answer or to let the client read the answer.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
