//! All services of an instance, each behind the guard.

use std::sync::Arc;
use std::time::Duration;

use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_reflection::server::Error as ReflectionError;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use weir_proto::control::v1::audit_server::{self, AuditServer};
use weir_proto::control::v1::control_plane_server::{self, ControlPlaneServer};
use weir_proto::control::v1::jobs_server::{self, JobsServer};
use weir_proto::control::v1::node_sync_server::{self, NodeSyncServer};
use weir_proto::control::v1::nodes_server::{self, NodesServer};
use weir_proto::control::v1::profiles_server::{self, ProfilesServer};
use weir_proto::control::v1::registry_server::{self, RegistryServer};
use weir_proto::control::v1::tokens_server::{self, TokensServer};
use weir_proto::control::v1::weights_server::{self, WeightsServer};

use super::control_plane::ControlPlaneService;
use super::nodes::NodesService;
use super::registry::RegistryService;
use super::{
    AuditService, JobsService, ProfilesContext, ProfilesService, TokensService, WeightsService,
};
use crate::governance::guard::Guard;
use crate::governance::tokens::Tokens;
use crate::jobs::Jobs;
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
const SERVED: [&str; 11] = [
    node_sync_server::SERVICE_NAME,
    registry_server::SERVICE_NAME,
    profiles_server::SERVICE_NAME,
    weights_server::SERVICE_NAME,
    nodes_server::SERVICE_NAME,
    tokens_server::SERVICE_NAME,
    jobs_server::SERVICE_NAME,
    audit_server::SERVICE_NAME,
    control_plane_server::SERVICE_NAME,
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
];

/// Bytes of one message of a node or a backend: the largest state of a profile, and some room.
const NODE_MESSAGE_BYTES_MAX: usize = 256 << 10;
/// Bytes of one request of an operator: the largest profile, and some room.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// What is served.
pub struct Served {
    /// The instance.
    pub parts: Arc<Parts>,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Backends that announce themselves.
    pub backends: Arc<Backends>,
    /// Durable jobs.
    pub jobs: Arc<Jobs>,
}

/// All services.
///
/// # Errors
/// When the schema that reflection serves cannot be read.
pub fn router(served: &Served) -> Result<Router, ReflectionError> {
    let Served {
        parts,
        store,
        backends,
        jobs,
    } = served;
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(CALLS_MAX);
    let now = parts.clock.to_fn();
    let keys = &parts.keys;
    let tokens = Tokens::new(Arc::clone(store), keys.clone());
    let tokens = tokens.with_table(Arc::clone(&parts.tokens));
    let weights = WeightStore::new(Arc::clone(store), keys.clone());
    let audit = AuditService::new(Arc::clone(store), keys.clone(), Arc::clone(&now));
    let control_plane = ControlPlaneService::new(Arc::clone(parts), Arc::clone(store));
    let nodes = NodesService::new(Arc::clone(parts), Arc::clone(store));
    let sync = NodeSyncService::new(Arc::clone(parts));
    let registry = RegistryService::new(Arc::clone(backends));
    let (reporter, health) = tonic_health::server::health_reporter();
    drop(reporter);
    let sync = NodeSyncServer::new(sync).max_decoding_message_size(NODE_MESSAGE_BYTES_MAX);
    let profiles = ProfilesService::new(profiles_of(served));
    let weights = WeightsService::new(weights, parts.view.endpoints.clone(), Arc::clone(&now));
    let jobs = JobsService::new(Arc::clone(jobs), Arc::clone(&now));
    let tokens = TokensService::new(tokens, now);
    let guarded = Guarded(&parts.guard);
    Ok(server
        .add_service(guarded.service(sync))
        .add_service(guarded.service(
            RegistryServer::new(registry).max_decoding_message_size(NODE_MESSAGE_BYTES_MAX),
        ))
        .add_service(
            guarded.service(
                ProfilesServer::new(profiles).max_decoding_message_size(REQUEST_BYTES_MAX),
            ),
        )
        .add_service(
            guarded
                .service(WeightsServer::new(weights).max_decoding_message_size(REQUEST_BYTES_MAX)),
        )
        .add_service(
            guarded.service(NodesServer::new(nodes).max_decoding_message_size(REQUEST_BYTES_MAX)),
        )
        .add_service(
            guarded.service(TokensServer::new(tokens).max_decoding_message_size(REQUEST_BYTES_MAX)),
        )
        .add_service(
            guarded
                .service(JobsServer::new(jobs).max_decoding_message_size(NODE_MESSAGE_BYTES_MAX)),
        )
        .add_service(
            guarded.service(AuditServer::new(audit).max_decoding_message_size(REQUEST_BYTES_MAX)),
        )
        .add_service(guarded.service(
            ControlPlaneServer::new(control_plane).max_decoding_message_size(REQUEST_BYTES_MAX),
        ))
        .add_service(health)
        .add_service(guarded.service(reflection()?)))
}

fn profiles_of(served: &Served) -> ProfilesContext {
    let (parts, store) = (&served.parts, Arc::clone(&served.store));
    let view = parts.view.profiles.clone();
    ProfilesContext {
        profiles: ProfileStore::new(store, parts.keys.clone(), view),
        nodes: Arc::clone(parts) as _,
        ask: Arc::clone(parts) as _,
        now_unix_ms: parts.clock.to_fn(),
        steps: parts.steps.clone(),
    }
}

/// The schema, for who asks for it over gRPC.
fn reflection() -> Result<ServerReflectionServer<impl ServerReflection>, ReflectionError> {
    let mut reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(weir_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    for name in SERVED {
        reflection = reflection.with_service_name(name);
    }
    reflection.build_v1()
}

/// Puts the guard before services.
struct Guarded<'a>(&'a Guard);

impl Guarded<'_> {
    fn service<S>(&self, service: S) -> InterceptedService<S, Guard> {
        InterceptedService::new(service, self.0.clone())
    }
}
