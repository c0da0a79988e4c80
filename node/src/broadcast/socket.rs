//! A WebSocket on a shard.
//!
//! One loop, one task: what waits for the client is written as many frames at a time as go into one write, what the
//! client sends is read into a buffer of the thread and decoded there, so a socket that rests holds no buffer. While it
//! rests, the shard writes what comes in its place, see [`Wire`].

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use weir_broadcast::{Control, Encoding};
use weir_core::broadcast::CutReason;
use weir_core::websocket::{
    Close, CloseCode, Decoder, Event, Handshake, Opcode, Violation, close_frame, frame, ping_frame,
    pong_frame,
};

use super::ask::Ask;
use super::session::{Next, Session};
use super::wire::Wire;
use crate::config::{BroadcasterSettings, WebSocketSettings};

/// The subprotocols, those that are liked most first, and the form of each.
pub(crate) const PROTOCOLS: [&str; 2] = ["weir.v1.json", "weir.v1.proto"];
/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;
/// Answers that wait for a client that reads none; it is not listened to beyond.
const ANSWERS_BYTES_MAX: usize = 64 << 10;
/// How often a connection whose client takes nothing looks whether it was cut.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long any rests before it looks at its rights again.
const REST_MAX: Duration = Duration::from_secs(10);
/// How long a client may take to say goodbye.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Pings and pongs of a client within a second.
const CONTROLS_PER_SECOND_MAX: u32 = 64;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// What a WebSocket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Of what it is sent.
    pub(crate) encoding: Encoding,
    /// What the client is told of extensions: with any, it may compress what it sends.
    pub(crate) extensions: Option<&'static str>,
}

impl Form {
    /// That of a subprotocol, the first one's where none is named.
    pub(crate) fn of(handshake: &Handshake, settings: &BroadcasterSettings) -> Self {
        let is_wanted = settings.limits.deflate_bytes_min > 0;
        let deflate = handshake.deflate.filter(|_| is_wanted);
        let is_deflated = deflate.is_some_and(|agreed| agreed.reads_all);
        let encoding = match (handshake.protocol, is_deflated) {
            (Some(1), false) => Encoding::WebSocketProto,
            (Some(1), true) => Encoding::WebSocketProtoDeflate,
            (_, false) => Encoding::WebSocketJson,
            (_, true) => Encoding::WebSocketJsonDeflate,
        };
        Self {
            encoding,
            extensions: deflate.map(|agreed| agreed.told),
        }
    }
}

/// How a conversation ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// The connection is gone.
    Gone,
    /// The client said so.
    Closed(Option<Close>),
    /// The client broke a rule.
    Violation(Violation),
    /// It sent a kind of message that its subprotocol does not have.
    WrongKind,
    /// It asks for signs of life all the time.
    Flood,
    /// It gave none.
    Silent,
    /// The node ends it.
    Cut(CutReason),
}

impl Ending {
    /// What the client is told; `None` if nobody listens.
    fn close(&self) -> Option<Vec<u8>> {
        Some(match self {
            Self::Gone => return None,
            Self::Closed(None) => frame(Opcode::Close, b""),
            Self::Closed(Some(close)) => close_frame(close.code, ""),
            Self::Violation(violation) => close_frame(violation.code(), &violation.to_string()),
            Self::WrongKind => {
                let what = "text is for weir.v1.json, bytes are for weir.v1.proto";
                close_frame(CloseCode::UNSUPPORTED, what)
            }
            Self::Flood => close_frame(CloseCode::POLICY, "too many pings and pongs"),
            Self::Silent => close_frame(CloseCode(4008), "silent"),
            Self::Cut(reason) => close_frame(cut_code(*reason), reason.as_str()),
        })
    }
}

/// With which code a client is cut: 4000 and up are ours (RFC 6455, section 7.4.2).
pub(crate) const fn cut_code(reason: CutReason) -> CloseCode {
    CloseCode(match reason {
        CutReason::Slow => 4000,
        CutReason::TooManyTopics => 4001,
        CutReason::Operator => 4002,
        CutReason::Unauthorized => 4003,
        CutReason::Draining => 4004,
    })
}

/// Carries a conversation to its end. `ahead` was read of the stream already; `first` is what the address asked for,
/// answered.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    ahead: Bytes,
    session: Session,
    form: Form,
    first: Option<Control>,
) {
    let encoding = form.encoding;
    let settings = session.broadcast().settings().websocket.clone();
    let now = Instant::now();
    let wire = Rc::new(Wire::new(stream, ahead));
    session.connection().send_into(Rc::clone(&wire) as _);
    let mut socket = Socket {
        wire,
        encoding,
        decoder: Decoder::new(settings.message_bytes_max).deflated(form.extensions.is_some()),
        heard: now,
        written: now,
        pinged: None,
        controls: (now, 0),
        settings,
    };
    if let Some(first) = first {
        socket.push(first.encode(encoding));
    }
    let mut session = session;
    let ending = socket.talk(&mut session).await;
    tracing::debug!(?ending, ?session, "subscriber ended");
    let place = session.end();
    socket.say_goodbye(&ending).await;
    drop(place);
}

struct Socket<S> {
    wire: Rc<Wire<S>>,
    encoding: Encoding,
    decoder: Decoder,
    /// When the client last sent something.
    heard: Instant,
    /// When it last took something, or nothing was there for it.
    written: Instant,
    pinged: Option<Instant>,
    /// Since when pings and pongs are counted, and how many there were.
    controls: (Instant, u32),
    settings: WebSocketSettings,
}

/// What a look at the stream brought.
enum Io {
    /// The shard has begun to write.
    Begun,
    Wrote,
    Read(Vec<Event>, Option<Violation>),
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    async fn talk(&mut self, session: &mut Session) -> Ending {
        let mut timer = Box::pin(sleep_until(self.heard));
        // The stream has nothing, and wakes this task when it has.
        let mut stream_waits = false;
        let mut was_idle = true;
        loop {
            let is_idle = self.wire.is_idle();
            if !is_idle {
                if was_idle {
                    self.written = Instant::now();
                }
                let soon = Instant::now() + LOOK_INTERVAL;
                if timer.deadline() > soon {
                    timer.as_mut().reset(soon);
                }
            }
            was_idle = is_idle;
            let may_read = self.wire.writing_bytes() <= ANSWERS_BYTES_MAX && !session.is_full();
            let (wire, decoder) = (&self.wire, &mut self.decoder);
            let ending = tokio::select! {
                // What the client says, and whether it says anything, is looked at however much it is told.
                biased;
                io = poll_fn(|cx| match std::mem::take(&mut stream_waits) {
                    true => Poll::Pending,
                    false if is_idle && !wire.is_idle() => Poll::Ready(Io::Begun),
                    false => poll_io(wire, decoder, may_read, cx),
                }) => self.saw(io, session),
                () = timer.as_mut() => self.look(session, timer.as_mut()),
                next = session.next(is_idle) => match next {
                    Next::Frames => {
                        let ending = self.give(session).await;
                        // It was asked just now, before the frames were.
                        stream_waits = may_read && self.wire.is_idle();
                        ending
                    }
                    Next::Answer(answer) => self.tell(&answer),
                },
            };
            if let Some(ending) = ending {
                return ending;
            }
        }
    }

    /// Takes what waits, and writes as much of it as the system takes at once: as a rule all, and without another turn
    /// of the loop. The rest is the loop's.
    async fn give(&mut self, session: &Session) -> Option<Ending> {
        let (connection, broadcast) = (session.connection(), session.broadcast());
        let taken = self
            .wire
            .fill(|writing| connection.take(writing, || broadcast.now()));
        if let Err(reason) = taken {
            return Some(Ending::Cut(reason));
        }
        if self.wire.is_idle() {
            return None;
        }
        let wrote = poll_fn(|cx| Poll::Ready(self.wire.poll_write(cx))).await;
        matches!(wrote, Poll::Ready(Err(_))).then_some(Ending::Gone)
    }

    fn tell(&mut self, answer: &Control) -> Option<Ending> {
        self.push(answer.encode(self.encoding));
        None
    }

    fn push(&mut self, frame: impl Into<Bytes>) {
        self.wire.push(frame.into());
    }

    fn saw(&mut self, io: Io, session: &mut Session) -> Option<Ending> {
        let now = Instant::now();
        let (events, violation) = match io {
            Io::Gone => return Some(Ending::Gone),
            Io::Begun => return None,
            Io::Wrote => {
                self.written = now;
                return None;
            }
            Io::Read(events, violation) => (events, violation),
        };
        self.heard = now;
        self.pinged = None;
        let mut pong = None;
        for event in events {
            let ask = match (event, self.encoding) {
                (Event::Close(close), _) => return Some(Ending::Closed(close)),
                (Event::Ping(payload), _) => {
                    // The newest is answered for all that came with it (RFC 6455, section 5.5.3).
                    pong = Some(payload);
                    if self.floods(now) {
                        return Some(Ending::Flood);
                    }
                    continue;
                }
                (Event::Pong, _) => {
                    if self.floods(now) {
                        return Some(Ending::Flood);
                    }
                    continue;
                }
                (Event::Text(text), Encoding::WebSocketJson | Encoding::WebSocketJsonDeflate) => {
                    Ask::from_json(&text)
                }
                (
                    Event::Binary(bytes),
                    Encoding::WebSocketProto | Encoding::WebSocketProtoDeflate,
                ) => Ask::from_proto(&bytes),
                _ => return Some(Ending::WrongKind),
            };
            let answer = match ask {
                Ok(ask) => session.apply(ask),
                Err(bad) => Some(bad.into()),
            };
            if let Some(answer) = answer {
                self.push(answer.encode(self.encoding));
            }
        }
        if let Some(payload) = pong {
            self.push(pong_frame(&payload));
        }
        violation.map(Ending::Violation)
    }

    /// Counts a ping or a pong; whether there were too many.
    fn floods(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.controls;
        if now.duration_since(*since) >= LOOK_INTERVAL {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count > CONTROLS_PER_SECOND_MAX
    }

    /// Looks at what does not come by itself: a client that is silent or takes nothing, and rights that changed.
    fn look(&mut self, session: &mut Session, timer: Pin<&mut Sleep>) -> Option<Ending> {
        let now = Instant::now();
        let silent = now.duration_since(self.heard);
        if silent >= self.settings.idle_timeout {
            return Some(Ending::Silent);
        }
        session.look_again();
        if !self.wire.is_idle() {
            if let Some(reason) = session.connection().cut_reason() {
                return Some(Ending::Cut(reason));
            }
            let age_max = session.broadcast().topics().limits().outbox.age_max;
            if now.duration_since(self.written) >= age_max {
                session.connection().cut(CutReason::Slow);
                return Some(Ending::Cut(CutReason::Slow));
            }
        }
        let mut next = self.heard + self.settings.idle_timeout;
        if let Some(interval) = self.settings.ping_interval {
            let last = self.pinged.unwrap_or(self.heard);
            if now.duration_since(last) >= interval {
                self.pinged = Some(now);
                self.push(ping_frame());
            }
            next = next.min(self.pinged.unwrap_or(self.heard) + interval);
        }
        let rest = match self.wire.is_idle() {
            true => REST_MAX,
            false => LOOK_INTERVAL,
        };
        timer.reset(next.min(now + rest));
        None
    }

    /// Writes what waits and the last frame, and lets the client answer it.
    async fn say_goodbye(self, ending: &Ending) {
        let Some(close) = ending.close() else {
            return;
        };
        self.wire.push(close.into());
        let until = Instant::now() + CLOSE_WAIT;
        let _ = timeout_at(until, async {
            while !self.wire.is_idle() {
                poll_fn(|cx| self.wire.poll_write(cx)).await?;
            }
            poll_fn(|cx| self.wire.poll_shutdown(cx)).await?;
            if matches!(ending, Ending::Closed(_)) {
                // It has said its last word.
                return Ok(());
            }
            // What comes now is read, so that no reset overtakes the last frame.
            while poll_fn(|cx| poll_discard(&self.wire, cx)).await? > 0 {}
            Ok::<(), io::Error>(())
        })
        .await;
    }
}

/// Writes what is to be written and reads what has come; whichever is done first.
fn poll_io<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &Wire<S>,
    decoder: &mut Decoder,
    may_read: bool,
    cx: &mut Context<'_>,
) -> Poll<Io> {
    if !wire.is_idle() {
        match wire.poll_write(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(Io::Wrote),
            Poll::Ready(Err(_)) => return Poll::Ready(Io::Gone),
            Poll::Pending => {}
        }
    }
    if !may_read {
        return Poll::Pending;
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        match wire.poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                let (events, violation) = decode(decoder, buffer.filled());
                Poll::Ready(Io::Read(events, violation))
            }
            Poll::Ready(_) => Poll::Ready(Io::Gone),
        }
    })
}

fn decode(decoder: &mut Decoder, mut bytes: &[u8]) -> (Vec<Event>, Option<Violation>) {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        match decoder.decode(bytes) {
            Ok((used, event)) => {
                bytes = bytes.get(used..).unwrap_or_default();
                events.extend(event);
            }
            Err(violation) => return (events, Some(violation)),
        }
    }
    (events, None)
}

fn poll_discard<S: AsyncRead + Unpin>(
    wire: &Wire<S>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        let read = wire.poll_read(cx, &mut buffer);
        read.map_ok(|()| buffer.filled().len())
    })
}
