//! The way of a request: accept -> admit -> route -> cache -> pick -> forward -> respond.
//!
//! ```text
//! accept      listeners with SO_REUSEPORT, one per core          accept.rs
//! connection  HTTP/1.1 or HTTP/2, framing guard, time limits     connection.rs client_io.rs activity.rs
//! farewell    clients leave when the node drains or stops        supervise.rs leaving.rs stop.rs
//! request     checks, route, headers                             request.rs
//! broadcast   subscribers and publishers of routes with `broadcast` broadcast.rs
//! cache       answers from the cache, fetches for it              cache/
//! compress    answers in the coding that the client wants         compress/
//! origin      files of this machine, or backends                 origin.rs files/
//! waiting     for the first engine of a service                  waiting.rs
//! forward     pick, send, replay of what was never sent          forward/ picking.rs
//! pool        this core's connections to backends                pool/
//! bodies      both ways, frame by frame                          upload.rs body.rs tunnel.rs
//! accounts    every request settled exactly once                 exchange.rs
//! ```
//!
//! Each core is one thread with one current-thread runtime. Cores share nothing but snapshots, which
//! they only read, and counters, which each writes for itself. No request waits for an actor.

mod accept;
mod activity;
pub mod answer;
pub(crate) mod body;
mod broadcast;
mod cache;
mod client_io;
mod compress;
mod connection;
mod core;
mod exchange;
mod facing;
mod files;
mod forward;
mod leaving;
mod logged;
pub(crate) mod lost_client;
mod origin;
mod picking;
mod places;
mod pool;
mod prepare;
mod request;
pub mod routing;
pub mod stop;
mod stream_watch;
mod supervise;
mod trace;
mod tunnel;
mod upload;
mod waiting;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

pub use self::accept::claim;
pub use self::cache::{CachePeers, warming};
use self::core::Core;
pub use self::core::CoreParts;
use self::places::Places;
pub use self::places::connections_ceiling;
pub use self::waiting::WaitSignal;

/// How often a stopping core looks whether everything has ended.
const STOP_LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Threads that carry traffic.
#[derive(Debug)]
pub struct Cores {
    threads: Vec<std::thread::JoinHandle<()>>,
    runtimes: Vec<Handle>,
}

/// Opens every ingress address once for each core.
///
/// # Errors
/// The first address that cannot be opened.
pub fn listen_all(
    addresses: &[SocketAddr],
    cores: usize,
) -> Result<Vec<Vec<TcpListener>>, (SocketAddr, io::Error)> {
    for address in addresses.iter().filter(|address| address.port() != 0) {
        accept::claim(*address).map_err(|error| (*address, error))?;
    }
    (0..cores)
        .map(|_| {
            addresses
                .iter()
                .map(|address| accept::listen(*address).map_err(|error| (*address, error)))
                .collect()
        })
        .collect()
}

/// Starts one thread for each set of listeners.
///
/// # Errors
/// When the system refuses a thread.
pub fn start(listeners: Vec<Vec<TcpListener>>, parts: &CoreParts, seed: u64) -> io::Result<Cores> {
    let places = Arc::new(Places::within_descriptors());
    let (mut threads, mut runtimes) = (Vec::new(), Vec::new());
    for (index, listeners) in listeners.into_iter().enumerate() {
        let (parts, places) = (parts.clone(), Arc::clone(&places));
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtimes.push(runtime.handle().clone());
        #[expect(clippy::disallowed_methods, reason = "the data plane's own threads")]
        let thread = std::thread::Builder::new()
            .name(format!("core-{index}"))
            .spawn(move || {
                let local = LocalSet::new();
                let core = Core::new(index, parts, seed.wrapping_add(index as u64));
                runtime.block_on(local.run_until(run_core(core, listeners, places)));
                // A disk that does not answer must not keep the node from its end.
                runtime.shutdown_background();
            })?;
        threads.push(thread);
    }
    Ok(Cores { threads, runtimes })
}

impl Cores {
    /// The runtime of each core, in their order.
    pub fn runtimes(&self) -> Vec<Handle> {
        self.runtimes.clone()
    }

    /// Waits for every core; they end by the deadline that [`stop::Stop`] carries.
    pub fn join(self) {
        for thread in self.threads {
            // A core that panicked has said so already.
            let _ = thread.join();
        }
    }
}

async fn run_core(core: Rc<Core>, listeners: Vec<TcpListener>, places: Arc<Places>) {
    let mut stop = core.parts.stop.clone();
    tokio::task::spawn_local(Rc::clone(&core).tend_pools());
    tokio::task::spawn_local(cache::warm(Rc::clone(&core)));
    tokio::task::spawn_local({
        let (broadcast, shard) = (core.parts.broadcast.clone(), core.shard.clone());
        async move { broadcast.run_shard(shard).await }
    });
    tokio::task::spawn_local({
        let (core, stop) = (Rc::clone(&core), stop.clone());
        async move { core.leaving.follow(stop).await }
    });
    tokio::task::spawn_local(broadcast::see_off(Rc::clone(&core), stop.clone()));
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                let (core, places) = (Rc::clone(&core), Arc::clone(&places));
                accepting.spawn_local(accept::run(core, listener, places));
            }
            Err(error) => tracing::error!(%error, "listener lost"),
        }
    }
    let deadline = stop.requested().await;
    accepting.join_all().await;
    let metrics = core.metrics();
    while metrics.connections_open.get() + metrics.tunnels_open.get() > 0
        && Instant::now() < deadline
    {
        sleep_until((Instant::now() + STOP_LOOK_INTERVAL).min(deadline)).await;
    }
    metrics.requests_cut.add(metrics.requests_in_flight.get());
}
