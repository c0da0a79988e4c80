//! One client connection: which protocol it speaks, how long it may wait, how it ends.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use weir_core::http1::{Limits, Refusal};
use weir_core::proxy::address_value;

use super::accept::OpenConnection;
use super::activity::{Activity, Overdue};
use super::client_io::ClientIo;
use super::core::Core;
use super::request;
use super::stop::Stop;
use super::stream_watch::{StreamExecutor, StreamWatch};
use crate::config::Ingress;
use crate::ports::net::BoxedStream;

/// What every HTTP/2 connection begins with (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FIRST_READ_BYTES: usize = 8 << 10;

/// A quiet HTTP/2 client is asked for a sign of life after this time, and given this long to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that a client may have reset before they were looked at (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;
/// Streams that this node may reset because of a client's errors before it hangs up.
const LOCAL_RESETS_MAX: usize = 1_024;
/// Bytes of responses that wait in one HTTP/2 stream for the client's window.
const STREAM_SEND_BUFFER_BYTES: usize = 64 << 10;

/// When the node stops, a quiet HTTP/1.1 client may still begin one request for this long, so that none
/// is lost that was on its way; HTTP/2 says by itself which requests it still takes.
const LAST_REQUEST_WAIT: Duration = Duration::from_millis(500);
/// A client that was told to leave gets this long to do so.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);
/// After a refusal the client may still send this much, so that it reads the answer before a reset.
const LINGER_BYTES_MAX: u64 = 64 << 10;
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// What a request needs to know of its connection.
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    /// Its address as the value of a header.
    pub(super) peer_value: HeaderValue,
    pub(super) activity: Arc<Activity>,
    pub(super) limits: Arc<Ingress>,
    /// Counts the connection, its tunnel included.
    pub(super) open: Rc<OpenConnection>,
    /// The watch of the HTTP/2 stream that hyper is about to hand over.
    pub(super) next_stream: Cell<Option<Rc<StreamWatch>>>,
}

/// Serves a connection to its end.
pub(super) async fn serve(
    open: Rc<OpenConnection>,
    mut stream: BoxedStream,
    peer: SocketAddr,
    stop: Stop,
) {
    let core = open.core();
    let limits = core.ingress();
    let mut first = BytesMut::with_capacity(FIRST_READ_BYTES);
    let sniffed = timeout(limits.header_timeout, sniff(&mut stream, &mut first));
    let mut stopping = stop.clone();
    let protocol = tokio::select! {
        biased;
        sniffed = sniffed => match sniffed {
            Ok(Ok(protocol)) => protocol,
            Ok(Err(_)) => return,
            Err(_) => {
                core.metrics().head_timeouts.increment();
                return;
            }
        },
        () = last_request_wait(&mut stopping) => return,
    };
    let activity = Arc::new(Activity::new());
    let client = Rc::new(Client {
        peer,
        peer_value: address_value(peer.ip()),
        activity: Arc::clone(&activity),
        limits,
        open: Rc::clone(&open),
        next_stream: Cell::default(),
    });
    match protocol {
        Sniffed::Nothing => {}
        Sniffed::Http1 => serve_http1(core, client, stream, first, stop).await,
        Sniffed::Http2 => {
            let io = ClientIo::unguarded(stream, first, activity);
            serve_http2(core, client, io, stop).await;
        }
    }
}

async fn last_request_wait(stop: &mut Stop) {
    stop.requested().await;
    sleep(LAST_REQUEST_WAIT).await;
}

enum Sniffed {
    Nothing,
    Http1,
    Http2,
}

async fn sniff(stream: &mut BoxedStream, first: &mut BytesMut) -> io::Result<Sniffed> {
    loop {
        if stream.read_buf(first).await? == 0 {
            return Ok(if first.is_empty() {
                Sniffed::Nothing
            } else {
                Sniffed::Http1
            });
        }
        if first.starts_with(HTTP2_PREFACE) {
            return Ok(Sniffed::Http2);
        }
        if !HTTP2_PREFACE.starts_with(first) {
            return Ok(Sniffed::Http1);
        }
    }
}

async fn serve_http1(
    core: &Rc<Core>,
    client: Rc<Client>,
    stream: BoxedStream,
    first: BytesMut,
    stop: Stop,
) {
    let limits = Limits {
        head_bytes_max: client.limits.head_bytes_max,
        headers_max: client.limits.headers_max,
        ..Limits::default()
    };
    let io = ClientIo::guarded(stream, first, limits, Arc::clone(&client.activity));
    let (service_core, service_client) = (Rc::clone(core), Rc::clone(&client));
    let service = service_fn(move |request| {
        request::serve(
            Rc::clone(&service_core),
            Rc::clone(&service_client),
            request,
        )
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    // Heads reach the parser whole, so their time is measured before it.
    builder.header_read_timeout(None);
    // The guard counts the bytes of a head; the parser must not refuse below that.
    builder.max_buf_size(client.limits.head_bytes_max.max(FIRST_READ_BYTES) * 2);
    let mut connection = builder
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let ended = supervise(core, &client, stop, LAST_REQUEST_WAIT, |event, cx| {
        let mut connection = Pin::new(&mut connection);
        match event {
            Event::Poll => connection.poll(cx).map(|_| ()),
            Event::Goodbye => {
                connection.as_mut().graceful_shutdown();
                connection.poll(cx).map(|_| ())
            }
        }
    })
    .await;
    let Some(parts) = connection.into_parts() else {
        return;
    };
    let io = parts.io.into_inner();
    match (io.refusal(), ended) {
        (Some(refusal), _) => refuse(core, io, refusal).await,
        (None, Ended::Overdue(Overdue::Head)) => {
            core.metrics().head_timeouts.increment();
            answer_and_close(io.into_stream(), 408, "header-timeout").await;
        }
        _ => {}
    }
}

async fn serve_http2(core: &Rc<Core>, client: Rc<Client>, io: ClientIo, stop: Stop) {
    let (service_core, service_client) = (Rc::clone(core), Rc::clone(&client));
    let service = service_fn(move |request| {
        request::serve(
            Rc::clone(&service_core),
            Rc::clone(&service_client),
            request,
        )
    });
    let limits = &client.limits;
    let mut connection = pin!(
        hyper::server::conn::http2::Builder::new(StreamExecutor(Rc::clone(&client)))
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.h2_streams_max)
            .initial_stream_window_size(limits.h2_stream_window_bytes)
            .initial_connection_window_size(limits.h2_connection_window_bytes)
            .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
            .max_send_buf_size(STREAM_SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            .max_local_error_reset_streams(LOCAL_RESETS_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(io), service)
    );
    supervise(core, &client, stop, Duration::ZERO, |event, cx| {
        if let Event::Goodbye = event {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx).map(|_| ())
    })
    .await;
}

enum Event {
    Poll,
    Goodbye,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    ByItself,
    Overdue(Overdue),
}

/// Polls a connection, tells it when the node stops, and ends it when it keeps the node waiting.
///
/// A connection without a request is told to leave `last_request_wait` after the node began to stop.
async fn supervise(
    core: &Core,
    client: &Client,
    stop: Stop,
    last_request_wait: Duration,
    mut drive: impl FnMut(Event, &mut Context<'_>) -> Poll<()>,
) -> Ended {
    let mut waker = stop.clone();
    let mut woken_to_stop = pin!(waker.requested());
    let mut listening = false;
    let mut timer = pin!(sleep_until(
        Instant::now() + client.limits.keep_alive_timeout
    ));
    let mut goodbye_until = None;
    let mut last_request: Option<Pin<Box<Sleep>>> = None;
    let mut leaving = false;
    poll_fn(|cx| {
        if drive(Event::Poll, cx).is_ready() {
            return Poll::Ready(Ended::ByItself);
        }
        if !listening {
            // Once is enough: the waker of this task stays the same. It may be ready at once, when the
            // connection came after the node began to stop, and must not be polled after that.
            listening = true;
            let _ = woken_to_stop.as_mut().poll(cx);
        }
        if last_request.is_none() && stop.is_requested() {
            last_request = Some(Box::pin(sleep(last_request_wait)));
        }
        if let Some(wait) = &mut last_request
            && !leaving
            && (client.activity.running() > 0 || wait.as_mut().poll(cx).is_ready())
        {
            leaving = true;
            if drive(Event::Goodbye, cx).is_ready() {
                return Poll::Ready(Ended::ByItself);
            }
        }
        while let Some(overdue) = poll_due(&mut timer, goodbye_until, client, cx) {
            if overdue == Overdue::Write {
                core.metrics().write_timeouts.increment();
            }
            if overdue != Overdue::Idle || goodbye_until.is_some() {
                return Poll::Ready(Ended::Overdue(overdue));
            }
            goodbye_until = Some(Instant::now() + GOODBYE_TIMEOUT);
            if drive(Event::Goodbye, cx).is_ready() {
                return Poll::Ready(Ended::ByItself);
            }
        }
        Poll::Pending
    })
    .await
}

/// What is overdue now, if anything; otherwise leaves a timer that fires no later than it could be.
fn poll_due(
    timer: &mut Pin<&mut Sleep>,
    goodbye_until: Option<Instant>,
    client: &Client,
    cx: &mut Context<'_>,
) -> Option<Overdue> {
    loop {
        let due = client.activity.next_due(&client.limits);
        let (at, what) = match (due, goodbye_until) {
            (Some((_, Overdue::Idle)) | None, Some(until)) => (until, Overdue::Idle),
            (Some(due), _) => due,
            (None, None) => return None,
        };
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return None;
        }
        if Instant::now() >= at {
            timer.as_mut().reset(at + GOODBYE_TIMEOUT);
            return Some(what);
        }
        timer.as_mut().reset(at);
    }
}

async fn refuse(core: &Core, io: ClientIo, refusal: Refusal) {
    core.metrics().heads_refused.increment();
    tracing::debug!(reason = refusal.reason(), "request refused");
    if io.is_between_requests() {
        answer_and_close(io.into_stream(), refusal.status(), refusal.reason()).await;
    } else {
        // The rule was broken within a body, whose request has its own answer.
        close(io.into_stream(), b"").await;
    }
}

/// A last answer outside the parser, which cannot go on.
async fn answer_and_close(stream: BoxedStream, status: u16, reason: &str) {
    let phrase = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Refused");
    let body = format!("{{\"status\":{status},\"reason\":\"{reason}\"}}\n");
    let answer = format!(
        "HTTP/1.1 {status} {phrase}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nx-weir-reason: {reason}\r\n\r\n{body}",
        body.len(),
    );
    close(stream, answer.as_bytes()).await;
}

/// Sends the last bytes and closes so that the client reads them before a reset.
async fn close(mut stream: BoxedStream, last: &[u8]) {
    let _ = timeout(LINGER_TIMEOUT, async {
        stream.write_all(last).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    })
    .await;
}
