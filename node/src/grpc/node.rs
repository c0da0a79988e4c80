//! `weir.node.v1.Node`: the node as a whole.

use tonic::{Request, Response, Status};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::node_server::Node;

use crate::describe;
use crate::http_api::StatusCache;
use crate::orders::{Orders, OrdersHandle};

/// The service.
pub(super) struct NodeService {
    pub(super) status: StatusCache,
    pub(super) orders: OrdersHandle,
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn get_status(
        &self,
        _: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::Status>, Status> {
        Ok(Response::new(self.status.now().status.clone()))
    }

    async fn set_orders(
        &self,
        request: Request<pb::SetOrdersRequest>,
    ) -> Result<Response<pb::Status>, Status> {
        let pb::SetOrdersRequest { cordoned, draining } = request.into_inner();
        self.orders.obey(Orders { cordoned, draining }).await;
        Ok(Response::new(self.status.now().status.clone()))
    }

    async fn list_peers(
        &self,
        _: Request<pb::ListPeersRequest>,
    ) -> Result<Response<pb::ListPeersResponse>, Status> {
        let standing = self.status.control_plane();
        let peers = standing.peers.iter().map(describe::peer).collect();
        Ok(Response::new(pb::ListPeersResponse { peers }))
    }
}
