//! Who has a topic.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use weir_core::broadcast::TopicName;
use weir_proto::node::v1 as pb;

use super::Broadcast;
use super::describe::BadRequest;

/// Beyond so many, only their number is told.
const MEMBERS_MAX: usize = 10_000;

impl Broadcast {
    /// Who has a topic on this node.
    ///
    /// # Errors
    /// [`BadRequest`].
    pub async fn presence(
        &self,
        request: &pb::PresenceRequest,
    ) -> Result<pb::PresenceResponse, BadRequest> {
        let topic = TopicName::any(&request.topic)?;
        let (members, count) = self.members(&topic).await;
        let members = members.iter().map(ToString::to_string);
        Ok(pb::PresenceResponse {
            members: members.collect(),
            count: count as u64,
        })
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
            members.extend(some.into_iter().filter(|name| !name.is_empty()));
            count += all;
        }
        if members.len() > MEMBERS_MAX {
            members.clear();
        }
        (members, count)
    }
}
