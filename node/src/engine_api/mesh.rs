//! Engines of every node.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::time::timeout;
use tonic::transport::Channel;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::provision_client::ProvisionClient;

use super::EngineApi;

/// For one node to tell its engines.
const NODE_TIMEOUT: Duration = Duration::from_secs(1);
/// Nodes that are asked at a time.
const ASKED_MAX: usize = 128;

impl EngineApi {
    /// Engines of this node, or of every node that answers, by id.
    pub async fn list(&self, mesh: bool) -> pb::ListEnginesResponse {
        let mut list = pb::ListEnginesResponse {
            engines: self.own(),
            unreachable_nodes: Vec::new(),
        };
        if mesh {
            let others = self.peers.channels().into_iter();
            let asked = others.map(|(node, channel)| async move {
                let engines = self.engines_of(&node, channel).await;
                (node, engines)
            });
            let mut answers = stream::iter(asked).buffer_unordered(ASKED_MAX);
            while let Some((node, engines)) = answers.next().await {
                match engines {
                    Some(engines) => list.engines.extend(engines),
                    None => list.unreachable_nodes.push(node),
                }
            }
        }
        list.engines.sort_by(|one, other| one.id.cmp(&other.id));
        list.unreachable_nodes.sort();
        list
    }
    /// What a node says of its engines; `None` when it does not answer.
    async fn engines_of(&self, node: &str, channel: Option<Channel>) -> Option<Vec<pb::Engine>> {
        let mut client = ProvisionClient::new(channel?);
        let request = pb::ListEnginesRequest { mesh: false };
        let Ok(answer) = timeout(NODE_TIMEOUT, client.list_engines(request)).await else {
            self.peers.is_silent(node);
            return None;
        };
        Some(answer.ok()?.into_inner().engines)
    }
}
