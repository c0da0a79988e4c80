//! Which shards want what.

use std::sync::Arc;

use weir_core::broadcast::{Pattern, Position, Refused, TopicName};
use weir_core::cache::UnixMs;

use super::{Inbox, ShardIndex, Topics};
use crate::counters::Counters;

impl Topics {
    /// From here on, this shard gets every message of a topic; which one was the last before.
    pub(crate) fn join(
        &self,
        shard: ShardIndex,
        name: &TopicName,
        now: UnixMs,
    ) -> Result<Position, Refused> {
        let mut lane = self.lane(name);
        let topic = self.topic(&mut lane, name, now)?;
        topic.touched_at = now;
        if !topic.named.contains(&shard) {
            let had = self.has_local(&topic.named);
            topic.named.push(shard);
            if had != self.has_local(&topic.named) {
                self.changes.note(name);
            }
        }
        Ok(topic.position())
    }

    /// This shard has no subscriber by name any more.
    pub(crate) fn leave(&self, shard: ShardIndex, name: &TopicName) {
        if let Some(topic) = self.lane(name).topics.get_mut(name) {
            let had = self.has_local(&topic.named);
            topic.named.retain(|other| *other != shard);
            if had != self.has_local(&topic.named) {
                self.changes.note(name);
            }
        }
    }

    /// The newest message of a topic, if it is known.
    pub fn position(&self, name: &TopicName) -> Option<Position> {
        Some(self.lane(name).topics.get(name)?.position())
    }

    /// From here on, this shard gets every message of topics that a pattern takes, also of those that are not there
    /// yet.
    pub(crate) fn join_pattern(&self, shard: ShardIndex, pattern: &Pattern) -> Result<(), Refused> {
        let max = self.limits.load().patterns_max;
        {
            let mut patterns = self.patterns.lock();
            if patterns.len() >= max {
                return Err(Refused::TooMany {
                    field: "patterns of the node",
                    value: patterns.len() + 1,
                    max,
                });
            }
            patterns.insert(pattern, shard);
        }
        let mut by_pattern = self.shard_patterns.lock();
        by_pattern.entry(pattern.clone()).or_default().push(shard);
        drop(by_pattern);
        self.changes.note_patterns();
        // A topic that is made now knows it; those that are there are told.
        for lane in &self.lanes {
            for (name, topic) in &mut lane.lock().topics {
                if pattern.takes(name) && !topic.matched.contains(&shard) {
                    topic.matched.push(shard);
                }
            }
        }
        Ok(())
    }

    /// This shard has no subscriber with this pattern any more.
    pub(crate) fn leave_pattern(&self, shard: ShardIndex, pattern: &Pattern) {
        self.patterns.lock().remove(pattern, &shard);
        let mut by_pattern = self.shard_patterns.lock();
        if let Some(shards) = by_pattern.get_mut(pattern) {
            shards.retain(|other| *other != shard);
            if shards.is_empty() {
                by_pattern.remove(pattern);
            }
        }
        drop(by_pattern);
        self.changes.note_patterns();
        for lane in &self.lanes {
            let mut lane = lane.lock();
            let taken = lane
                .topics
                .iter_mut()
                .filter(|(name, _)| pattern.takes(name));
            for (name, topic) in taken {
                if !self.patterns.lock().takers(name).contains(&shard) {
                    topic.matched.retain(|other| *other != shard);
                }
            }
        }
    }

    pub(crate) fn inbox(&self, shard: ShardIndex) -> &Inbox {
        &self.shards[usize::from(shard)].inbox
    }

    pub(crate) fn shard_counters(&self, shard: ShardIndex) -> Arc<Counters> {
        Arc::clone(&self.shards[usize::from(shard)].counters)
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }
}
