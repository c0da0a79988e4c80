//! The connections of an instance: only so many at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// The wait after the process ran out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A connection, which counts until it is closed. It ends when nothing came for a while: who lives answers pings.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    silent_max: Duration,
    silent_at: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

/// What is bounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// How long one may say nothing.
    pub(crate) silent_max: Duration,
}

/// The connections of a listener, at most so many at a time: who comes beyond is closed at once and may come again.
///
/// Without file descriptors it rests; the caller would ask at once again.
pub(crate) fn accepted(
    listener: TcpListener,
    bounds: Bounds,
) -> impl Stream<Item = io::Result<Connection>> {
    let gate = Gate {
        listener,
        places: Arc::new(Semaphore::new(bounds.connections_max)),
        silent_max: bounds.silent_max,
        is_full: false,
    };
    futures::stream::unfold(gate, async |mut gate| {
        let connection = gate.next().await;
        Some((Ok(connection), gate))
    })
}

struct Gate {
    listener: TcpListener,
    places: Arc<Semaphore>,
    silent_max: Duration,
    is_full: bool,
}

impl Gate {
    async fn next(&mut self) -> Connection {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let place = Arc::clone(&self.places).try_acquire_owned();
            let was_full = std::mem::replace(&mut self.is_full, place.is_err());
            let Ok(place) = place else {
                if !was_full {
                    tracing::warn!("as many connections as there may be");
                }
                continue;
            };
            // One that the client closed already shows so when it is read.
            let _ = stream.set_nodelay(true);
            return Connection {
                stream,
                silent_max: self.silent_max,
                silent_at: Box::pin(sleep(self.silent_max)),
                _place: place,
            };
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            let silent_at = Instant::now() + self.silent_max;
            self.silent_at.as_mut().reset(silent_at);
            return Poll::Ready(read);
        }
        let is_over = self.silent_at.as_mut().poll(cx);
        is_over.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
