//! `weir.node.v1.Node`: the node as a whole.

use tonic::{Request, Response, Status};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::node_server::Node;

use crate::http_api::StatusCache;

/// The service.
pub(super) struct NodeService(pub(super) StatusCache);

#[tonic::async_trait]
impl Node for NodeService {
    async fn get_status(
        &self,
        _: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::Status>, Status> {
        Ok(Response::new(self.0.now().status.clone()))
    }
}
