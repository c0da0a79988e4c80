//! Which topics are to be looked at by whoever tells other nodes.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_core::broadcast::{Pattern, TopicName};
use weir_core::cache::UnixMs;

use super::lane::IDLE_MAX;
use super::{ShardIndex, Topic, Topics};

/// Topics that are remembered one by one; beyond, all count as changed.
const NOTED_MAX: usize = 65_536;

/// What changed since it was asked last.
#[derive(Debug, Default)]
pub struct Changes {
    /// Topics that came up, have a message that waits for its replica, or whose local interest by name began or ended.
    pub topics: BTreeSet<TopicName>,
    /// More topics than may be named: any may have changed.
    pub all: bool,
    /// Local patterns came or went.
    pub patterns: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// The shard of connections to other nodes; nothing is noted without one.
    links: OnceLock<ShardIndex>,
    noted: Mutex<Changes>,
    wake: Notify,
}

impl Noted {
    pub(crate) fn links(&self) -> Option<ShardIndex> {
        self.links.get().copied()
    }

    pub(crate) fn note(&self, topic: &TopicName) {
        if self.links().is_none() {
            return;
        }
        {
            let mut noted = self.noted.lock();
            if noted.topics.contains(topic) {
                return;
            }
            if noted.topics.len() >= NOTED_MAX {
                noted.all = true;
            } else {
                noted.topics.insert(topic.clone());
            }
        }
        self.wake.notify_one();
    }

    pub(crate) fn note_patterns(&self) {
        if self.links().is_some() {
            self.noted.lock().patterns = true;
            self.wake.notify_one();
        }
    }
}

impl Topics {
    /// From here on changes are noted; the interest of this shard, whose connections are other nodes, is none of them.
    pub(crate) fn note_changes(&self, links: ShardIndex) {
        let _ = self.changes.links.set(links);
    }

    /// Until something changed.
    pub async fn changed(&self) {
        self.changes.wake.notified().await;
    }

    /// What changed since this was asked last.
    pub fn take_changes(&self) -> Changes {
        std::mem::take(&mut *self.changes.noted.lock())
    }

    /// Whether a subscriber of this node wants a topic by name.
    pub fn is_wanted(&self, name: &TopicName) -> bool {
        let lane = self.lane(name);
        let topic = lane.topics.get(name);
        topic.is_some_and(|topic| self.has_local(&topic.named))
    }

    /// Topics that would be forgotten if no other node had them.
    pub fn held_by_links(&self, now: UnixMs) -> Vec<TopicName> {
        let held = |topic: &Topic| {
            let by_links = !topic.named.is_empty() && !self.has_local(&topic.named);
            by_links && topic.is_empty() && now.since(topic.touched_at) >= IDLE_MAX
        };
        let lanes = self.lanes.iter().flat_map(|lane| {
            let lane = lane.lock();
            let topics = lane.topics.iter().filter(|(_, topic)| held(topic));
            topics.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        });
        lanes.collect()
    }

    /// The patterns of subscribers of this node.
    pub fn local_patterns(&self) -> BTreeSet<Pattern> {
        let patterns = self.shard_patterns.lock();
        let local = patterns.iter().filter(|(_, shards)| self.has_local(shards));
        local.map(|(pattern, _)| pattern.clone()).collect()
    }

    pub(crate) fn has_local(&self, shards: &[ShardIndex]) -> bool {
        let links = self.changes.links();
        shards.iter().any(|shard| Some(*shard) != links)
    }
}
