//! `weir.node.v1.BroadcastPeer`: messages of other nodes.

use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status, Streaming};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_peer_server::{BroadcastPeer, BroadcastPeerServer};

use crate::broadcast::mesh::{Forwarded, Linked, MESSAGE_BYTES_MAX, Mesh};
use crate::peers::Asks;

/// The service.
pub(crate) struct BroadcastPeerService {
    mesh: Mesh,
}

/// The service, which takes messages as long as links carry them, of nodes that show what `asks` asks for.
pub(crate) fn server(
    mesh: &Mesh,
    asks: Asks,
) -> InterceptedService<BroadcastPeerServer<BroadcastPeerService>, Asks> {
    let mesh = mesh.clone();
    let server = BroadcastPeerServer::new(BroadcastPeerService { mesh })
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    InterceptedService::new(server, asks)
}

#[tonic::async_trait]
impl BroadcastPeer for BroadcastPeerService {
    type LinkStream = Linked;

    async fn link(
        &self,
        request: Request<Streaming<pb::LinkAsked>>,
    ) -> Result<Response<Linked>, Status> {
        Ok(Response::new(self.mesh.link(request.into_inner())))
    }

    type ForwardStream = Forwarded;

    async fn forward(
        &self,
        request: Request<Streaming<pb::ForwardRequest>>,
    ) -> Result<Response<Forwarded>, Status> {
        Ok(Response::new(self.mesh.forward(request.into_inner())))
    }
}
