//! `weir.node.v1.EnginePeer`: engines and ports for other nodes, by the services that operators have.

use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::engine_peer_server::{EnginePeer, EnginePeerServer};
use weir_proto::node::v1::load_balancer_server::LoadBalancer as _;
use weir_proto::node::v1::port_cache_server::PortCache as _;
use weir_proto::node::v1::provision_server::Provision as _;

use super::LoadBalancerService;
use super::port_cache::{PortCacheService, PortLists};
use super::provision::ProvisionService;
use crate::peers::Asks;

/// The service.
pub(super) struct EnginePeerService {
    pub(super) services: LoadBalancerService,
    pub(super) engines: ProvisionService,
    pub(super) ports: PortCacheService,
}

/// The service for whoever shows what it is asked for.
pub(super) fn server(
    service: EnginePeerService,
    asks: Asks,
) -> InterceptedService<EnginePeerServer<EnginePeerService>, Asks> {
    EnginePeerServer::with_interceptor(service, asks)
}

#[tonic::async_trait]
impl EnginePeer for EnginePeerService {
    type WatchPortsStream = PortLists;

    async fn watch_ports(
        &self,
        request: Request<pb::ListPortsRequest>,
    ) -> Result<Response<PortLists>, Status> {
        self.ports.watch_ports(request).await
    }

    async fn invalidate(
        &self,
        request: Request<pb::InvalidatePortRequest>,
    ) -> Result<Response<pb::VpnPort>, Status> {
        self.ports.invalidate(request).await
    }

    async fn get_service(
        &self,
        request: Request<pb::GetServiceRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        self.services.get_service(request).await
    }

    async fn list_engines(
        &self,
        request: Request<pb::ListEnginesRequest>,
    ) -> Result<Response<pb::ListEnginesResponse>, Status> {
        self.engines.list_engines(request).await
    }

    async fn engine_logs(
        &self,
        request: Request<pb::EngineLogsRequest>,
    ) -> Result<Response<pb::EngineLogsResponse>, Status> {
        self.engines.engine_logs(request).await
    }

    async fn stop_engine(
        &self,
        request: Request<pb::StopEngineRequest>,
    ) -> Result<Response<pb::StopEngineResponse>, Status> {
        self.engines.stop_engine(request).await
    }
}
