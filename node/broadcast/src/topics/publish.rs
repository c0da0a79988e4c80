//! The way of a message into its topic and to the shards.

use std::sync::Arc;

use weir_core::broadcast::{Limits, Position, Refused};
use weir_core::cache::UnixMs;

use super::lane::Lane;
use super::{Published, ShardIndex, Topics};
use crate::message::{Draft, Message};

impl Topics {
    /// Publishes a message on the node that numbers its topic.
    ///
    /// # Errors
    ///
    /// When something of it does not do, or there are too many topics.
    pub fn publish(&self, draft: Draft, now: UnixMs) -> Result<Published, Refused> {
        let limits = self.limits.load();
        draft.check(&limits)?;
        let name = draft.topic.clone();
        let mut lane = self.lane(&name);
        let topic = self.topic(&mut lane, &name, now)?;
        topic.recent.forget_old(now);
        let key = draft.idempotency_key.clone();
        let last = topic.position();
        if let Some(offset) = key.as_ref().and_then(|key| topic.recent.find(key)) {
            let position = Position { offset, ..last };
            return Ok(Published {
                position,
                is_duplicate: true,
            });
        }
        let offset = if draft.class.is_numbered() {
            last.offset + 1
        } else {
            0
        };
        let position = Position { offset, ..last };
        if let Some(key) = key {
            topic.recent.remember(&key, offset, now);
        }
        topic.charge_keys(&self.account);
        let message = Message::new(draft, position, last.offset, now, self.account.clone());
        let wake = self.hand_out(&mut lane, &message, now, &limits);
        drop(lane);
        self.settle(&wake, &limits);
        Ok(Published {
            position,
            is_duplicate: false,
        })
    }

    /// Keeps a message and puts it into the inbox of each shard that is interested; which of these are to be woken.
    pub(super) fn hand_out(
        &self,
        lane: &mut Lane,
        message: &Arc<Message>,
        now: UnixMs,
        limits: &Limits,
    ) -> Vec<ShardIndex> {
        let name = message.topic();
        let Some(topic) = lane.topics.get_mut(name) else {
            return Vec::new();
        };
        if !topic.append(message, now, &limits.history) {
            return Vec::new();
        }
        let wakes =
            |shard: &ShardIndex| self.shards[usize::from(*shard)].inbox.push(message, limits);
        let wake = topic.interested().filter(wakes).collect();
        lane.published += 1;
        lane.list(name);
        wake
    }

    /// What is left to do once the lock is given back.
    pub(super) fn settle(&self, wake: &[ShardIndex], limits: &Limits) {
        for shard in wake {
            self.shards[usize::from(*shard)].inbox.wake();
        }
        if self.account.bytes() > limits.retained_bytes_max {
            self.evict(limits);
        }
    }
}
