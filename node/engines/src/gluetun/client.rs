//! A control server over HTTP.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use http::StatusCode;
use serde::de::DeserializeOwned;
use weir_core::port_cache::Port;
use weir_core::vpn::TunnelStatus;

use super::connect::Connect;
use super::credential::Credential;
use super::error::{Error, InvalidServer};
use super::exchange::{Reply, Server};
use super::{ControlServer, Tunnel, shapes};

const PORT: &str = "/v1/portforward";
const PORT_OF_OLD: &str = "/v1/openvpn/portforwarded";
const PUBLIC_IP: &str = "/v1/publicip/ip";
const STATUS: &str = "/v1/vpn/status";
const VERSION: &str = "/v1/version";

/// A control server over HTTP, one connection a request.
#[derive(Debug)]
pub struct Client {
    server: Server,
    /// The old route is the one that worked last.
    old_first: AtomicBool,
}

/// What a route said of a port.
enum Said {
    Port(Option<Port>),
    Denied,
    NotThere,
}

impl Client {
    /// One for the server at `host:port` or `http://host:port`. It is not asked yet.
    ///
    /// # Errors
    /// When that is no address of a server, or the credential cannot be sent.
    pub fn new(
        address: &str,
        credential: &Credential,
        connect: Arc<dyn Connect>,
    ) -> Result<Self, InvalidServer> {
        Ok(Self {
            server: Server {
                authority: authority(address)?,
                credential: credential.header()?,
                connect,
            },
            old_first: AtomicBool::new(false),
        })
    }

    /// `host:port` of the server.
    pub fn address(&self) -> &str {
        &self.server.authority
    }

    async fn port(&self) -> Result<Option<Port>, Error> {
        let routes = match self.old_first.load(Ordering::Relaxed) {
            false => [PORT, PORT_OF_OLD],
            true => [PORT_OF_OLD, PORT],
        };
        let mut was_denied = false;
        for route in routes {
            match self.port_at(route).await? {
                Said::Port(port) => return Ok(port),
                Said::Denied => was_denied = true,
                Said::NotThere => {}
            }
        }
        Err(match was_denied {
            true => self.denied(),
            false => self.unsupported("tell a forwarded port"),
        })
    }

    async fn port_at(&self, route: &str) -> Result<Said, Error> {
        let reply = self.server.get(route).await?;
        Ok(match reply.status {
            StatusCode::OK => {
                let ports: shapes::Ports = parsed(&reply)?;
                // A redirect is followed once: what it led to comes first from then on.
                self.old_first
                    .store(reply.path == PORT_OF_OLD, Ordering::Relaxed);
                Said::Port(ports.first())
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Said::Denied,
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                Said::NotThere
            }
            _ => return Err(self.failed(&reply)),
        })
    }

    async fn read<T: DeserializeOwned>(&self, path: &str, what: &'static str) -> Result<T, Error> {
        let reply = self.server.get(path).await?;
        self.check(&reply, what)?;
        parsed(&reply)
    }

    fn check(&self, reply: &Reply, what: &'static str) -> Result<(), Error> {
        match reply.status {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied()),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Err(self.unsupported(what)),
            _ => Err(self.failed(reply)),
        }
    }

    fn denied(&self) -> Error {
        Error::AuthRequired {
            server: self.server.authority.clone(),
        }
    }

    fn unsupported(&self, what: &'static str) -> Error {
        Error::Unsupported {
            server: self.server.authority.clone(),
            what,
        }
    }

    fn failed(&self, reply: &Reply) -> Error {
        Error::Status {
            server: self.server.authority.clone(),
            path: reply.path.clone(),
            status: reply.status.as_u16(),
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            Err(Error::Late {
                server: self.server.authority.clone(),
                limit,
            })
        })
    }
}

impl ControlServer for Client {
    fn forwarded_port(&self, limit: Duration) -> BoxFuture<'_, Result<Option<Port>, Error>> {
        Box::pin(self.within(limit, self.port()))
    }

    fn public_ip(&self, limit: Duration) -> BoxFuture<'_, Result<Option<IpAddr>, Error>> {
        Box::pin(self.within(limit, async {
            let ip: shapes::PublicIp = self.read(PUBLIC_IP, "tell the public address").await?;
            Ok(ip.address())
        }))
    }

    fn status(&self, limit: Duration) -> BoxFuture<'_, Result<TunnelStatus, Error>> {
        Box::pin(self.within(limit, async {
            let status: shapes::Status = self.read(STATUS, "tell the tunnel's status").await?;
            Ok(TunnelStatus::from_word(&status.status))
        }))
    }

    fn version(&self, limit: Duration) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(self.within(limit, async {
            let version: shapes::Version = self.read(VERSION, "tell its version").await?;
            Ok(version.version)
        }))
    }

    fn set_tunnel(&self, wanted: Tunnel, limit: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let json = match wanted {
            Tunnel::Running => r#"{"status":"running"}"#,
            Tunnel::Stopped => r#"{"status":"stopped"}"#,
        };
        Box::pin(self.within(limit, async move {
            let reply = self.server.put(STATUS, json).await?;
            self.check(&reply, "start and stop the tunnel")
        }))
    }
}

fn parsed<T: DeserializeOwned>(reply: &Reply) -> Result<T, Error> {
    serde_json::from_slice(&reply.body).map_err(|source| Error::Malformed {
        path: reply.path.clone(),
        source,
    })
}

/// `host:port` of an address as people write it.
fn authority(address: &str) -> Result<String, InvalidServer> {
    let address = address.trim();
    if address.contains('@') {
        return Err(InvalidServer::Address("holds a user or a password"));
    }
    let rest = match address.split_once("://") {
        Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
        Some(_) => return Err(InvalidServer::Address("is not one of plain HTTP")),
        None => address,
    };
    let parsed: http::uri::Authority = rest
        .parse()
        .map_err(|_| InvalidServer::Address("is no host and port"))?;
    match parsed.port_u16() {
        Some(1..) if !parsed.host().is_empty() => Ok(rest.to_owned()),
        _ => Err(InvalidServer::Address("has no port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in [
            "gluetun:8000",
            "http://gluetun:8000",
            "http://gluetun:8000/",
            " gluetun:8000",
        ] {
            assert_eq!(authority(good).as_deref(), Ok("gluetun:8000"), "{good}");
        }
        assert_eq!(authority("[::1]:8000").as_deref(), Ok("[::1]:8000"));
        for bad in [
            "",
            "gluetun",
            "gluetun:0",
            "gluetun:99999",
            ":8000",
            "https://gluetun:8000",
            "http://me:hunter2@gluetun:8000",
            "gluetun:8000/v1",
        ] {
            let error = authority(bad).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
