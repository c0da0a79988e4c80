//! `weir.control.v1.Registry`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::registry_server;

use super::page::Asked;
use super::{actor_of, status};
use crate::governance::guard::{allow, permit};
use crate::governance::identity::{Action, Role};
use crate::problem::shown;
use crate::registry::backends::{self, Backends};

/// The label by which an engine says which node runs it.
const NODE_LABEL: &str = "weir.node";

/// Backends that announce themselves.
#[derive(Clone)]
pub(super) struct RegistryService(Arc<Backends>);

impl RegistryService {
    /// A service over these backends; it belongs behind a guard.
    pub(super) fn new(backends: Arc<Backends>) -> Self {
        Self(backends)
    }
}

#[tonic::async_trait]
impl registry_server::Registry for RegistryService {
    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        let service = request.get_ref().endpoint.as_ref();
        let service = service.map_or("", |endpoint| endpoint.service.as_str());
        let identity = allow(&request, &Action::RegisterFor(service))?;
        let pb::RegisterRequest { endpoint, ttl_ms } = request.into_inner();
        let endpoint = endpoint.unwrap_or_default();
        if identity.role == Role::Node {
            // A node registers engines that it runs itself, and says so.
            let node = endpoint.labels.get(NODE_LABEL).map_or("", String::as_str);
            permit(&identity, &Action::WorkAs(node))?;
            if node.is_empty() {
                let what = format!("endpoint.labels.{NODE_LABEL}: a node names itself here");
                return Err(Status::invalid_argument(what));
            }
        }
        let registered = self.0.register(endpoint, ttl_ms, identity.token());
        let registered = registered.await.map_err(|error| status::backends(&error))?;
        let interval = registered.heartbeat_interval.as_millis();
        Ok(Response::new(pb::RegisterResponse {
            registration_id: registered.registration_id,
            heartbeat_interval_ms: u64::try_from(interval).unwrap_or(u64::MAX),
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        allow(&request, &Action::RegisterFor(&request.get_ref().service))?;
        let pb::HeartbeatRequest {
            service,
            backend_id,
            registration_id,
        } = request.into_inner();
        let heard = self.0.heartbeat(&service, &backend_id, &registration_id);
        heard.await.map_err(|error| status::backends(&error))?;
        Ok(Response::new(pb::HeartbeatResponse {}))
    }

    async fn deregister(
        &self,
        request: Request<pb::DeregisterRequest>,
    ) -> Result<Response<pb::DeregisterResponse>, Status> {
        allow(&request, &Action::RegisterFor(&request.get_ref().service))?;
        let pb::DeregisterRequest {
            service,
            backend_id,
            registration_id,
        } = request.into_inner();
        let left = self.0.deregister(&service, &backend_id, &registration_id);
        left.await.map_err(|error| status::backends(&error))?;
        Ok(Response::new(pb::DeregisterResponse {}))
    }

    async fn list_endpoints(
        &self,
        request: Request<pb::ListEndpointsRequest>,
    ) -> Result<Response<pb::ListEndpointsResponse>, Status> {
        allow(&request, &Action::ReadAll)?;
        let pb::ListEndpointsRequest {
            service,
            page_size,
            page_token,
        } = request.get_ref();
        let asked = Asked::of(*page_size, page_token, service)?;
        let service = Some(service.as_str()).filter(|name| !name.is_empty());
        let after = asked.after.as_deref();
        let endpoints = self.0.list(service, after, asked.size + 1).await;
        let mut endpoints = endpoints.map_err(|error| status::backends(&error))?;
        let name = |e: &pb::Endpoint| format!("{}/{}", e.service, e.backend_id);
        let next_page_token = asked.cut(&mut endpoints, name);
        Ok(Response::new(pb::ListEndpointsResponse {
            endpoints,
            next_page_token,
        }))
    }

    async fn remove_endpoint(
        &self,
        request: Request<pb::RemoveEndpointRequest>,
    ) -> Result<Response<pb::RemoveEndpointResponse>, Status> {
        let actor = actor_of(&request, &Action::RemoveBackend, &request.get_ref().author)?;
        let pb::RemoveEndpointRequest {
            service,
            backend_id,
            message,
            author: _,
        } = request.into_inner();
        let removed = self.0.remove(&service, &backend_id, &actor, &message);
        removed.await.map_err(|error| match error {
            backends::Error::NotRegistered => {
                let name = shown(&format!("{service}/{backend_id}"));
                Status::not_found(format!("no backend is registered as `{name}`"))
            }
            error => status::backends(&error),
        })?;
        Ok(Response::new(pb::RemoveEndpointResponse {}))
    }
}
