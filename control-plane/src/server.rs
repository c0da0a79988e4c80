//! One instance of the control plane: follows the store, stands for election, serves.
//!
//! ```text
//! store ◄──► view (what is there) ──► sync (streams of nodes) ──► nodes
//!   ▲  ◄──── presences (who is here) ◄────┘
//!   ├─────── profiles, weights, orders, tokens: one transaction a change, with its audit record ◄── operators
//!   └─────── election ──► duties of the leader: what is old goes
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::ServerTlsConfig;
use weir_proto::control::records::v1 as records;

use crate::clock::WallClock;
use crate::election::{self, Election};
use crate::governance::guard::{Access, Guard};
use crate::governance::tokens::TokenTable;
use crate::grpc;
use crate::instance::{self, Announcement};
use crate::keys::{InvalidName, Keys};
use crate::leases::{self, Buckets, Presences};
use crate::registry::backends::{self, Backends};
use crate::store::Store;
use crate::sync::{Parts, Sessions};
use crate::view::View;
use crate::{duties, epoch};

/// The wait after the process ran out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long an orderly end may take.
const STOP_LIMIT: Duration = Duration::from_secs(5);

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
    pub tls: Option<ServerTlsConfig>,
    /// Seeds everything random.
    pub seed: u64,
}

/// Why an instance did not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name cannot stand in a key.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// It cannot say that it runs.
    #[error(transparent)]
    Instance(#[from] instance::Error),
    /// It cannot serve.
    #[error("the server failed")]
    Serve(#[from] tonic::transport::Error),
    /// Its services cannot be put together.
    #[error(transparent)]
    Router(#[from] grpc::RouterError),
}

/// An instance that follows its store and does not serve yet.
pub struct ControlPlane {
    store: Arc<dyn Store>,
    parts: Arc<Parts>,
    backends: Arc<Backends>,
    election: Election,
    announcement: Announcement,
    tls: Option<ServerTlsConfig>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl ControlPlane {
    /// Starts everything but the server.
    ///
    /// # Errors
    /// When a name cannot stand in a key.
    pub async fn start(store: Arc<dyn Store>, options: Options) -> Result<Self, Error> {
        let keys = Keys::new(&options.namespace)?;
        let clock = WallClock::system();
        let mut seeds = fastrand::Rng::with_seed(options.seed);
        let mut tasks = JoinSet::new();
        let tokens = Arc::new(TokenTable::new(keys.clone()));
        let view = View::follow(
            &store,
            &keys,
            Arc::clone(&tokens),
            clock,
            seeds.u64(..),
            &mut tasks,
        );
        let standing = election::Options {
            instance: options.instance.clone(),
            seed: seeds.u64(..),
        };
        let election = Election::start(Arc::clone(&store), &keys, standing);
        let duty = duties::run(
            Arc::clone(&store),
            keys.clone(),
            clock,
            view.clone(),
            election.standing(),
        );
        tasks.spawn(duty);
        let epoch = epoch::follow(&store, &keys, clock, seeds.u64(..), &view, &mut tasks);
        let announcement = announce(&store, &keys, &options, seeds.u64(..)).await?;
        let presences = presences(&store, &mut seeds);
        let backends = Backends::start(
            Arc::clone(&store),
            keys.clone(),
            Arc::clone(&presences),
            backends::Options::new(&*options.instance, seeds.u64(..)),
        );
        let guard = Guard::new(
            options.access,
            Arc::clone(&tokens),
            &options.namespace,
            clock.to_fn(),
        );
        let (stop, stopping) = watch::channel(false);
        let parts = Parts {
            keys,
            instance: options.instance.into(),
            clock,
            view,
            presences,
            sessions: Sessions::default(),
            guard,
            tokens,
            leader: election.standing(),
            epoch,
            stop: stopping,
        };
        Ok(Self {
            store,
            parts: Arc::new(parts),
            backends: Arc::new(backends),
            election,
            announcement,
            tls: options.tls,
            tasks,
            stop,
        })
    }

    /// Serves until `stop`, then leaves in order.
    ///
    /// # Errors
    /// When the server cannot be set up or fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let served = grpc::Served {
            parts: Arc::clone(&self.parts),
            store: Arc::clone(&self.store),
            backends: Arc::clone(&self.backends),
            tls: self.tls.clone(),
        };
        let router = grpc::router(&served)?;
        let ending = self.stop;
        let stopped = async {
            stop.await;
            // Streams end first: the server waits for them.
            ending.send_replace(true);
        };
        let served = router
            .serve_with_incoming_shutdown(accepted(listener), stopped)
            .await;
        let left = async {
            self.election.resign().await;
            self.announcement.withdraw().await;
        };
        // Late: leases end by themselves.
        let _ = tokio::time::timeout(STOP_LIMIT, left).await;
        drop(self.tasks);
        Ok(served?)
    }
}

async fn announce(
    store: &Arc<dyn Store>,
    keys: &Keys,
    options: &Options,
    seed: u64,
) -> Result<Announcement, instance::Error> {
    let own = records::Instance {
        instance: options.instance.clone(),
        address: options.address.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Announcement::start(Arc::clone(store), keys, &own, seed).await
}

fn presences(store: &Arc<dyn Store>, seeds: &mut fastrand::Rng) -> Arc<Presences> {
    let options = leases::Options::new(seeds.u64(..));
    let buckets = Arc::new(Buckets::start(Arc::clone(store), options));
    Arc::new(Presences::start(Arc::clone(store), buckets, seeds.u64(..)))
}

/// The connections of a listener. Without file descriptors it rests; the caller would ask at once again.
fn accepted(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    futures::stream::unfold(listener, async |listener| {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // One that the client closed already shows so when it is read.
                    let _ = stream.set_nodelay(true);
                    return Some((Ok(stream), listener));
                }
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    })
}
