//! HTTP/1.1 connections: one request at a time each.

use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::{BackendPool, Reason};
use crate::config::PoolSettings;
use crate::data_plane::upload::UploadBody;

pub(in crate::data_plane) type Sender = http1::SendRequest<UploadBody>;

/// Idle connections, the newest on top.
#[derive(Default)]
pub(in crate::data_plane) struct IdleStack(Vec<Idle>);

struct Idle {
    sender: Sender,
    since: Instant,
}

impl IdleStack {
    /// The connection that was used last and is still open.
    pub(super) fn newest(&mut self) -> Option<Sender> {
        while let Some(idle) = self.0.pop() {
            if !idle.sender.is_closed() {
                return Some(idle.sender);
            }
        }
        None
    }

    /// Keeps a connection for reuse, unless as many as may be are idle.
    pub(super) fn push(&mut self, sender: Sender, idle_max: usize, since: Instant) {
        if self.0.len() < idle_max {
            self.0.push(Idle { sender, since });
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn expire(&mut self, now: Instant, settings: &PoolSettings) {
        self.0.retain(|idle| {
            !idle.sender.is_closed() && now.duration_since(idle.since) < settings.idle_timeout
        });
        let surplus = self.0.len().saturating_sub(settings.idle_max);
        self.0.drain(..surplus);
    }
}

impl BackendPool {
    pub(super) async fn open_h1(
        self: &Rc<Self>,
        connect_timeout: Duration,
    ) -> Result<Sender, Reason> {
        let stream = self.connect(connect_timeout).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Reason::ConnectFailed)?;
        self.drive(async move {
            // What went wrong reaches the request through its sender.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }
}
