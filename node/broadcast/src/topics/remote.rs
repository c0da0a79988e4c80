//! Topics that another node numbers.

use weir_core::broadcast::{Position, Refused, TopicName};
use weir_core::cache::UnixMs;

use super::Topics;
use crate::message::{Message, Remote};

impl Topics {
    /// Takes a message that the owner of its topic has numbered; whether it is new. The caller has made sure that it
    /// comes from the owner: another epoch than before begins a new life of the topic, whichever was first.
    ///
    /// # Errors
    ///
    /// When something of it does not do, or there are too many topics.
    pub fn accept(&self, remote: Remote, now: UnixMs) -> Result<bool, Refused> {
        let limits = self.limits.load();
        remote.draft.check(&limits)?;
        let name = remote.draft.topic.clone();
        let mut lane = self.lane(&name);
        let topic = self.topic(&mut lane, &name, now)?;
        let position = remote.position;
        let numbered = remote.draft.class.is_numbered();
        let before = topic.position();
        if numbered && position.epoch != before.epoch {
            topic.restart(
                position.epoch,
                remote.after.min(position.offset.saturating_sub(1)),
            );
        } else if numbered && position.offset <= before.offset {
            return Ok(false);
        }
        let position = match numbered {
            true => position,
            false => Position {
                offset: 0,
                ..topic.position()
            },
        };
        let message = Message::new(
            remote.draft,
            position,
            remote.after,
            remote.published_at,
            self.account.clone(),
        );
        let wake = self.hand_out(&mut lane, &message, now, &limits);
        drop(lane);
        self.settle(&wake, &limits);
        Ok(true)
    }

    /// Begins a new life of a topic: whoever takes it over does not have all that was acknowledged.
    pub fn restart(&self, name: &TopicName) {
        let mut lane = self.lane(name);
        let epoch = lane.draw_epoch();
        let Some(topic) = lane.topics.get_mut(name) else {
            return;
        };
        topic.restart(epoch, 0);
        let from = topic.position();
        let shards: Vec<_> = topic.interested().collect();
        for shard in &shards {
            self.inbox(*shard).unsettle(name, from);
        }
        drop(lane);
        for shard in shards {
            self.inbox(shard).wake();
        }
    }
}
