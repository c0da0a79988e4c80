//! A control plane of one test: what the commands ask, answered from memory.

mod others;
mod profiles;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::audit_server::AuditServer;
use weir_proto::control::v1::control_plane_server::ControlPlaneServer;
use weir_proto::control::v1::nodes_server::NodesServer;
use weir_proto::control::v1::profiles_server::ProfilesServer;
use weir_proto::control::v1::registry_server::RegistryServer;
use weir_proto::control::v1::tokens_server::TokensServer;
use weir_proto::control::v1::weights_server::WeightsServer;
use weir_proto::sync::content_hash;
use weir_proto::tuning::v1::FieldError;

use crate::common::PATIENCE;

/// When everything was written that the fake wrote.
pub const WRITTEN_UNIX_MS: u64 = 1_772_366_400_000;

/// What the fake holds.
#[derive(Default)]
pub struct State {
    /// Of each scope, every revision from the first on.
    pub profiles: BTreeMap<String, Vec<pb::ProfileRevision>>,
    pub nodes: Vec<pb::NodeInfo>,
    /// What a node answers to the next profile.
    pub refusals: BTreeMap<String, FieldError>,
    /// How often a rollout is asked for before nodes have taken a write.
    pub rollouts_until_taken: usize,
    pub weights: BTreeMap<String, pb::WeightsRevision>,
    pub endpoints: Vec<pb::Endpoint>,
    pub tokens: Vec<pb::TokenInfo>,
    /// Answers of writes by their names.
    written: BTreeMap<String, pb::PutProfileResponse>,
    /// The next write is made, and its answer lost.
    pub lose_answer: bool,
    /// Why the store is not healthy.
    pub store_problem: Option<String>,
    /// The token that is asked for, and what it may do.
    pub token: Option<(&'static str, pb::Role)>,
}

/// A running fake. Every listener of it has the same state.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

impl Fake {
    /// Three nodes that take whatever they are offered, and a backend that registered itself.
    pub async fn with_nodes() -> (Self, SocketAddr) {
        let fake = Self::default();
        let nodes = ["node-1", "node-2", "node-3"];
        fake.state().await.nodes = nodes.iter().map(|id| node(id)).collect();
        fake.state().await.endpoints = vec![pb::Endpoint {
            service: "web".to_owned(),
            backend_id: "b9".to_owned(),
            address: "10.0.0.9:80".to_owned(),
            weight: 1,
            ..pb::Endpoint::default()
        }];
        let address = fake.listen().await;
        (fake, address)
    }

    pub async fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().await
    }

    /// Answers at one more address.
    pub async fn listen(&self) -> SocketAddr {
        self.listen_with(Server::builder()).await
    }

    /// Answers at one more address, over TLS, to callers with a certificate.
    pub async fn listen_with_tls(&self, tls: ServerTlsConfig) -> SocketAddr {
        self.listen_with(Server::builder().tls_config(tls).unwrap())
            .await
    }

    async fn listen_with(&self, server: Server) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = server
            .timeout(PATIENCE)
            .add_service(ProfilesServer::new(self.clone()))
            .add_service(WeightsServer::new(self.clone()))
            .add_service(NodesServer::new(self.clone()))
            .add_service(RegistryServer::new(self.clone()))
            .add_service(TokensServer::new(self.clone()))
            .add_service(AuditServer::new(self.clone()))
            .add_service(ControlPlaneServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        address
    }

    /// The state, for a caller who may read it, or write it.
    async fn allow<T>(
        &self,
        request: &Request<T>,
        writes: bool,
    ) -> Result<MutexGuard<'_, State>, Status> {
        let state = self.state().await;
        let Some((token, role)) = state.token else {
            return Ok(state);
        };
        let told = request.metadata().get("authorization");
        let told = told.and_then(|value| value.to_str().ok());
        if told != Some(&format!("Bearer {token}")) {
            return Err(Status::unauthenticated("this needs a token"));
        }
        if writes && role == pb::Role::Viewer {
            return Err(Status::permission_denied("a viewer may not write"));
        }
        Ok(state)
    }
}

fn node(id: &str) -> pb::NodeInfo {
    pb::NodeInfo {
        node_id: id.to_owned(),
        presence: pb::Presence::Connected.into(),
        node_version: "0.1.0".to_owned(),
        zone: "a".to_owned(),
        grpc_address: "127.0.0.1:7400".to_owned(),
        since_unix_ms: WRITTEN_UNIX_MS,
        profile: Some(pb::ProfileState::default()),
        ..pb::NodeInfo::default()
    }
}

impl State {
    /// Offers what is newest to every node; a node that refuses keeps what it has.
    fn offer(&mut self, settings: &[pb::TextSetting]) {
        let text: Vec<String> = settings
            .iter()
            .map(|s| format!("{}={}", s.path, s.value))
            .collect();
        let hash = content_hash(text.join("\n").as_bytes()).to_vec();
        for node in &mut self.nodes {
            node.wanted_hash.clone_from(&hash);
        }
    }

    /// Every node answers to what it was offered.
    fn answer_all(&mut self) {
        for node in &mut self.nodes {
            let state = node.profile.get_or_insert_default();
            if state.offered_hash == node.wanted_hash {
                continue;
            }
            state.offered_hash.clone_from(&node.wanted_hash);
            if let Some(refusal) = self.refusals.get(&node.node_id) {
                state.set_last_attempt(pb::ApplyStatus::Rejected);
                state.errors = vec![refusal.clone()];
            } else {
                state.set_last_attempt(pb::ApplyStatus::Applied);
                state.effective_hash.clone_from(&node.wanted_hash);
            }
        }
    }
}
