//! All services of an instance, each behind the guard.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::server::Router;
use tonic::transport::{Server, ServerTlsConfig};
use weir_proto::control::v1::audit_server::{self, AuditServer};
use weir_proto::control::v1::control_plane_server::{self, ControlPlaneServer};
use weir_proto::control::v1::node_sync_server::{self, NodeSyncServer};
use weir_proto::control::v1::nodes_server::{self, NodesServer};
use weir_proto::control::v1::profiles_server::{self, ProfilesServer};
use weir_proto::control::v1::registry_server::{self, RegistryServer};
use weir_proto::control::v1::tokens_server::{self, TokensServer};
use weir_proto::control::v1::weights_server::{self, WeightsServer};

use super::control_plane::ControlPlaneService;
use super::nodes::NodesService;
use super::registry::RegistryService;
use super::{AuditService, ProfilesContext, ProfilesService, TokensService, WeightsService};
use crate::governance::tokens::Tokens;
use crate::profiles::ProfileStore;
use crate::registry::backends::Backends;
use crate::store::Store;
use crate::sync::{NodeSyncService, Parts};
use crate::weights::WeightStore;

/// An idle client is pinged this often, and given up after this long without an answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls that one client connection may have running.
const CALLS_MAX: u32 = 64;
/// Flow-control windows: what one client can make an instance hold. Requests are small.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 128 << 10;

/// What reflection lists, of all that the schema has.
const SERVED: [&str; 10] = [
    node_sync_server::SERVICE_NAME,
    registry_server::SERVICE_NAME,
    profiles_server::SERVICE_NAME,
    weights_server::SERVICE_NAME,
    nodes_server::SERVICE_NAME,
    tokens_server::SERVICE_NAME,
    audit_server::SERVICE_NAME,
    control_plane_server::SERVICE_NAME,
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
];

/// What is served.
pub struct Served {
    /// The instance.
    pub parts: Arc<Parts>,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Backends that announce themselves.
    pub backends: Arc<Backends>,
    /// TLS, where it is asked for.
    pub tls: Option<ServerTlsConfig>,
}

/// Why the services cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// The TLS configuration cannot be used.
    #[error("TLS")]
    Tls(#[from] tonic::transport::Error),
    /// The schema that reflection serves cannot be read.
    #[error("gRPC reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// All services.
///
/// # Errors
/// When TLS or reflection cannot be set up.
pub fn router(served: &Served) -> Result<Router, RouterError> {
    let Served {
        parts,
        store,
        backends,
        tls,
    } = served;
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(CALLS_MAX);
    if let Some(tls) = tls {
        server = server.tls_config(tls.clone())?;
    }
    let now = parts.clock.to_fn();
    let keys = &parts.keys;
    let view = parts.view.profiles.clone();
    let profiles = ProfilesContext {
        profiles: ProfileStore::new(Arc::clone(store), keys.clone(), view),
        nodes: Arc::clone(parts) as _,
        ask: Arc::clone(parts) as _,
        now_unix_ms: Arc::clone(&now),
    };
    let tokens = Tokens::new(Arc::clone(store), keys.clone());
    let tokens = tokens.with_table(Arc::clone(&parts.tokens));
    let weights = WeightStore::new(Arc::clone(store), keys.clone());
    let audit = AuditService::new(Arc::clone(store), keys.clone(), Arc::clone(&now));
    let control_plane = ControlPlaneService::new(Arc::clone(parts), Arc::clone(store));
    let nodes = NodesService::new(Arc::clone(parts), Arc::clone(store));
    let sync = NodeSyncService::new(Arc::clone(parts));
    let registry = RegistryService::new(Arc::clone(backends));
    let guard = || parts.guard.clone();
    let (reporter, health) = tonic_health::server::health_reporter();
    drop(reporter);
    let mut reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(weir_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    for name in SERVED {
        reflection = reflection.with_service_name(name);
    }
    let reflection = reflection.build_v1()?;
    Ok(server
        .add_service(NodeSyncServer::with_interceptor(sync, guard()))
        .add_service(RegistryServer::with_interceptor(registry, guard()))
        .add_service(ProfilesServer::with_interceptor(
            ProfilesService::new(profiles),
            guard(),
        ))
        .add_service(WeightsServer::with_interceptor(
            WeightsService::new(weights, Arc::clone(&now)),
            guard(),
        ))
        .add_service(NodesServer::with_interceptor(nodes, guard()))
        .add_service(TokensServer::with_interceptor(
            TokensService::new(tokens, now),
            guard(),
        ))
        .add_service(AuditServer::with_interceptor(audit, guard()))
        .add_service(ControlPlaneServer::with_interceptor(control_plane, guard()))
        .add_service(health)
        .add_service(reflection))
}
