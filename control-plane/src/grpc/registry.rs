//! `weir.control.v1.Registry`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::registry_server;

use super::status;
use crate::governance::guard::allow;
use crate::governance::identity::Action;
use crate::registry::backends::Backends;

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
        allow(&request, &Action::RegisterFor(service))?;
        let pb::RegisterRequest { endpoint, ttl_ms } = request.into_inner();
        let registered = self.0.register(endpoint.unwrap_or_default(), ttl_ms).await;
        let registered = registered.map_err(|error| status::backends(&error))?;
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
        let service = Some(request.get_ref().service.as_str()).filter(|name| !name.is_empty());
        let endpoints = self.0.list(service).await;
        let endpoints = endpoints.map_err(|error| status::backends(&error))?;
        Ok(Response::new(pb::ListEndpointsResponse { endpoints }))
    }
}
