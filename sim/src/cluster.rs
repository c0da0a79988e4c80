//! Hosts of a simulated mesh: real nodes, backends that answer health checks.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::server::Router;
use turmoil::net::{TcpListener, TcpStream};
use weir_node::actors::config_agent::InForce;
use weir_node::config::{Environment, Given};
use weir_node::data_plane::routing::Routing;
use weir_node::describe;
use weir_node::grpc::{self, Apis, LoadBalancerService};
use weir_node::overview::OverviewApi;
use weir_node::ports::clock::WallClock;
use weir_node::servers;
use weir_node::telemetry::logs::Logs;
use weir_node::telemetry::spans::Tracer;
use weir_node::wiring::{Env, Wired, wire};

use crate::history::{Eye, Recorder};
use crate::net::{SimNet, incoming};

/// Where every node serves gRPC.
pub(crate) const GRPC_PORT: u16 = 7400;
/// Where every backend listens.
pub(crate) const BACKEND_PORT: u16 = 8080;
/// What wall clocks show at the start: 2030-01-01.
const WALL_CLOCK_START: Duration = Duration::from_secs(1_893_456_000);

/// One node of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct NodeSpec {
    /// Its name, which is its host's.
    pub(crate) name: String,
    /// Its configuration file.
    pub(crate) config: String,
    /// Seeds everything random in it.
    pub(crate) seed: u64,
}

/// Adds a node: the actors as `wiring` makes them and the gRPC that they serve. The data plane and the
/// HTTP API are not there: one has threads, the other listens by itself.
pub(crate) fn add_node(sim: &mut turmoil::Sim<'_>, spec: &NodeSpec, recorder: &Recorder) {
    let (name, spec, recorder) = (spec.name.clone(), spec.clone(), recorder.clone());
    sim.host(name, move || run_node(spec.clone(), recorder.clone()));
}

async fn run_node(spec: NodeSpec, recorder: Recorder) -> turmoil::Result {
    let environment = Environment::new();
    let first = InForce::at_start(&spec.config, &environment, &Given::default())?;
    let clock = WallClock::starting_at(WALL_CLOCK_START);
    let env = Env {
        net: Arc::new(SimNet),
        clock,
        engines: weir_node::engine_room::off(clock, spec.seed),
        tracer: Tracer::off(),
        seed: spec.seed,
        environment,
    };
    let mut wired = wire(first, &env).await?;
    let router = router(&wired, &env)?;
    let listener = TcpListener::bind(("0.0.0.0", GRPC_PORT)).await?;
    wired.orders.started().await;
    tracing::info!("node ready");
    let served = grpc::serve(router, incoming(listener), std::future::pending());
    tokio::task::spawn_local(watch_inside(spec.name, recorder, &wired));
    tokio::select! {
        biased;
        guardian = wired.guardians.join_next() => match guardian {
            Some(ended) => ended?.map_err(Into::into),
            None => Err("the node has no actors".into()),
        },
        served = served => served.map_err(Into::into),
    }
}

/// All gRPC services of a node.
///
/// # Errors
/// When the schema that reflection serves cannot be read.
pub(crate) fn router(wired: &Wired, env: &Env) -> turmoil::Result<Router> {
    let status = servers::status_of(wired);
    let service = LoadBalancerService::new(wired.load_balancer.clone(), env.tracer.clone());
    let logs = Logs::off(env.clock);
    let overview = OverviewApi::new(wired, status.clone());
    let apis = Apis::new(wired, status, &logs, overview);
    Ok(grpc::router(service, apis)?)
}

/// Records every picture as the node publishes it.
fn watch_inside(
    node: String,
    recorder: Recorder,
    wired: &Wired,
) -> impl Future<Output = ()> + use<> {
    let mut revisions = wired.load_balancer.revisions();
    let routing = wired.core_parts.routing.clone();
    async move {
        loop {
            revisions.borrow_and_update();
            let picture: Arc<Routing> = routing.load();
            let services = picture.services.iter().map(|s| describe::service(s));
            recorder.saw(&node, Eye::Inside, picture.revision, services.collect());
            if revisions.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Adds a backend that answers every HTTP/1.1 request with 200.
pub(crate) fn add_backend(sim: &mut turmoil::Sim<'_>, name: &str) {
    sim.host(name, || async {
        let listener = TcpListener::bind(("0.0.0.0", BACKEND_PORT)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            // A peer that leaves early is its own business.
            tokio::task::spawn_local(async { drop(answer(stream).await) });
        }
    });
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
    }
    tracing::trace!(bytes = head.len(), "answers");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer).await?;
    // Stays until the peer has read and closed.
    stream.read_buf(&mut head).await.map(drop)
}

/// More is no health check.
const HEAD_BYTES_MAX: usize = 16 << 10;
