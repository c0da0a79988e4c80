//! The simulated network as the node's port, and gRPC over it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{Stream, stream};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Uri};
use turmoil::net::{TcpListener, TcpStream};
use weir_node::ports::net::{BoxedStream, Endpoint, Net};

/// The wait before a lost SYN is sent again; doubles each time.
const SYN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Simulated TCP between the hosts of a simulation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimNet;

impl Net for SimNet {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<BoxedStream>> {
        Box::pin(async move {
            let stream = connect(to.as_str()).await;
            match &stream {
                Ok(_) => tracing::trace!(%to, "connected"),
                Err(error) => tracing::trace!(%to, %error, "not connected"),
            }
            Ok(Box::new(stream?) as BoxedStream)
        })
    }
}

/// Connects as a kernel does. The simulation refuses a connection when a partition swallows its SYN; a
/// real peer behind a partition is silent, so the SYN is sent again until the caller gives up.
async fn connect(to: &str) -> io::Result<TcpStream> {
    let mut again_after = SYN_AGAIN_AFTER;
    let mut refused = 0;
    loop {
        let began = Instant::now();
        match TcpStream::connect(to).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if Instant::now() == began {
                    // No host answers that fast: the link is cut.
                    sleep(again_after).await;
                    again_after *= 2;
                    continue;
                }
                // Refused by the host, or cut on its way; the second time it is the host.
                refused += 1;
                if refused == 2 {
                    return Err(error);
                }
            }
            connected => return connected,
        }
    }
}

/// A connection that a simulated server accepted.
pub(crate) struct Accepted(TcpStream);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Everything that `listener` accepts.
pub(crate) fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<Accepted>> {
    stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| Accepted(stream));
        Some((accepted, listener))
    })
}

/// How long one side of a channel may be silent before it is asked for a sign of life, and how long
/// that may take. Nothing is sent again in the simulation: after a repaired partition only this ends an
/// old connection.
pub(crate) const KEEPALIVE: Duration = Duration::from_millis(500);
/// How long a channel tries to connect before its calls fail.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A gRPC channel to `host`, connected at its first call.
pub(crate) fn channel(host: &str, port: u16) -> Channel {
    let connector = tower::service_fn(|uri: Uri| async move {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        connect(authority).await.map(TokioIo::new)
    });
    tonic::transport::Endpoint::from_shared(format!("http://{host}:{port}"))
        .expect("a host name and a port make an address")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}
