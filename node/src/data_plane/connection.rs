//! One client connection: which protocol it speaks, how long it may wait, how it ends.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use weir_core::http1::{Limits, Refusal};
use weir_core::proxy::address_value;

use super::accept::OpenConnection;
use super::activity::{Activity, Overdue};
use super::client_io::{ClientIo, ClientStream};
use super::core::Core;
use super::files::SendQueue;
use super::request;
use super::stream_watch::{StreamExecutor, StreamWatch};
use super::supervise::{Ended, Event, Farewell, LAST_REQUEST_WAIT, supervise};
use crate::config::Ingress;

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

/// After a refusal the client may still send this much, so that it reads the answer before a reset.
const LINGER_BYTES_MAX: u64 = 64 << 10;
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// What a request needs to know of its connection.
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    /// Its address as the value of a header.
    pub(super) peer_value: HeaderValue,
    pub(super) activity: Arc<Activity>,
    /// What its stream sends from files.
    pub(super) sends: Arc<SendQueue>,
    pub(super) limits: Arc<Ingress>,
    /// Counts the connection, its tunnel included.
    pub(super) open: Rc<OpenConnection>,
    /// The watch of the HTTP/2 stream that hyper is about to hand over.
    pub(super) next_stream: Cell<Option<Rc<StreamWatch>>>,
}

/// Serves a connection to its end.
pub(super) async fn serve(open: Rc<OpenConnection>, mut stream: ClientStream, peer: SocketAddr) {
    let core = open.core();
    let limits = core.ingress();
    let mut first = BytesMut::with_capacity(FIRST_READ_BYTES);
    let sniffed = sniff(core, &mut stream, &mut first);
    let protocol = match timeout(limits.header_timeout, sniffed).await {
        Ok(Ok(protocol)) => protocol,
        Ok(Err(_)) => return,
        Err(_) => {
            core.metrics().head_timeouts.increment();
            return;
        }
    };
    let activity = Arc::new(Activity::new());
    let client = Rc::new(Client {
        peer,
        peer_value: address_value(peer.ip()),
        activity: Arc::clone(&activity),
        sends: Arc::default(),
        limits,
        open: Rc::clone(&open),
        next_stream: Cell::default(),
    });
    match protocol {
        Sniffed::Nothing => {}
        Sniffed::Http1 => serve_http1(core, client, stream, first).await,
        Sniffed::Http2 => {
            let io = ClientIo::unguarded(stream, first, activity);
            serve_http2(core, client, io).await;
        }
    }
}

enum Sniffed {
    Nothing,
    Http1,
    Http2,
}

async fn sniff(
    core: &Core,
    stream: &mut ClientStream,
    first: &mut BytesMut,
) -> io::Result<Sniffed> {
    let opened = Instant::now();
    loop {
        let read = tokio::select! {
            biased;
            read = stream.read_buf(first) => read?,
            () = core.leaving.lasts(opened, LAST_REQUEST_WAIT), if first.is_empty() => 0,
        };
        if read == 0 {
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

async fn serve_http1(core: &Rc<Core>, client: Rc<Client>, stream: ClientStream, first: BytesMut) {
    let limits = Limits {
        head_bytes_max: client.limits.head_bytes_max,
        headers_max: client.limits.headers_max,
        ..Limits::default()
    };
    let (activity, sends) = (Arc::clone(&client.activity), Arc::clone(&client.sends));
    let io = ClientIo::guarded(stream, first, limits, activity, sends);
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
    // Bodies are handed on as they are, not copied: files are sent by where their bytes are.
    builder.writev(true);
    let mut connection = builder
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let ended = supervise(core, &client, Farewell::WithTheAnswer, |event, cx| {
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
    if client.sends.is_dead() {
        // What would follow now would be taken for the rest of a file.
        if let Some(reason) = client.sends.take_failure() {
            core.metrics().reasons[reason as usize].increment();
        }
        return;
    }
    match (io.refusal(), ended) {
        (Some(refusal), _) => refuse(core, io, refusal).await,
        (None, Ended::Overdue(Overdue::Head)) => {
            core.metrics().head_timeouts.increment();
            answer_and_close(io.into_stream(), 408, "header-timeout").await;
        }
        _ => {}
    }
}

async fn serve_http2(core: &Rc<Core>, client: Rc<Client>, io: ClientIo) {
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
    supervise(core, &client, Farewell::AtOnce, |event, cx| {
        if let Event::Goodbye = event {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx).map(|_| ())
    })
    .await;
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
async fn answer_and_close(stream: ClientStream, status: u16, reason: &str) {
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
async fn close(mut stream: ClientStream, last: &[u8]) {
    let _ = timeout(LINGER_TIMEOUT, async {
        stream.write_all(last).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    })
    .await;
}
