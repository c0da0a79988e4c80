//! `weir.node.v1.PortCache`: ports of VPNs.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::port_cache_server::PortCache;

use super::status;
use crate::engine_api::EngineApi;
use crate::telemetry::spans::parent_of;

/// The service. Cheap to clone.
#[derive(Clone)]
pub(super) struct PortCacheService {
    pub(super) engines: EngineApi,
}

/// Lists of ports as they change.
pub(super) type PortLists =
    Pin<Box<dyn Stream<Item = Result<pb::ListPortsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl PortCache for PortCacheService {
    async fn get_port(
        &self,
        request: Request<pb::GetPortRequest>,
    ) -> Result<Response<pb::VpnPort>, Status> {
        let caller = parent_of(request.metadata().as_ref());
        let port = self.engines.port(&request.get_ref().vpn, caller).await;
        port.map(Response::new)
            .map_err(|error| status::of_engines(&error))
    }

    async fn list_ports(
        &self,
        _: Request<pb::ListPortsRequest>,
    ) -> Result<Response<pb::ListPortsResponse>, Status> {
        Ok(Response::new(self.engines.ports()))
    }

    type WatchPortsStream = PortLists;

    async fn watch_ports(
        &self,
        _: Request<pb::ListPortsRequest>,
    ) -> Result<Response<PortLists>, Status> {
        let lists = self.engines.watch_ports();
        Ok(Response::new(Box::pin(lists.map(Ok))))
    }

    async fn invalidate(
        &self,
        request: Request<pb::InvalidatePortRequest>,
    ) -> Result<Response<pb::VpnPort>, Status> {
        let pb::InvalidatePortRequest { vpn, told } = request.into_inner();
        let port = self.engines.invalidate(&vpn, told).await;
        port.map(Response::new)
            .map_err(|error| status::of_engines(&error))
    }
}
