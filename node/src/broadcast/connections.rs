//! Connections of all threads, as operators see them.

use std::time::Duration;

use futures::future::join_all;
use tokio::sync::oneshot;
use tokio::time::timeout;
use weir_broadcast::{ConnectionId, ConnectionInfo, Shard};
use weir_core::broadcast::CutReason;

use super::Broadcast;

/// How long a thread may take to say what it has.
const SHARD_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenConnection {
    /// Among all of the node, for as long as it runs.
    pub id: u64,
    /// How it is.
    pub info: ConnectionInfo,
}

impl Broadcast {
    /// The connections for which most waits, at most so many; those first for which most does.
    pub async fn connections(&self, most: usize) -> Vec<OpenConnection> {
        let now = self.now();
        let asked = self.client_shards().map(|number| async move {
            let told = self.on_shard(number, move |shard| {
                let mut all = shard.connections(now);
                all.truncate(most);
                all
            });
            let infos = told.await.unwrap_or_default().into_iter();
            infos.map(move |info| OpenConnection {
                id: self.node_wide(number, info.id),
                info,
            })
        });
        let mut all: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        all.sort_by_key(|one| (std::cmp::Reverse(one.info.waiting_bytes), one.id));
        all.truncate(most);
        all
    }

    /// Ends a connection; whether there is one with this id.
    pub async fn disconnect(&self, id: u64) -> bool {
        let shards = self.shards_with_clients();
        let Ok(number) = usize::try_from(id % shards) else {
            return false;
        };
        let id = ConnectionId(id / shards);
        let cut = self.on_shard(number, move |shard| shard.cut(id, CutReason::Operator));
        cut.await.unwrap_or_default()
    }

    fn node_wide(&self, shard: usize, id: ConnectionId) -> u64 {
        id.0 * self.shards_with_clients() + shard as u64
    }

    fn shards_with_clients(&self) -> u64 {
        self.client_shards().count() as u64
    }

    /// What a thread says; `None` if it does not in time.
    pub(crate) async fn on_shard<T: Send + 'static>(
        &self,
        number: usize,
        ask: impl FnOnce(&Shard) -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let is_asked = self.topics().run_on(number, move |shard| {
            // Whoever asked may have gone.
            let _ = tell.send(ask(shard));
        });
        if !is_asked {
            return None;
        }
        timeout(SHARD_TIMEOUT, told).await.ok()?.ok()
    }
}
