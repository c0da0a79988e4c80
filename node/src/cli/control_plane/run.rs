//! What an instance of the control plane is started with, and its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use weir_control_plane::clock::WallClock;
use weir_control_plane::governance::guard;
use weir_control_plane::governance::listen::{Insecure, Wire, check_listen};
use weir_control_plane::governance::secret::SecretRef;
use weir_control_plane::governance::tls::{self, Acceptor, ClientTls, KeyPair};
use weir_control_plane::quota::Bounds;
use weir_control_plane::server::{ControlPlane, Limits, Options};
use weir_control_plane::store::Store;
use weir_control_plane::store::embedded::{self, EmbeddedStore};
use weir_control_plane::store::etcd::{self, EtcdStore};
use weir_core::error::chain;

use super::bootstrap;
use super::traced::Traced;
use crate::cli::output::Failure;
use crate::end_signs::Parent;
use crate::node;
use crate::telemetry::logs;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// How long a store may take to be read before that is told.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Access {
    /// Anyone who reaches the address.
    Open,
    /// Who has a token.
    Tokens,
    /// Who has a certificate that --client-ca signed.
    Mtls,
    /// Who has either.
    TokensOrMtls,
}

/// What an instance is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct RunArguments {
    /// Where to listen.
    pub(in crate::cli) listen: SocketAddr,
    /// Where desired state is kept.
    pub(in crate::cli) store: StorePlace,
    /// Keeps several meshes apart in one store.
    pub(in crate::cli) namespace: String,
    /// The instance's name.
    pub(in crate::cli) name: String,
    /// Who may call.
    pub(in crate::cli) access: Access,
    /// Whether to listen beyond loopback without TLS or without asking who calls.
    pub(in crate::cli) insecure: bool,
    /// The instance's own certificate.
    pub(in crate::cli) tls: Option<ServerTls>,
    /// The first administrator's token.
    pub(in crate::cli) bootstrap_token_file: Option<PathBuf>,
    /// How many nodes and backends may register.
    pub(in crate::cli) registered: Bounds,
    /// Where the way of profile changes is told.
    pub(in crate::cli) otlp: Option<String>,
    /// Which log lines to write.
    pub(in crate::cli) log: String,
    /// Whether as JSON.
    pub(in crate::cli) log_json: bool,
    /// Whether to stop when standard input ends.
    pub(in crate::cli) stop_with_stdin: bool,
}

/// Where desired state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum StorePlace {
    /// In a file in this folder.
    Embedded(PathBuf),
    /// In etcd.
    Etcd(Etcd),
}

/// How etcd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Etcd {
    /// `http://` or `https://` addresses of its members; at least one.
    pub(in crate::cli) endpoints: Vec<String>,
    /// Who signs its certificates.
    pub(in crate::cli) ca: Option<PathBuf>,
    /// Certificate and key for it.
    pub(in crate::cli) identity: Option<(PathBuf, PathBuf)>,
    /// Name, and where the password is: `file:/path` or `env:NAME`.
    pub(in crate::cli) user: Option<(String, String)>,
}

/// Certificate, key, and who signs those of callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ServerTls {
    pub(in crate::cli) cert: PathBuf,
    pub(in crate::cli) key: PathBuf,
    pub(in crate::cli) client_ca: Option<PathBuf>,
}

/// Runs one instance until it is told to stop.
pub(super) fn run(arguments: RunArguments) -> Result<(), Failure> {
    logs::start(&arguments.log, arguments.log_json)?;
    node::raise_open_files();
    keep_small_pages();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(arguments))
}

/// Thousands of streams hold a few small allocations each: in huge pages they take a third more memory.
fn keep_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the kernel keeps huge pages");
    }
}

async fn serve(arguments: RunArguments) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut parent = Parent::new(arguments.stop_with_stdin)?;
    let access = arguments.access.into();
    let (wire, tls) = match &arguments.tls {
        Some(tls) => (Wire::Tls, Some(tls.load(access)?)),
        None => (Wire::Plain, None),
    };
    let insecure = match arguments.insecure {
        true => Insecure::Allowed,
        false => Insecure::Refused,
    };
    check_listen(arguments.listen, access, wire, insecure).map_err(usage)?;
    let no_listener = |error| Failure::Other(format!("--listen {}: {error}", arguments.listen));
    let socket = bound(arguments.listen).map_err(no_listener)?;
    let store = arguments.store.open().await?;
    bootstrap::first_token(&store, &arguments).await?;
    let options = Options {
        instance: arguments.name.clone(),
        address: arguments.listen.to_string(),
        namespace: arguments.namespace.clone(),
        access,
        tls,
        limits: Limits {
            registered: arguments.registered,
            ..Limits::default()
        },
        clock: WallClock::system(),
        seed: fastrand::u64(..),
    };
    let stop = async {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = parent.gone() => {}
        }
    };
    tokio::pin!(stop);
    let control_plane = tokio::select! {
        biased;
        // It may wait for its name.
        () = &mut stop => return Ok(()),
        started = ControlPlane::start(store, options) => started.map_err(failed)?,
    };
    let traced = arguments
        .otlp
        .as_ref()
        .map(|url| Traced::start(control_plane.steps(), url.clone(), &arguments.name));
    let traced = traced.transpose()?;
    let listener = socket.listen(BACKLOG).map_err(no_listener)?;
    let told = tokio::spawn(tell_ready(control_plane.store_read(), arguments));
    let served = control_plane.serve(listener, stop).await;
    told.abort();
    if let Some(traced) = traced {
        traced.finish().await;
    }
    served.map_err(failed)
}

/// Says that the instance is ready once it has read its store, and before that that it has not, if that takes long.
async fn tell_ready(store_read: impl Future<Output = ()>, arguments: RunArguments) {
    let (instance, listen) = (&*arguments.name, arguments.listen);
    let mut store_read = std::pin::pin!(store_read);
    if timeout(STORE_LIMIT, &mut store_read).await.is_err() {
        tracing::warn!(
            instance,
            %listen,
            "control plane listens, and is not ready: its store does not answer; nodes keep what they have"
        );
        store_read.await;
    }
    tracing::info!(
        instance,
        %listen,
        version = env!("CARGO_PKG_VERSION"),
        "control plane ready"
    );
}

/// Has the address, and does not listen yet: callers are refused at once until there is somebody to answer them.
fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl StorePlace {
    async fn open(&self) -> Result<Arc<dyn Store>, Failure> {
        match self {
            Self::Embedded(folder) => {
                let options = embedded::Options::new(folder, fastrand::u64(..));
                Ok(Arc::new(
                    EmbeddedStore::open(options).await.map_err(failed)?,
                ))
            }
            Self::Etcd(etcd) => {
                let options = etcd.options()?;
                Ok(Arc::new(EtcdStore::connect(options).await.map_err(failed)?))
            }
        }
    }
}

impl Etcd {
    /// What the client needs. Files and secrets are read now.
    pub(in crate::cli) fn options(&self) -> Result<etcd::Options, Failure> {
        Ok(etcd::Options {
            tls: self.tls()?,
            user: self.user()?,
            ..etcd::Options::new(self.endpoints.clone())
        })
    }

    fn tls(&self) -> Result<Option<etcd::TlsOptions>, Failure> {
        let Some(ca) = &self.ca else {
            return Ok(None);
        };
        let own = self.identity.clone();
        let tls = ClientTls {
            ca: ca.clone(),
            own: own.map(|(certificate, key)| KeyPair { certificate, key }),
            server_name: None,
        };
        Ok(Some(tls.load().map_err(failed)?))
    }

    fn user(&self) -> Result<Option<(String, String)>, Failure> {
        let Some((name, reference)) = &self.user else {
            return Ok(None);
        };
        let reference: SecretRef = reference.parse().map_err(usage)?;
        let password = reference.read().map_err(failed)?;
        Ok(Some((name.clone(), password.expose().to_owned())))
    }
}

impl ServerTls {
    fn load(&self, access: guard::Access) -> Result<Acceptor, Failure> {
        let tls = tls::ServerTls {
            own: KeyPair {
                certificate: self.cert.clone(),
                key: self.key.clone(),
            },
            client_ca: self.client_ca.clone(),
        };
        tls.load(access).map_err(failed)
    }
}

impl From<Access> for guard::Access {
    fn from(access: Access) -> Self {
        match access {
            Access::Open => Self::OpenLoopback,
            Access::Tokens => Self::Tokens,
            Access::Mtls => Self::MutualTls,
            Access::TokensOrMtls => Self::TokensOrMutualTls,
        }
    }
}

pub(super) fn usage(error: impl std::error::Error) -> Failure {
    Failure::Usage(error.to_string())
}

pub(super) fn failed(error: impl std::error::Error) -> Failure {
    Failure::Other(chain(&error))
}
