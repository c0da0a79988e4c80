//! Who has a topic.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;
use tonic::transport::Channel;
use weir_core::broadcast::TopicName;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_client::BroadcastClient;

use super::Broadcast;
use super::describe::BadRequest;
use crate::peers::Peers;

/// For another node to say who is with it.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Beyond so many, only their number is told.
const MEMBERS_MAX: usize = 10_000;

/// Whoever says no name.
pub(super) const ANONYMOUS: &str = "anonymous";

impl Broadcast {
    /// Who has a topic, on all nodes unless only this one is asked for.
    ///
    /// # Errors
    /// [`BadRequest`].
    pub async fn presence(
        &self,
        request: &pb::PresenceRequest,
    ) -> Result<pb::PresenceResponse, BadRequest> {
        let topic = TopicName::any(&request.topic)?;
        let (present, is_partial) = match request.local {
            true => (self.members(&topic).await, false),
            false => self.everybody(&topic).await,
        };
        let (members, count) = present;
        let members = members.iter().map(ToString::to_string);
        Ok(pb::PresenceResponse {
            members: members.collect(),
            count: count as u64,
            partial: is_partial,
        })
    }

    /// The same of all nodes, and whether one has not answered.
    pub(crate) async fn everybody(&self, topic: &TopicName) -> ((BTreeSet<Arc<str>>, usize), bool) {
        let (mut members, mut count) = self.members(topic).await;
        let mut is_partial = false;
        let live = self.mesh().view();
        let channels = self.mesh().peers().map(Peers::channels).unwrap_or_default();
        let others = channels.into_iter().filter(|(node, _)| live.is_live(node));
        let asked = others.map(|(_, channel)| members_at(channel, topic));
        for answer in join_all(asked).await {
            is_partial |= answer.is_none();
            let answer = answer.unwrap_or_default();
            count += usize::try_from(answer.count).unwrap_or(usize::MAX);
            members.extend(answer.members.into_iter().map(Arc::from));
        }
        if members.len() > MEMBERS_MAX {
            members.clear();
        }
        ((members, count), is_partial)
    }

    /// Everybody with a name, unless there are too many, and how many connections there are.
    pub(crate) async fn members(&self, topic: &TopicName) -> (BTreeSet<Arc<str>>, usize) {
        let asked = self.client_shards().map(|shard| {
            let topic = topic.clone();
            self.on_shard(shard, move |shard| shard.members(&topic, MEMBERS_MAX + 1))
        });
        let mut members = BTreeSet::new();
        let mut count = 0;
        for (some, all) in join_all(asked).await.into_iter().flatten() {
            // A name stands before the address; who shows none has none.
            let named = some.iter().filter_map(|client| client.rsplit_once('@'));
            let named = named
                .map(|(name, _)| name)
                .filter(|name| *name != ANONYMOUS);
            members.extend(named.map(Arc::from));
            count += all;
        }
        if members.len() > MEMBERS_MAX {
            members.clear();
        }
        (members, count)
    }
}

async fn members_at(channel: Option<Channel>, topic: &TopicName) -> Option<pb::PresenceResponse> {
    let request = pb::PresenceRequest {
        topic: topic.to_string(),
        local: true,
    };
    let mut client = BroadcastClient::new(channel?);
    let answer = timeout(ASK_TIMEOUT, client.presence(request)).await.ok()?;
    Some(answer.ok()?.into_inner())
}
