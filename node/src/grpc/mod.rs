//! The node's gRPC: `weir.node.v1`, health and reflection.

mod broadcast;
pub(crate) mod broadcast_peer;
mod cache;
mod cache_values;
mod cache_warm;
mod engine_peer;
mod events;
mod load_balancer;
mod logs;
mod node;
mod overview;
mod port_cache;
mod provision;
mod status;
mod traces;

use std::io;

use futures::Stream;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use weir_proto::node::v1::broadcast_peer_server::BroadcastPeerServer;
use weir_proto::node::v1::broadcast_server::BroadcastServer;
use weir_proto::node::v1::cache_peer_server::CachePeerServer;
use weir_proto::node::v1::cache_server::CacheServer;
use weir_proto::node::v1::engine_peer_server::EnginePeerServer;
use weir_proto::node::v1::events_server::EventsServer;
use weir_proto::node::v1::load_balancer_server::LoadBalancerServer;
use weir_proto::node::v1::logs_server::LogsServer;
use weir_proto::node::v1::node_server::NodeServer;
use weir_proto::node::v1::overview_server::OverviewServer;
use weir_proto::node::v1::port_cache_server::PortCacheServer;
use weir_proto::node::v1::provision_server::ProvisionServer;
use weir_proto::node::v1::traces_server::TracesServer;

pub use load_balancer::LoadBalancerService;

use self::broadcast_peer::BroadcastPeerService;
use self::engine_peer::EnginePeerService;
use crate::broadcast::Broadcast;
use crate::cache_api::CacheApi;
use crate::engine_api::EngineApi;
use crate::events::Events;
use crate::http_api::StatusCache;
use crate::logs_api::LogsApi;
use crate::orders::OrdersHandle;
use crate::overview::OverviewApi;
use crate::peers::PeerKey;
use crate::telemetry::logs::Logs;
use crate::trace_api::TraceApi;
use crate::wiring::Wired;

/// How often a client is pinged, and how long it may take to answer: one that is gone without a word, or hangs, ends
/// with all that it listens to.
const KEEPALIVE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// Calls that one client connection may have running.
const STREAMS_MAX: u32 = 256;
/// One message of the longest that profiles allow, and its frame.
const MESSAGE_BYTES_MAX: usize = 65 << 20;
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";

/// Says whether the node wants new clients, over `grpc.health.v1`; [`OrdersHandle`] switches it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(HealthReporter);

impl Readiness {
    /// Says so from now on.
    pub(crate) async fn tell(&self, ready: bool) {
        let status = match ready {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for name in [
            "",
            <LoadBalancerServer<LoadBalancerService> as NamedService>::NAME,
            <ProvisionServer<provision::ProvisionService> as NamedService>::NAME,
            <PortCacheServer<port_cache::PortCacheService> as NamedService>::NAME,
            <CacheServer<cache::CacheService> as NamedService>::NAME,
            <EventsServer<events::EventsService> as NamedService>::NAME,
            <BroadcastServer<broadcast::BroadcastService> as NamedService>::NAME,
            <LogsServer<logs::LogsService> as NamedService>::NAME,
        ] {
            self.0.set_service_status(name, status).await;
        }
    }
}

/// What the services show and do.
pub struct Apis {
    status: StatusCache,
    orders: OrdersHandle,
    engines: EngineApi,
    cache: CacheApi,
    events: Events,
    broadcast: Broadcast,
    traces: TraceApi,
    logs: LogsApi,
    peers: PeerKey,
    overview: OverviewApi,
}

impl Apis {
    /// Those of a node, with the status that everybody is shown.
    pub fn new(wired: &Wired, status: StatusCache, logs: &Logs, overview: OverviewApi) -> Self {
        Self {
            overview,
            status,
            orders: wired.orders.clone(),
            engines: EngineApi::new(wired),
            cache: CacheApi::new(wired),
            events: wired.events.clone(),
            broadcast: wired.broadcast.clone(),
            traces: TraceApi::new(wired),
            logs: LogsApi::new(wired, logs),
            peers: wired.peers.key().clone(),
        }
    }
}

/// All services of a node, ready to be served over any kind of connection.
///
/// # Errors
/// When the schema that reflection serves cannot be read.
pub fn router(
    load_balancer: LoadBalancerService,
    apis: Apis,
) -> Result<Router, tonic_reflection::server::Error> {
    let Apis {
        status,
        orders,
        engines,
        cache,
        events,
        broadcast,
        traces,
        logs,
        peers,
        overview,
    } = apis;
    let health = orders.readiness().0.clone();
    let health = HealthServer::new(HealthService::from_health_reporter(health));
    let provision = provision::ProvisionService {
        engines: engines.clone(),
    };
    let ports = port_cache::PortCacheService { engines };
    let engine_peer = EnginePeerService {
        services: load_balancer.clone(),
        engines: provision.clone(),
        ports: ports.clone(),
    };
    let cache = cache::CacheService { cache };
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(weir_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(<LoadBalancerServer<LoadBalancerService> as NamedService>::NAME)
        .with_service_name(<NodeServer<node::NodeService> as NamedService>::NAME)
        .with_service_name(<ProvisionServer<provision::ProvisionService> as NamedService>::NAME)
        .with_service_name(<PortCacheServer<port_cache::PortCacheService> as NamedService>::NAME)
        .with_service_name(<CacheServer<cache::CacheService> as NamedService>::NAME)
        .with_service_name(<CachePeerServer<cache::CacheService> as NamedService>::NAME)
        .with_service_name(<BroadcastServer<broadcast::BroadcastService> as NamedService>::NAME)
        .with_service_name(<BroadcastPeerServer<BroadcastPeerService> as NamedService>::NAME)
        .with_service_name(<EnginePeerServer<EnginePeerService> as NamedService>::NAME)
        .with_service_name(<EventsServer<events::EventsService> as NamedService>::NAME)
        .with_service_name(<TracesServer<traces::TracesService> as NamedService>::NAME)
        .with_service_name(<LogsServer<logs::LogsService> as NamedService>::NAME)
        .with_service_name(<OverviewServer<overview::OverviewService> as NamedService>::NAME)
        .with_service_name(<HealthServer<HealthService> as NamedService>::NAME)
        .with_service_name(REFLECTION)
        .build_v1()?;
    Ok(Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(LoadBalancerServer::new(load_balancer))
        .add_service(NodeServer::new(node::NodeService { status, orders }))
        .add_service(ProvisionServer::new(provision))
        .add_service(PortCacheServer::new(ports))
        .add_service(CacheServer::new(cache.clone()))
        .add_service(CachePeerServer::with_interceptor(cache, peers.asks()))
        .add_service(broadcast_peer::server(broadcast.mesh(), peers.asks()))
        .add_service(engine_peer::server(engine_peer, peers.asks()))
        .add_service(EventsServer::new(events::EventsService { events }))
        .add_service(
            BroadcastServer::new(broadcast::BroadcastService { broadcast })
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(TracesServer::new(traces::TracesService { traces }))
        .add_service(LogsServer::new(logs::LogsService { logs }))
        .add_service(OverviewServer::new(overview::OverviewService { overview }))
        .add_service(health)
        .add_service(reflection))
}

/// Serves `router` on what `incoming` accepts until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve<S, I>(
    router: Router,
    incoming: I,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error>
where
    I: Stream<Item = io::Result<S>>,
    S: tokio::io::AsyncRead
        + tokio::io::AsyncWrite
        + tonic::transport::server::Connected
        + Unpin
        + Send
        + 'static,
{
    router.serve_with_incoming_shutdown(incoming, stop).await
}
