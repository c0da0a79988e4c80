//! The node that runs an engine.

use tonic::Status;
use tonic::transport::Channel;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::node_client::NodeClient;
use weir_proto::node::v1::provision_client::ProvisionClient;

use crate::cli::output::{Failure, connect};

/// A way to the node that runs this engine, as the node behind `channel` knows the mesh.
pub(super) async fn node_of(channel: Channel, engine: &str) -> Result<Channel, Failure> {
    let request = pb::ListEnginesRequest { mesh: true };
    let mut provision = ProvisionClient::new(channel.clone());
    let list = provision.list_engines(request).await?.into_inner();
    let Some(found) = list.engines.iter().find(|known| known.id == engine) else {
        return Err(Status::not_found(nowhere(engine, &list.unreachable_nodes)).into());
    };
    let mut node = NodeClient::new(channel.clone());
    let peers = node.list_peers(pb::ListPeersRequest {}).await?.into_inner();
    let here = node.get_status(pb::GetStatusRequest {}).await?.into_inner();
    let peer = peers.peers.iter().find(|peer| peer.node == found.node);
    match peer {
        Some(peer) if here.node != found.node => connect(&peer.grpc_address).await,
        _ => Ok(channel),
    }
}

fn nowhere(engine: &str, unreachable: &[String]) -> String {
    match unreachable {
        [] => format!("no node runs an engine `{engine}`"),
        nodes => format!(
            "no node that answers runs an engine `{engine}`; {} did not answer",
            nodes.join(", ")
        ),
    }
}
