//! What engines are run with on a real node: drivers, the queue of jobs, the registry, control servers of VPNs.

mod calls;
mod identity;
mod lazy;
mod off;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use weir_control_plane::governance::secret::SecretError;
use weir_control_plane::jobs::{self, JobQueue, Jobs};
use weir_control_plane::keys::{DEFAULT_NAMESPACE, Keys};
use weir_control_plane::store::Store;
use weir_control_plane::store::embedded::{self, EmbeddedStore};
use weir_control_plane::store::memory::{self, MemoryStore};
use weir_engines::containers::Containers;
use weir_engines::docker::{self, Docker};
use weir_engines::gluetun::{self, ControlServer, Credential, Secret};
use weir_engines::process;

use self::calls::RemoteRegistry;
pub(crate) use self::calls::channel;
use self::lazy::Lazy;
pub use self::off::off;
use crate::actors::port_cache::Connect;
use crate::actors::provision_supervisor::{Drivers, Registry};
use crate::config::{Config, VpnAuth, VpnSettings};
use crate::control_link::{self, ControlLink};
use crate::ports::clock::WallClock;

/// Below the node's folder: its engines, and the jobs of a node of its own.
const ENGINES_FOLDER: &str = "engines";
const JOBS_FOLDER: &str = "jobs";
/// How long an engine of a node that is gone has to end.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);
/// An engine that ends within this time has not started.
const SETTLE: Duration = Duration::from_millis(200);
const JOBS_PRUNE_INTERVAL: Duration = Duration::from_secs(600);

/// What a node's process is like.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Wall-clock time.
    pub clock: WallClock,
    /// Random, another one for each life of the node.
    pub seed: u64,
    /// How many files the process could have open before it raised that limit; `None` if it did not.
    pub open_files: Option<u64>,
}

/// What engines are run with.
#[derive(Clone)]
pub struct EngineRoom {
    /// What runs them.
    pub drivers: Drivers,
    /// Looks at containers of VPNs.
    pub containers: Arc<dyn Containers>,
    /// Where jobs are.
    pub queue: Arc<dyn JobQueue>,
    /// Where engines are registered; a node of its own has none.
    pub registry: Option<Arc<dyn Registry>>,
    /// Makes clients of control servers.
    pub connect: Connect,
}

impl std::fmt::Debug for EngineRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineRoom").finish_non_exhaustive()
    }
}

/// Why engines cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The way to the control plane cannot be taken.
    #[error(transparent)]
    ControlPlane(#[from] control_link::Error),
    /// The file of jobs cannot be opened.
    #[error("jobs: {0}")]
    Jobs(#[from] embedded::OpenError),
    /// The node does not know itself.
    #[error("node.data_dir: {0}")]
    Identity(#[from] identity::Error),
}

/// The parts of a node as `config` says. Must run within a runtime.
///
/// # Errors
/// When jobs cannot be kept.
pub async fn real(config: &Config, link: &ControlLink, host: Host) -> Result<EngineRoom, Error> {
    let Host { clock, seed, .. } = host;
    let node = &config.node.name;
    let folder = match &config.node.data_dir {
        Some(folder) => folder.clone(),
        // A name that nobody can have made before: what is in it tells which processes are to be ended.
        None => std::env::temp_dir().join(format!("weir-engines-{seed:016x}")),
    };
    let process = process::Settings {
        weir: PathBuf::from("/proc/self/exe"),
        folder: folder.join(ENGINES_FOLDER),
        orphan_grace: ORPHAN_GRACE,
        settle: SETTLE,
        open_files: host.open_files,
        unix_ms: clock.to_fn(),
    };
    let remote = link.calls().map_err(control_link::Error::Token)?;
    let owner = match &remote {
        Some(calls) => identity::owner_of_mesh(&calls.endpoints),
        None => identity::owner_of_lone(config, seed)?,
    };
    let docker = Docker::new(docker::Settings {
        socket: socket_of(&config.provision.docker_socket),
        ..docker::Settings::of(owner)
    });
    let (queue, registry): (Arc<dyn JobQueue>, Option<Arc<dyn Registry>>) = match remote {
        Some(calls) => {
            let channel = channel(&calls);
            let jobs = jobs::RemoteJobs::new(
                channel.clone(),
                calls.bearer.clone(),
                node,
                clock.to_fn(),
                seed,
            );
            (
                Arc::new(jobs),
                Some(Arc::new(RemoteRegistry::new(channel, calls.bearer))),
            )
        }
        None => (local_jobs(config, clock, seed).await?, None),
    };
    Ok(EngineRoom {
        drivers: Drivers {
            process: Arc::new(Lazy::new(process)),
            docker: Arc::new(docker.clone()),
            containers: Arc::new(docker.clone()),
        },
        containers: Arc::new(docker),
        queue,
        registry,
        connect: Arc::new(connect),
    })
}

/// Jobs of a node without a control plane: in its own folder, so that they survive it, if it has one.
async fn local_jobs(
    config: &Config,
    clock: WallClock,
    seed: u64,
) -> Result<Arc<dyn JobQueue>, Error> {
    let has_engines = config
        .services
        .iter()
        .any(|service| service.engines.is_some());
    let store: Arc<dyn Store> = match &config.node.data_dir {
        Some(folder) if has_engines => {
            let options = embedded::Options::new(folder.join(JOBS_FOLDER), seed);
            Arc::new(EmbeddedStore::open(options).await?)
        }
        _ => Arc::new(MemoryStore::start(memory::Options::new(seed))),
    };
    let jobs = Arc::new(local_queue(store, clock, seed));
    let pruned = Arc::clone(&jobs);
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(JOBS_PRUNE_INTERVAL).await;
            if let Err(error) = pruned.prune(jobs::DEFAULT_QUEUE, None).await {
                tracing::warn!(%error, "old jobs stay");
            }
        }
    });
    Ok(jobs)
}

fn local_queue(store: Arc<dyn Store>, clock: WallClock, seed: u64) -> Jobs {
    let keys = Keys::new(DEFAULT_NAMESPACE).expect("the default is a name");
    Jobs::new(store, keys, clock.to_fn(), jobs::Options::new(seed))
}

pub(crate) fn socket_of(text: &str) -> PathBuf {
    text.strip_prefix("unix://").unwrap_or(text).into()
}

/// The client of a VPN's control server. Secrets are read now, so one that is replaced counts after the next change
/// of the configuration.
pub(crate) fn connect(vpn: &VpnSettings) -> Result<Arc<dyn ControlServer>, String> {
    let words = |error: SecretError| error.to_string();
    let credential = match &vpn.auth {
        VpnAuth::None => Credential::None,
        VpnAuth::ApiKey(key) => {
            Credential::ApiKey(Secret::from(key.read().map_err(words)?.expose()))
        }
        VpnAuth::Basic(user, password) => Credential::Basic {
            user: user.clone(),
            password: Secret::from(password.read().map_err(words)?.expose()),
        },
    };
    let client = gluetun::Client::new(&vpn.control_url, &credential, Arc::new(gluetun::Tcp));
    client
        .map(|client| Arc::new(client) as _)
        .map_err(|error| error.to_string())
}
