//! Gluetun's control server: which port the VPN forwards, how its tunnel is, and making that anew.
//!
//! Which routes there are, and who may use them, differs between versions of Gluetun:
//!
//! | version | `/v1/openvpn/portforwarded` | `/v1/portforward` | unknown route |
//! |---|---|---|---|
//! | before 3.39.1 | 200 | 400 | 400 |
//! | 3.39.1 to 3.40 | 200 | 401 | 401 |
//! | 3.41.0 to 3.41.1 | 301 to the other | 200 | 401 |
//! | from 3.41.2 | 301 to the other | 200 | 404, other method 405 |
//!
//! Newer ones want a credential for everything. So a port is asked for at the new route, then at the old one, and the
//! one that worked comes first from then on. Denied by both is [`Error::AuthRequired`], which is not "no port".

mod client;
mod connect;
mod credential;
mod error;
mod exchange;
mod shapes;

use std::net::IpAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use weir_core::port_cache::Port;
use weir_core::vpn::{Control, TunnelStatus};

pub use client::Client;
pub use connect::{BoxedStream, Connect, Stream, Tcp};
pub use credential::{Credential, Secret};
pub use error::{Error, InvalidServer};

/// What can be asked of a VPN's control server. Each call ends within `limit`, however many requests it takes.
///
/// # Errors
/// Each call fails as [`Error`] says; [`Error::failure`] says what a failure means for what is known of the port.
pub trait ControlServer: Send + Sync + 'static {
    /// The port that the VPN forwards; `None` when it has none yet, or forwards none.
    fn forwarded_port(&self, limit: Duration) -> BoxFuture<'_, Result<Option<Port>, Error>>;

    /// Where the tunnel ends; `None` when that is not known.
    fn public_ip(&self, limit: Duration) -> BoxFuture<'_, Result<Option<IpAddr>, Error>>;

    /// How the tunnel is. "Running" is said before it is proven.
    fn status(&self, limit: Duration) -> BoxFuture<'_, Result<TunnelStatus, Error>>;

    /// Gluetun's version.
    fn version(&self, limit: Duration) -> BoxFuture<'_, Result<String, Error>>;

    /// Starts or stops the tunnel.
    fn set_tunnel(&self, wanted: Tunnel, limit: Duration) -> BoxFuture<'_, Result<(), Error>>;

    /// Makes the tunnel anew in the same container: stops and starts it.
    fn restart_tunnel(&self, limit: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let until = tokio::time::Instant::now() + limit;
            // One half is left for the start: a tunnel that was stopped and not started is worse than either.
            self.set_tunnel(Tunnel::Stopped, limit / 2).await?;
            let rest = until.saturating_duration_since(tokio::time::Instant::now());
            match self.set_tunnel(Tunnel::Running, rest / 2).await {
                Ok(()) => Ok(()),
                Err(_) => self
                    .set_tunnel(Tunnel::Running, rest / 2)
                    .await
                    .map_err(|source| Error::LeftStopped(Box::new(source))),
            }
        })
    }

    /// What [`weir_core::vpn::Health`] needs, in one call while all is well: Gluetun tells an address only while the
    /// tunnel is there. The status says more when it tells none. What may not be seen is left out.
    fn look(&self, limit: Duration) -> BoxFuture<'_, Result<Control, Error>> {
        Box::pin(async move {
            let until = tokio::time::Instant::now() + limit;
            let public_ip = visible(self.public_ip(limit).await)?.flatten();
            let status = match public_ip {
                Some(_) => None,
                None => {
                    let rest = until.saturating_duration_since(tokio::time::Instant::now());
                    visible(self.status(rest).await)?
                }
            };
            Ok(Control { status, public_ip })
        })
    }
}

/// What a tunnel should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// Run.
    Running,
    /// Be ended.
    Stopped,
}

fn visible<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::AuthRequired { .. } | Error::Unsupported { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
