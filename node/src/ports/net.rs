//! TCP connections to named places.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A place to connect to: an address, or a name that is looked up at each connect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    text: Arc<str>,
    literal: Option<SocketAddr>,
}

/// Why a text is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected host:port, for example 10.0.0.7:8080, [::1]:8080 or engine-1:6878")]
pub struct InvalidEndpoint;

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(literal) = text.parse::<SocketAddr>() {
            return if literal.port() == 0 {
                Err(InvalidEndpoint)
            } else {
                Ok(Self {
                    text: text.into(),
                    literal: Some(literal),
                })
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidEndpoint)?;
        let named = !host.is_empty()
            && host.len() <= 253
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        match port.parse::<u16>() {
            Ok(1..) if named => Ok(Self {
                text: text.into(),
                literal: None,
            }),
            _ => Err(InvalidEndpoint),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(literal: SocketAddr) -> Self {
        Self {
            text: literal.to_string().into(),
            literal: Some(literal),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Endpoint {
    /// `host:port` as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and port apart, an address without brackets.
    pub fn host_and_port(&self) -> (String, u16) {
        match self.literal {
            Some(at) => (at.ip().to_string(), at.port()),
            None => {
                let (host, port) = self.text.rsplit_once(':').unwrap_or((&self.text, ""));
                (host.to_owned(), port.parse().unwrap_or(0))
            }
        }
    }

    /// The address, when no name has to be looked up.
    pub fn literal(&self) -> Option<SocketAddr> {
        self.literal
    }

    /// True when the endpoint is a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.literal.is_some_and(|at| at.ip().is_loopback())
    }
}

/// A connection's bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection, whatever carries it.
pub type BoxedStream = Box<dyn Stream>;

/// Opens connections.
pub trait Net: fmt::Debug + Send + Sync {
    /// Connects to `to`. The caller bounds the wait.
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<BoxedStream>>;
}

/// Real TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Net for Tcp {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<BoxedStream>> {
        Box::pin(async move {
            let stream = match to.literal {
                Some(address) => tokio::net::TcpStream::connect(address).await?,
                None => tokio::net::TcpStream::connect(&*to.text).await?,
            };
            // Fails only on a connection that was reset already; its first use will tell.
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}

/// An IPv4 address that arrived over an IPv6 socket, as what it is.
pub fn canonical(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_or_a_name_with_a_port() {
        for good in [
            "127.0.0.1:80",
            "[::1]:80",
            "engine-1:6878",
            "a.b_c.internal:1",
        ] {
            assert!(good.parse::<Endpoint>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "host",
            ":80",
            "host:0",
            "host:99999",
            "ho st:80",
            "http://x:80",
            "1.2.3.4:0",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
