//! Connections to control servers.

use std::fmt;
use std::io;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection's bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection, whatever carries it.
pub type BoxedStream = Box<dyn Stream>;

/// Opens connections.
pub trait Connect: fmt::Debug + Send + Sync {
    /// Connects to `host:port`. The caller bounds the wait.
    fn connect<'a>(&'a self, to: &'a str) -> BoxFuture<'a, io::Result<BoxedStream>>;
}

/// Real TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect<'a>(&'a self, to: &'a str) -> BoxFuture<'a, io::Result<BoxedStream>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(to).await?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}
