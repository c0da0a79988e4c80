//! One node as a process: listeners, actors, data plane, and an orderly end.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, timeout};
use weir_control_plane::governance::secret::{SecretError, SecretRef};
use weir_core::logs::Rotation;

use crate::actors::config_agent::{InForce, watch};
use crate::check::{self, Found};
use crate::config::{self, Config, Environment, Given, IgnoredName, Invalid, LogSettings, Problem};
use crate::control_link::{self, ControlLink};
use crate::data_plane::{self, Cores};
use crate::end_signs::{Parent, Signals, Told};
use crate::engine_room::{self, EngineRoom, Host};
use crate::guardian::BudgetSpent;
use crate::http_api::Disk;
use crate::link::Refused;
use crate::logs;
use crate::metrics_export;
use crate::orders::OrdersHandle;
use crate::overview::OverviewApi;
use crate::ports::clock::WallClock;
use crate::ports::net::Tcp;
use crate::servers::{serve_api, serve_grpc, shown, status_of};
use crate::telemetry::alerts;
use crate::telemetry::history::sampler::Sampler;
use crate::telemetry::logs::{LogFiles, Logs};
use crate::telemetry::otlp::Exporter;
use crate::telemetry::recent::Recent;
use crate::telemetry::spans::Tracer;
use crate::wiring::{Env, Wired, wire};

/// How long the last spans may take to reach their receiver when the node ends.
const LAST_SPANS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the last log lines may take to be written.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);
/// File descriptors that a node would like to have; it takes what the hard limit allows.
const OPEN_FILES_WANTED: u64 = 1_048_576;

/// Why a node did not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The configuration has problems, all named.
    #[error("{}:\n{problems}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        problems: Invalid,
    },
    /// An address cannot be opened.
    #[error("{what} {address}: {source}")]
    Listen {
        /// The configuration's key.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// The system refused something else.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The OTLP address cannot be used.
    #[error("telemetry.otlp: {0}")]
    Otlp(#[source] tonic::transport::Error),
    /// The token of the HTTP API cannot be had.
    #[error("http_api.token: {0}")]
    Token(#[source] SecretError),
    /// An actor did not start.
    #[error("actors did not start: {0}")]
    Actors(#[source] Refused),
    /// An actor failed too often.
    #[error(transparent)]
    Actor(#[from] BudgetSpent),
    /// The way to the control plane cannot be taken.
    #[error(transparent)]
    ControlLink(#[from] control_link::Error),
    /// Engines cannot be run.
    #[error(transparent)]
    Engines(#[from] engine_room::Error),
    /// The reflection schema is broken.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl NodeError {
    fn of_config(path: &Path, problems: Invalid) -> Self {
        Self::Config {
            path: path.to_owned(),
            problems,
        }
    }
}

/// Runs one node from the file at `path` until it is told to stop.
///
/// # Errors
/// What kept it from starting, or an actor that failed too often.
pub fn run(
    path: &Path,
    environment: Environment,
    logs: Logs,
    stop_with_stdin: bool,
) -> Result<(), NodeError> {
    let open_files = raise_open_files();
    let text = text_of(path)?;
    let of_config = |problems| NodeError::of_config(path, problems);
    let file = Config::parse(&text, &environment, &Given::default())
        .and_then(Config::with_folders)
        .map_err(of_config)?;
    let clock = WallClock::system();
    let link = ControlLink::prepare(&file, clock)?;
    let first = InForce::at_start(&text, &environment, link.given()).map_err(of_config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    let file = (path.to_owned(), text);
    let host = Host {
        clock,
        seed: fastrand::u64(..),
        open_files,
    };
    let node = start_and_wait(
        first,
        file,
        environment,
        (link, host, logs),
        stop_with_stdin,
    );
    runtime.block_on(local.run_until(node))
}

/// The configuration at `path` and its text.
///
/// # Errors
/// What keeps the file from being read, or every problem of it.
pub fn load(path: &Path, environment: &Environment) -> Result<(Config, String), NodeError> {
    let text = text_of(path)?;
    let parsed = Config::parse(&text, environment, &Given::default());
    match parsed.and_then(Config::with_folders) {
        Ok(config) => Ok((config, text)),
        Err(problems) => Err(NodeError::of_config(path, problems)),
    }
}

/// Looks at everything that a start needs of the configuration at `path`, and tells what does no harm to the start.
///
/// # Errors
/// What keeps the file from being read, or everything that keeps a node from starting with it.
pub fn check(path: &Path, environment: &Environment) -> Result<Vec<Problem>, NodeError> {
    let (config, _) = load(path, environment)?;
    let Found { problems, warnings } = check::surroundings(&config);
    match problems.is_empty() {
        true => Ok(warnings),
        false => Err(NodeError::of_config(path, Invalid::of(problems))),
    }
}

fn text_of(path: &Path) -> Result<String, NodeError> {
    config::read_file(path).map_err(|source| NodeError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// Everything that runs on the control thread.
struct Running {
    env: Env,
    wired: Wired,
    logs: Logs,
    cores: Cores,
    exporter: Option<JoinHandle<()>>,
    /// Sends metrics until it is told to stop.
    metrics: Option<metrics_export::Exporting>,
    /// Ends when the last line of the access log is written.
    access_log: Option<oneshot::Receiver<()>>,
    servers_stop: Arc<Notify>,
}

async fn start_and_wait(
    first: InForce,
    (path, text): (PathBuf, String),
    environment: Environment,
    (link, host, logs): (ControlLink, Host, Logs),
    stop_with_stdin: bool,
) -> Result<(), NodeError> {
    let mut signals = Signals::new()?;
    let mut parent = Parent::new(stop_with_stdin)?;
    let engines = engine_room::real(&first.config, &link, host).await?;
    let mut running = match start(first, environment, host.clock, engines, logs).await {
        Ok(running) => running,
        Err(error) => {
            if !matches!(error, NodeError::Actors(_) | NodeError::System(_)) {
                link.ended_well().await;
            }
            return Err(error);
        }
    };
    let link = link.start(&running.wired, &running.env);
    let look_now = Arc::new(Notify::new());
    let agent = running.wired.config.clone();
    tokio::task::spawn_local(watch::run(path, text, agent, Arc::clone(&look_now)));
    let ended = loop {
        tokio::select! {
            biased;
            guardian = running.wired.guardians.join_next() => match guardian {
                Some(Ok(Err(spent))) => break Err(NodeError::Actor(spent)),
                _ => break Ok(()),
            },
            () = parent.gone() => break Ok(()),
            told = signals.next() => match told {
                Told::Stop => break Ok(()),
                Told::Reload => look_now.notify_one(),
            },
        }
    };
    running.stop().await;
    // An actor that panics time and again may do so for what the profile says.
    if ended.is_ok() {
        link.stop().await;
    }
    ended
}

/// Warns of what is set and has no effect.
fn tell_ignored(config: &Config) {
    for IgnoredName { name, why } in &config.ignored_names {
        tracing::warn!(name, why, "a name of the environment has no effect");
    }
}

async fn start(
    first: InForce,
    environment: Environment,
    clock: WallClock,
    engines: EngineRoom,
    logs: Logs,
) -> Result<Running, NodeError> {
    let config = Arc::clone(&first.config);
    tell_ignored(&config);
    tokio::task::spawn_local(logs.begin(log_files(&config)));
    let seed = fastrand::u64(..);
    let (tracer, exporter) = start_tracing(&config, clock)?;
    let env = Env {
        net: Arc::new(Tcp),
        clock,
        tracer,
        seed,
        environment,
        engines,
    };
    let grpc_listener = bind("grpc.listen", config.grpc.listen).await?;
    let api_listener = bind("http_api.listen", config.http_api.listen).await?;
    let api_token = config.http_api.token.as_ref().map(SecretRef::read);
    let api_token = api_token.transpose().map_err(NodeError::Token)?;
    let listeners = data_plane::listen_all(&config.ingress.listen, config.node.cores).map_err(
        |(address, source)| NodeError::Listen {
            what: "ingress.listen",
            address,
            source,
        },
    )?;
    let name = config.node.name.clone();
    let mut wired = wire(first, &env).await.map_err(NodeError::Actors)?;
    let access_log = logs::access::start(&mut wired)?;
    let cores = data_plane::start(listeners, &wired.core_parts, seed)?;
    let status = status_of(&wired);
    tokio::task::spawn_local(Sampler::new(&wired).run());
    tokio::task::spawn_local(alerts::Watcher::new(&wired).run());
    let overview = OverviewApi::new(&wired, status.clone());
    let servers_stop = Arc::new(Notify::new());
    tokio::task::spawn_local(logs.clone().follow_levels(wired.logs.levels.subscribe()));
    serve_grpc(
        grpc_listener,
        &wired,
        (status.clone(), &logs, &overview),
        &servers_stop,
    )?;
    let disk = Disk::new(config.node.data_dir.clone());
    let shown = shown(&wired, &cores, &logs, status, overview, disk);
    let metrics = metrics_export::start(&config, &wired, &shown).map_err(NodeError::Otlp)?;
    serve_api(api_listener, shown, api_token.as_ref());
    match wired.cache_warmer.is_warm() {
        true => say_ready(&wired.orders, &name).await,
        false => {
            wired.orders.warms().await;
            let (warmer, orders) = (wired.cache_warmer.clone(), wired.orders.clone());
            tokio::task::spawn_local(async move {
                warmer.until_warm().await;
                say_ready(&orders, &name).await;
            });
        }
    }
    Ok(Running {
        env,
        wired,
        logs,
        cores,
        exporter,
        metrics,
        access_log,
        servers_stop,
    })
}

async fn say_ready(orders: &OrdersHandle, node: &str) {
    orders.started().await;
    tracing::info!(node, version = env!("CARGO_PKG_VERSION"), "node ready");
}

fn start_tracing(
    config: &Config,
    clock: WallClock,
) -> Result<(Tracer, Option<JoinHandle<()>>), NodeError> {
    let recent = Recent::new(config.node.cores, config.telemetry.trace_recent_bytes_max);
    let sampling = config.sampling();
    let Some(url) = config.telemetry.otlp.clone() else {
        let tracer = Tracer::off().with_recent(recent, clock);
        tracer.set_sampling(sampling);
        return Ok((tracer, None));
    };
    let (tracer, spans) = Tracer::new(sampling.head, clock);
    let tracer = tracer.with_recent(recent, clock);
    tracer.set_sampling(sampling);
    let counts = Arc::clone(tracer.counts());
    let exporter = Exporter::new(url, &config.node.name, counts, spans).map_err(NodeError::Otlp)?;
    Ok((tracer, Some(tokio::task::spawn_local(exporter.run()))))
}

/// Where the node's lines are, if they are in files.
fn log_files(config: &Config) -> Option<LogFiles> {
    let settings = &config.logs;
    Some(LogFiles {
        folder: settings.dir.clone()?,
        name: LogSettings::file_name(&config.node.name),
        rotation: Rotation {
            bytes_max: settings.bytes_max,
            files_max: settings.files_max,
        },
    })
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| NodeError::Listen {
            what,
            address,
            source,
        })
}

impl Running {
    /// Stops accepting, lets what runs finish until its deadline, and says what was cut.
    async fn stop(self) {
        let drain_timeout = self.wired.config.in_force().config.node.drain_timeout;
        tracing::info!(?drain_timeout, "stopping");
        let began = Instant::now();
        let leaving = self.wired.provision.leave();
        let saved = self.wired.cache_warmer.save();
        let stopped = self.wired.orders.stop(began + drain_timeout);
        let handed_over = self.wired.broadcast.mesh().leave();
        futures::future::join4(leaving, stopped, saved, handed_over).await;
        let cores = self.cores;
        // Joining blocks; the control thread must go on serving status and health meanwhile.
        let joined = tokio::task::spawn_blocking(move || cores.join()).await;
        if let Err(error) = joined {
            tracing::error!(%error, "cores did not end well");
        }
        let metrics = self.wired.core_parts.metrics.clone();
        let cut = metrics.sum(|core| &core.requests_cut);
        tracing::info!(took = ?began.elapsed(), requests_cut = cut, "stopped");
        self.servers_stop.notify_one();
        self.logs.flush(LAST_LINES_TIMEOUT).await;
        if let Some((exporting, stop)) = self.metrics {
            stop.notify_one();
            let _ = timeout(LAST_SPANS_TIMEOUT, exporting).await;
        }
        // Every tracer must be gone before the exporter sees the end of its queue.
        drop((self.wired, self.env));
        if let Some(exporter) = self.exporter {
            let _ = timeout(LAST_SPANS_TIMEOUT, exporter).await;
        }
        if let Some(written) = self.access_log {
            let _ = timeout(LAST_SPANS_TIMEOUT, written).await;
        }
    }
}

/// Takes as many file descriptors as the hard limit allows. Tells how many it had before if those are fewer.
pub(crate) fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit
        .maximum
        .unwrap_or(OPEN_FILES_WANTED)
        .min(OPEN_FILES_WANTED);
    let before = limit.current.filter(|current| *current < most)?;
    // A node with fewer descriptors runs as well, with fewer connections.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(most),
            ..limit
        },
    );
    Some(before)
}
