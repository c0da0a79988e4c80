//! What other nodes run.

use tokio::time::timeout;
use weir_proto::node::v1::ListEnginesRequest;
use weir_proto::node::v1::provision_client::ProvisionClient;

use super::{CALL_TIMEOUT, Peers};

impl Peers {
    /// The container of an engine that another node runs, empty for a process; `None` when it runs no such engine.
    ///
    /// # Errors
    /// Why it did not say, in words.
    pub async fn container_of(&self, node: &str, engine: &str) -> Result<Option<String>, String> {
        let mut client = ProvisionClient::new(self.channel_to(node)?);
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
