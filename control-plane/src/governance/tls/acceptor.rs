//! TLS of a server, which is renewed with its files.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::held::Held;
use super::{HANDSHAKE_LIMIT, ServerTls, TlsError};
use crate::governance::guard::Access;

/// How often the files are looked at. Reading them is cheap and works where notifications do not: on network file
/// systems, and where a folder is a link that is swapped.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Makes TLS of connections, as the files say that are in force when a connection begins.
#[derive(Clone)]
pub struct Acceptor {
    files: ServerTls,
    access: Access,
    began_with: Held,
    in_force: Arc<ArcSwap<ServerConfig>>,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("files", &self.files)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

impl Acceptor {
    pub(super) fn load(files: ServerTls, access: Access) -> Result<Self, TlsError> {
        let began_with = Held::read(&files, access)?;
        let config = began_with.config(access)?;
        Ok(Self {
            files,
            access,
            began_with,
            in_force: Arc::new(ArcSwap::from_pointee(config)),
        })
    }

    /// Connections whose handshake went well. `handshakes_max` of them run at a time; who comes then waits.
    pub fn secured<IO, C>(
        &self,
        connections: C,
        handshakes_max: usize,
    ) -> impl Stream<Item = io::Result<TlsStream<IO>>> + use<IO, C>
    where
        C: Stream<Item = io::Result<IO>>,
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let in_force = Arc::clone(&self.in_force);
        connections
            .map(move |connection| {
                let acceptor = TlsAcceptor::from(in_force.load_full());
                async move { handshake(&acceptor, connection?).await }
            })
            .buffer_unordered(handshakes_max)
            .filter_map(async |secured| match secured {
                Ok(secured) => Some(Ok(secured)),
                Err(error) => {
                    tracing::debug!(%error, "no TLS with a client");
                    None
                }
            })
    }

    /// Follows the files for ever: new connections have what they hold, those that are open keep what they have.
    /// Files that cannot be used are told once and change nothing.
    pub async fn follow(self) {
        let mut looks = Looks::new(Ok(self.began_with.clone()));
        loop {
            sleep(LOOK_INTERVAL).await;
            let found = self.read().await;
            if let Some(settled) = found.and_then(|found| looks.settled(found)) {
                self.take(settled);
            }
        }
    }

    /// `None` when the process ends.
    async fn read(&self) -> Option<Result<Held, TlsError>> {
        let (files, access) = (self.files.clone(), self.access);
        let read = spawn_blocking(move || Held::read(&files, access));
        read.await.ok()
    }

    fn take(&self, found: Result<Held, TlsError>) {
        match found.and_then(|held| held.config(self.access)) {
            Ok(config) => {
                self.in_force.store(Arc::new(config));
                tracing::info!("new TLS files are in force");
            }
            Err(error) => {
                tracing::error!(%error, "new TLS files cannot be used, the old ones stay in force");
            }
        }
    }
}

/// What was found, look by look. Files are replaced one after the other: what the next look finds again is meant.
pub(super) struct Looks<T> {
    last: T,
    settled: T,
}

impl<T: Clone + PartialEq> Looks<T> {
    pub(super) fn new(begin: T) -> Self {
        Self {
            last: begin.clone(),
            settled: begin,
        }
    }

    /// What was found now, if it was found before as well and is not what was so last.
    pub(super) fn settled(&mut self, found: T) -> Option<T> {
        let last = std::mem::replace(&mut self.last, found.clone());
        if found != last || found == self.settled {
            return None;
        }
        self.settled = found.clone();
        Some(found)
    }
}

async fn handshake<IO>(acceptor: &TlsAcceptor, io: IO) -> io::Result<TlsStream<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let within = timeout(HANDSHAKE_LIMIT, acceptor.accept(io)).await;
    within.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
