//! What other nodes run.

use tokio::time::timeout;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use weir_proto::node::v1::ListEnginesRequest;
use weir_proto::node::v1::engine_peer_client::EnginePeerClient;

use super::{CALL_TIMEOUT, Peers, Shows};

/// Asks a node of its engines and ports, and shows it what nodes show each other.
pub type EnginesOf = EnginePeerClient<InterceptedService<Channel, Shows>>;

impl Peers {
    /// What asks a node of its engines and ports.
    ///
    /// # Errors
    /// Why there is no way to it, in words.
    pub fn engines_at(&self, node: &str) -> Result<EnginesOf, String> {
        Ok(self.engines_over(self.channel_to(node)?))
    }

    /// The same over a way that is known.
    pub fn engines_over(&self, channel: Channel) -> EnginesOf {
        EnginePeerClient::with_interceptor(channel, self.key().shows())
    }

    /// The container of an engine that another node runs, empty for a process; `None` when it runs no such engine.
    ///
    /// # Errors
    /// Why it did not say, in words.
    pub async fn container_of(&self, node: &str, engine: &str) -> Result<Option<String>, String> {
        let mut client = self.engines_at(node)?;
        let request = ListEnginesRequest { mesh: false };
        match timeout(CALL_TIMEOUT, client.list_engines(request)).await {
            Ok(Ok(list)) => {
                let engines = list.into_inner().engines.into_iter();
                let mut found = engines.filter(|one| one.id == engine);
                Ok(found.next().map(|one| one.container_id))
            }
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err(format!("node `{node}` did not answer in time")),
        }
    }
}
