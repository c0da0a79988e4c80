//! Which shards want what.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_core::broadcast::{Pattern, Position, Refused, TopicName};
use weir_core::cache::UnixMs;

use super::{Inbox, ShardIndex, Topic, Topics};
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
            self.patterns_changed();
        }
        let mut by_pattern = self.shard_patterns.lock();
        by_pattern.entry(pattern.clone()).or_default().push(shard);
        drop(by_pattern);
        self.changes.note_patterns();
        Ok(())
    }

    /// This shard has no subscriber with this pattern any more.
    pub(crate) fn leave_pattern(&self, shard: ShardIndex, pattern: &Pattern) {
        {
            let mut patterns = self.patterns.lock();
            patterns.remove(pattern, &shard);
            self.patterns_changed();
        }
        let mut by_pattern = self.shard_patterns.lock();
        if let Some(shards) = by_pattern.get_mut(pattern) {
            shards.retain(|other| *other != shard);
            if shards.is_empty() {
                by_pattern.remove(pattern);
            }
        }
        drop(by_pattern);
        self.changes.note_patterns();
    }

    /// Each topic looks at its patterns again with its next message: a change costs nothing for topics to which
    /// nothing happens, however many there are.
    fn patterns_changed(&self) {
        self.patterns_version.fetch_add(1, Ordering::Release);
    }

    /// Which shards want a topic, as patterns are now.
    pub(super) fn match_again(&self, name: &TopicName, topic: &mut Topic) {
        let version = self.patterns_version.load(Ordering::Acquire);
        if topic.matched_at == version {
            return;
        }
        let mut matched = self.patterns.lock().takers(name);
        matched.sort_unstable();
        matched.dedup();
        (topic.matched, topic.matched_at) = (matched, version);
    }

    /// Where a topic is; from now on it is known, as if somebody had asked for it.
    pub(crate) fn touch(&self, name: &TopicName, now: UnixMs) -> Result<Position, Refused> {
        let mut lane = self.lane(name);
        let topic = self.topic(&mut lane, name, now)?;
        topic.touched_at = now;
        Ok(topic.position())
    }

    /// Topics of which messages did not fit into the inbox of a shard, beyond those that the inbox itself could note.
    pub(crate) fn take_missed(&self, shard: ShardIndex) -> Vec<(TopicName, Position)> {
        let mut missed = Vec::new();
        for lane in &self.lanes {
            for (name, topic) in &mut lane.lock().topics {
                if let Some(at) = topic.missed.iter().position(|(by, _)| *by == shard) {
                    let (_, from) = topic.missed.swap_remove(at);
                    missed.push((name.clone(), from));
                }
            }
        }
        missed
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
