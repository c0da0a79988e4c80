//! HTTP/2 connections: several, each with many streams.
//!
//! A connection's streams share one lock inside h2, which is why they all stay on one core, and why a
//! busy backend gets more than one connection.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::{BackendPool, OpenConnection, PoolExecutor, Reason};
use crate::config::PoolSettings;
use crate::data_plane::upload::UploadBody;

/// Another connection is opened when this share of the stream slots is taken.
const FULL_PERCENT: usize = 80;
/// A quiet connection is asked for a sign of life after this time, and given this long to answer.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

const STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// Room for every stream's window: clients that do not read must not stall the others' streams.
fn connection_window_bytes(settings: &PoolSettings) -> u32 {
    const AT_MOST: u32 = i32::MAX as u32;
    let streams = u32::try_from(settings.h2_streams_max).unwrap_or(u32::MAX);
    streams.saturating_mul(STREAM_WINDOW_BYTES).min(AT_MOST)
}

/// One connection and how many streams of ours it carries.
pub(in crate::data_plane) struct SharedConnection {
    sender: http2::SendRequest<UploadBody>,
    streams: Cell<usize>,
    /// What the backend's SETTINGS allow.
    peer_streams_max: Rc<Cell<usize>>,
    idle_since: Cell<Instant>,
}

impl SharedConnection {
    pub(super) fn sender(&self) -> http2::SendRequest<UploadBody> {
        self.sender.clone()
    }

    pub(super) fn stream_opened(&self) {
        self.streams.set(self.streams.get() + 1);
    }

    pub(super) fn stream_closed(&self) {
        self.streams.set(self.streams.get().saturating_sub(1));
        if self.streams.get() == 0 {
            self.idle_since.set(Instant::now());
        }
    }

    fn slots(&self, settings: &PoolSettings) -> usize {
        settings.h2_streams_max.min(self.peer_streams_max.get())
    }
}

/// Every HTTP/2 connection to one backend.
#[derive(Default)]
pub(in crate::data_plane) struct SharedConnections(Vec<Rc<SharedConnection>>);

impl SharedConnections {
    /// The least loaded connection, unless it is time to open another.
    pub(super) fn free(&mut self, settings: &PoolSettings) -> Option<Rc<SharedConnection>> {
        let at_most = settings.h2_connections_max;
        let connection = self.least_loaded()?;
        let slots = connection.slots(settings);
        let bar = if self.0.len() < at_most {
            (slots * FULL_PERCENT / 100).max(1)
        } else {
            slots
        };
        (connection.streams.get() < bar).then_some(connection)
    }

    /// The connection with the fewest streams; h2 queues what its peer does not take yet.
    pub(super) fn least_loaded(&mut self) -> Option<Rc<SharedConnection>> {
        self.0.retain(|connection| !connection.sender.is_closed());
        self.0
            .iter()
            .min_by_key(|connection| connection.streams.get())
            .map(Rc::clone)
    }

    pub(super) fn len(&self) -> usize {
        self.0
            .iter()
            .filter(|connection| !connection.sender.is_closed())
            .count()
    }

    pub(super) fn expire(&mut self, now: Instant, settings: &PoolSettings) {
        self.0.retain(|connection| {
            !connection.sender.is_closed()
                && (connection.streams.get() > 0
                    || now.duration_since(connection.idle_since.get()) < settings.idle_timeout)
        });
    }
}

impl BackendPool {
    pub(super) async fn open_h2(
        self: &Rc<Self>,
        connect_timeout: Duration,
    ) -> Result<Rc<SharedConnection>, Reason> {
        let open = OpenConnection::count(self);
        let stream = self.connect(connect_timeout).await?;
        let handshake = http2::Builder::new(PoolExecutor(Rc::downgrade(self)))
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(connection_window_bytes(&self.settings.get()))
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(stream));
        let (sender, mut connection) = tokio::time::timeout(connect_timeout, handshake)
            .await
            .map_err(|_| Reason::ConnectTimeout)?
            .map_err(|_| Reason::ConnectFailed)?;
        let peer_streams_max = Rc::new(Cell::new(connection.current_max_send_streams()));
        let noted = Rc::clone(&peer_streams_max);
        self.drive(
            open,
            poll_fn(move |cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                noted.set(connection.current_max_send_streams());
                // What went wrong reaches the requests through their senders.
                polled.map(|_| ())
            }),
        );
        let shared = Rc::new(SharedConnection {
            sender,
            streams: Cell::new(0),
            peer_streams_max,
            idle_since: Cell::new(Instant::now()),
        });
        self.shared.borrow_mut().0.push(Rc::clone(&shared));
        Ok(shared)
    }
}
