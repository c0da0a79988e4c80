//! HTTP/1.1 connections: one request at a time each.

use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::{BackendPool, OpenConnection, Reason};
use crate::config::PoolSettings;
use crate::data_plane::upload::UploadBody;

/// Bytes of a response that wait in one connection for its client.
const READ_BUFFER_BYTES_MAX: usize = 128 << 10;

/// How long an upload may go on after the backend has answered.
const UPLOAD_REST_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection. It closes when this is dropped, whatever still runs on it.
pub(in crate::data_plane) struct Connection {
    pub(super) sender: http1::SendRequest<UploadBody>,
    stay: oneshot::Sender<Stay>,
}

/// Why a connection goes on although nothing more will be sent over it.
enum Stay {
    /// The backend answered before it had the whole upload.
    FinishUpload,
    /// It became a tunnel.
    Tunnel,
}

impl Connection {
    /// Closes once the upload has ended, or was given enough time to.
    pub(super) fn finish_upload(self) {
        // A connection that has ended already needs no time.
        let _ = self.stay.send(Stay::FinishUpload);
    }

    /// Lives as long as its tunnel.
    pub(super) fn leave_to_tunnel(self) {
        let _ = self.stay.send(Stay::Tunnel);
    }
}

/// Idle connections, the newest on top.
#[derive(Default)]
pub(in crate::data_plane) struct IdleStack(Vec<Idle>);

struct Idle {
    connection: Connection,
    since: Instant,
}

impl IdleStack {
    /// The connection that was used last and is still open.
    pub(super) fn newest(&mut self) -> Option<Connection> {
        while let Some(idle) = self.0.pop() {
            if !idle.connection.sender.is_closed() {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection for reuse, unless as many as may be are idle.
    pub(super) fn push(&mut self, connection: Connection, idle_max: usize, since: Instant) {
        if self.0.len() < idle_max {
            self.0.push(Idle { connection, since });
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn expire(&mut self, now: Instant, settings: &PoolSettings) {
        self.0.retain(|idle| {
            !idle.connection.sender.is_closed()
                && now.duration_since(idle.since) < settings.idle_timeout
        });
        let surplus = self.0.len().saturating_sub(settings.idle_max);
        self.0.drain(..surplus);
    }
}

impl BackendPool {
    pub(super) async fn open_h1(
        self: &Rc<Self>,
        connect_timeout: Duration,
    ) -> Result<Connection, Reason> {
        // Counted before it is open, so that a burst stays within the bound.
        let open = OpenConnection::count(self);
        let stream = self.connect(connect_timeout).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Reason::ConnectFailed)?;
        let (stay, told) = oneshot::channel();
        self.drive(open, async move {
            tokio::select! {
                biased;
                // What went wrong reaches the request through its sender.
                _ = connection.with_upgrades() => {}
                () = until_left(told) => {}
            }
        });
        Ok(Connection { sender, stay })
    }
}

/// Ends when a connection must close although something runs on it.
async fn until_left(told: oneshot::Receiver<Stay>) {
    match told.await {
        Ok(Stay::FinishUpload) => sleep(UPLOAD_REST_TIMEOUT).await,
        Ok(Stay::Tunnel) => std::future::pending().await,
        Err(_) => {}
    }
}
