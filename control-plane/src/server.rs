//! One instance of the control plane: follows the store, stands for election, serves.
//!
//! ```text
//! store ◄──► view (what is there) ──► sync (streams of nodes) ──► nodes
//!   ▲  ◄──── presences (who is here) ◄────┘
//!   ├─────── profiles, weights, orders, tokens: one transaction a change, with its audit record ◄── operators
//!   ├─────── jobs: claims, their ends, holds ◄── nodes, operators
//!   └─────── election ──► duties of the leader: what is old goes
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;
use tonic::transport::server::Connected;
use weir_proto::control::records::v1 as records;

use crate::clock::WallClock;
use crate::connections::{Bounds, accepted};
use crate::election::{self, Election};
use crate::governance::guard::{Access, Guard};
use crate::governance::tls::Acceptor;
use crate::governance::tokens::TokenTable;
use crate::grpc;
use crate::instance::{self, Announcement};
use crate::jobs::{self, Jobs};
use crate::keys::{InvalidName, Keys};
use crate::leases::{self, Buckets, Presences};
use crate::quota::{self, Quota};
use crate::registry::backends::{self, Backends};
use crate::steps::Steps;
use crate::store::Store;
use crate::sync::{Parts, STREAMS_MAX, Sessions};
use crate::view::View;
use crate::{duties, epoch};

/// How long calls that run may go on when the instance stops.
const CALLS_END_LIMIT: Duration = Duration::from_secs(5);
/// How long an orderly end may take after that.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Connections beside those of nodes.
const OTHER_CONNECTIONS_MAX: usize = 1_000;

/// What an instance bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are open at a time; who comes beyond is closed at once.
    pub connections_max: usize,
    /// How long a connection may say nothing, not even answer pings.
    pub silent_max: Duration,
    /// How old a node's stream gets, within a tenth, before the node is asked to come back.
    pub stream_age: Duration,
    /// How many nodes and backends may register.
    pub registered: quota::Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: STREAMS_MAX + OTHER_CONNECTIONS_MAX,
            // Two pings, and some time.
            silent_max: Duration::from_secs(60),
            stream_age: Duration::from_secs(1_800),
            registered: quota::Bounds::default(),
        }
    }
}

/// How an instance runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name, unique among those of one store.
    pub instance: String,
    /// Where others reach it, as they are told.
    pub address: String,
    /// Which keys of the store are ours.
    pub namespace: String,
    /// Who is let in.
    pub access: Access,
    /// TLS, where it is asked for.
    pub tls: Option<Acceptor>,
    /// What it bounds.
    pub limits: Limits,
    /// Time, for what is kept and told.
    pub clock: WallClock,
    /// Seeds everything random.
    pub seed: u64,
}

/// Why an instance did not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name cannot stand in a key.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// It cannot have its name, or cannot say that it runs.
    #[error(transparent)]
    Instance(#[from] instance::Error),
    /// It cannot serve.
    #[error("the server failed")]
    Serve(#[from] tonic::transport::Error),
    /// The schema that it serves cannot be read.
    #[error("gRPC reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// An instance that follows its store and does not serve yet.
pub struct ControlPlane {
    store: Arc<dyn Store>,
    parts: Arc<Parts>,
    backends: Arc<Backends>,
    jobs: Arc<Jobs>,
    election: Election,
    announcement: Announcement,
    tls: Option<Acceptor>,
    bounds: Bounds,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl ControlPlane {
    /// Starts everything but the server. First of all it waits for its name: see [`Announcement::start`].
    ///
    /// # Errors
    /// When a name cannot stand in a key, or another instance has it.
    pub async fn start(store: Arc<dyn Store>, options: Options) -> Result<Self, Error> {
        let keys = Keys::new(&options.namespace)?;
        let clock = options.clock;
        let mut seeds = fastrand::Rng::with_seed(options.seed);
        let announcement = announce(&store, &keys, &options, &mut seeds).await?;
        let mut tasks = JoinSet::new();
        let tokens = Arc::new(TokenTable::new(keys.clone()));
        let presences = presences(&store, &mut seeds);
        let view = View::follow(
            &store,
            &keys,
            Arc::clone(&tokens),
            Arc::clone(&presences),
            clock,
            seeds.u64(..),
            &mut tasks,
        );
        let seed = seeds.u64(..);
        let election = elect(&store, &keys, &options, seed, &view, &mut tasks);
        let epoch = epoch::follow(
            &store,
            &keys,
            clock,
            seeds.u64(..),
            &view,
            &presences,
            &mut tasks,
        );
        let backends = hear(&store, &keys, &presences, &options, &view, seeds.u64(..));
        let guard = guard(&options, &tokens);
        let (stop, stopping) = watch::channel(false);
        let parts = Parts {
            keys: keys.clone(),
            instance: options.instance.into(),
            clock,
            view,
            presences,
            sessions: Sessions::default(),
            quota: Mutex::new(Quota::of_nodes(options.limits.registered)),
            guard,
            tokens,
            leader: election.standing(),
            epoch,
            stop: stopping,
            stream_age: options.limits.stream_age,
            seed: seeds.u64(..),
            steps: Steps::default(),
            watchers: Arc::new(Semaphore::new(grpc::WATCHERS_MAX)),
        };
        let jobs = jobs_of(&store, &keys, clock, seeds.u64(..));
        tasks.spawn(jobs::run_duties(Arc::clone(&jobs), election.standing()));
        Ok(Self {
            store,
            parts: Arc::new(parts),
            backends: Arc::new(backends),
            jobs,
            election,
            announcement,
            tls: options.tls,
            bounds: Bounds {
                connections_max: options.limits.connections_max,
                silent_max: options.limits.silent_max,
            },
            tasks,
            stop,
        })
    }

    /// Who leads, as far as this instance knows.
    pub fn standing(&self) -> watch::Receiver<election::Standing> {
        self.election.standing()
    }

    /// Waits until the store was read: before that nodes and operators are told nothing of what is in it.
    pub fn store_read(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut epoch = self.parts.epoch.clone();
        async move {
            // It ends with the instance.
            let _ = epoch.wait_for(Option::is_some).await;
        }
    }

    /// Where the way of a profile can be had told.
    pub fn steps(&self) -> &Steps {
        &self.parts.steps
    }

    /// Serves until `stop`, then leaves in order.
    ///
    /// # Errors
    /// When the server cannot be set up or fails, or another instance took the name.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let connections = accepted(listener, self.bounds);
        self.serve_with(connections, stop).await
    }

    /// The same over connections that are made elsewhere, however many there are.
    ///
    /// # Errors
    /// When the server cannot be set up or fails, or another instance took the name.
    pub async fn serve_with<IO>(
        mut self,
        connections: impl Stream<Item = io::Result<IO>>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error>
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let Some(tls) = self.tls.clone() else {
            return Box::pin(self.serve_over(connections, stop)).await;
        };
        let secured = tls.secured(connections, self.bounds.connections_max);
        self.tasks.spawn(tls.follow());
        Box::pin(self.serve_over(secured, stop)).await
    }

    async fn serve_over<IO>(
        self,
        connections: impl Stream<Item = io::Result<IO>>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error>
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let served = grpc::Served {
            parts: Arc::clone(&self.parts),
            store: Arc::clone(&self.store),
            backends: Arc::clone(&self.backends),
            jobs: Arc::clone(&self.jobs),
        };
        let router = grpc::router(&served)?;
        let ending = self.stop;
        let stopped = async {
            stop.await;
            // Streams end first: the server waits for them.
            ending.send_replace(true);
        };
        let mut stopping = self.parts.stop.clone();
        let limit = async {
            let _ = stopping.wait_for(|stop| *stop).await;
            tokio::time::sleep(CALLS_END_LIMIT).await;
        };
        let served = tokio::select! {
            biased;
            served = router.serve_with_incoming_shutdown(connections, stopped) => served.map_err(Error::from),
            // Whoever does not end a call is not waited for.
            () = limit => Ok(()),
            lost = self.announcement.lost() => Err(lost.into()),
        };
        let left = async {
            self.election.resign().await;
            self.announcement.withdraw().await;
        };
        // Late: leases end by themselves.
        let _ = tokio::time::timeout(STOP_LIMIT, left).await;
        drop(self.tasks);
        served
    }
}

fn jobs_of(store: &Arc<dyn Store>, keys: &Keys, clock: WallClock, seed: u64) -> Arc<Jobs> {
    let (store, keys) = (Arc::clone(store), keys.clone());
    let options = jobs::Options::new(seed);
    Arc::new(Jobs::new(store, keys, clock.to_fn(), options))
}

fn guard(options: &Options, tokens: &Arc<TokenTable>) -> Guard {
    let (tokens, now) = (Arc::clone(tokens), options.clock.to_fn());
    Guard::new(options.access, tokens, &options.namespace, now)
}

/// Stands for election, with the duties of who wins.
fn elect(
    store: &Arc<dyn Store>,
    keys: &Keys,
    options: &Options,
    seed: u64,
    view: &View,
    tasks: &mut JoinSet<()>,
) -> Election {
    let candidate = election::Options {
        instance: options.instance.clone(),
        seed,
    };
    let election = Election::start(Arc::clone(store), keys, candidate);
    tasks.spawn(duties::run(
        Arc::clone(store),
        keys.clone(),
        options.clock,
        view.clone(),
        election.standing(),
    ));
    election
}

/// Hears backends.
fn hear(
    store: &Arc<dyn Store>,
    keys: &Keys,
    presences: &Arc<Presences>,
    options: &Options,
    view: &View,
    seed: u64,
) -> Backends {
    let heard = backends::Options {
        bounds: options.limits.registered,
        census: view.backends_census.clone(),
        clock: options.clock,
        ..backends::Options::new(&*options.instance, seed)
    };
    let (store, presences) = (Arc::clone(store), Arc::clone(presences));
    Backends::start(store, keys.clone(), presences, heard)
}

async fn announce(
    store: &Arc<dyn Store>,
    keys: &Keys,
    options: &Options,
    seeds: &mut fastrand::Rng,
) -> Result<Announcement, instance::Error> {
    let own = records::Instance {
        instance: options.instance.clone(),
        address: options.address.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: format!("{:016x}", seeds.u64(..)),
    };
    Announcement::start(Arc::clone(store), keys, &own, seeds.u64(..)).await
}

fn presences(store: &Arc<dyn Store>, seeds: &mut fastrand::Rng) -> Arc<Presences> {
    let options = leases::Options::new(seeds.u64(..));
    let buckets = Arc::new(Buckets::start(Arc::clone(store), options));
    Arc::new(Presences::start(Arc::clone(store), buckets, seeds.u64(..)))
}
