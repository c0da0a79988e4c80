//! An upgraded connection: bytes both ways until one side ends or both fall silent.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use super::accept::OpenConnection;
use super::exchange::Exchange;

/// Bytes buffered for each direction.
const BUFFER_BYTES: usize = 16 << 10;

/// How long both ends may take to hand over their streams after the backend's 101.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// Carries bytes between client and backend. `exchange` and the client's connection count as open as
/// long as the tunnel.
pub(super) async fn run(
    client: OnUpgrade,
    backend: OnUpgrade,
    idle_timeout: Duration,
    mut exchange: Box<Exchange>,
    open: Rc<OpenConnection>,
) {
    exchange.tell_trace();
    let core = std::rc::Rc::clone(exchange.core());
    let both = async { tokio::try_join!(client, backend) };
    let Ok(Ok((client, backend))) = timeout(HANDOVER_TIMEOUT, both).await else {
        return;
    };
    core.metrics().tunnels_open.increment();
    let _open = OpenTunnel(&core);
    let heard = Arc::new(Heard::now());
    let mut client = Watched::new(client, &heard);
    let mut backend = Watched::new(backend, &heard);
    let copy = tokio::io::copy_bidirectional_with_sizes(
        &mut client,
        &mut backend,
        BUFFER_BYTES,
        BUFFER_BYTES,
    );
    tokio::select! {
        biased;
        ended = copy => if let Err(error) = ended {
            tracing::debug!(%error, "tunnel broke");
        },
        () = heard.silent_for(idle_timeout) => tracing::debug!("tunnel idle for too long"),
    }
    exchange.completed();
    drop(open);
}

struct OpenTunnel<'a>(&'a super::core::Core);

impl Drop for OpenTunnel<'_> {
    fn drop(&mut self) {
        self.0.metrics().tunnels_open.decrement();
    }
}

/// When a byte last moved.
struct Heard {
    origin: Instant,
    last_ms: AtomicU64,
}

impl Heard {
    fn now() -> Self {
        Self {
            origin: Instant::now(),
            last_ms: AtomicU64::new(0),
        }
    }

    fn touch(&self) {
        let ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    async fn silent_for(&self, limit: Duration) {
        loop {
            let last = self.origin + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            if last.elapsed() >= limit {
                return;
            }
            tokio::time::sleep_until(last + limit).await;
        }
    }
}

/// A stream whose every byte is noted.
struct Watched {
    stream: TokioIo<Upgraded>,
    heard: Arc<Heard>,
}

impl Watched {
    fn new(stream: Upgraded, heard: &Arc<Heard>) -> Self {
        Self {
            stream: TokioIo::new(stream),
            heard: Arc::clone(heard),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.heard.touch();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.heard.touch();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
