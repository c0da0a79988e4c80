//! The way of a message into its topic and to the shards.

use std::sync::Arc;

use tokio::sync::oneshot;
use weir_core::broadcast::{Limits, Position, Refused, TopicName};
use weir_core::cache::UnixMs;

use super::inbox::Pushed;
use super::lane::Lane;
use super::{Inbox, Published, ShardIndex, Topic, Topics};
use crate::message::{Draft, Message};

impl Topics {
    /// Publishes a message on the node that numbers its topic. Where another node numbered it before, its new life
    /// begins: see [`Self::go_on`].
    ///
    /// # Errors
    ///
    /// When something of it does not do, or there are too many topics.
    pub fn publish(&self, draft: Draft, now: UnixMs) -> Result<Published, Refused> {
        Ok(self.number(draft, now, None)?.0)
    }

    /// The same, and whether the replica has it, once that is known: [`Self::confirm`] tells. `None` for a message
    /// that is not numbered.
    ///
    /// # Errors
    ///
    /// As [`Self::publish`].
    pub fn publish_confirmed(
        &self,
        draft: Draft,
        now: UnixMs,
    ) -> Result<(Published, Option<oneshot::Receiver<()>>), Refused> {
        let (confirmed, receiver) = oneshot::channel();
        let (published, waits) = self.number(draft, now, Some(confirmed))?;
        Ok((published, waits.then_some(receiver)))
    }

    /// Whether a message would do.
    ///
    /// # Errors
    ///
    /// The first thing about it that does not.
    pub fn check(&self, draft: &Draft) -> Result<(), Refused> {
        draft.check(&self.limits.load())
    }

    fn number(
        &self,
        draft: Draft,
        now: UnixMs,
        confirmed: Option<oneshot::Sender<()>>,
    ) -> Result<(Published, bool), Refused> {
        let limits = self.limits.load();
        draft.check(&limits)?;
        let name = draft.topic.clone();
        let mut lane = self.lane(&name);
        let mut wake = self.own(&mut lane, &name, now)?;
        let topic = self.topic(&mut lane, &name, now)?;
        topic.recent.forget_old(now);
        let key = draft.idempotency_key.clone();
        let last = topic.numbered();
        if let Some(offset) = key.as_ref().and_then(|key| topic.recent.find(key)) {
            let waits = topic.held.wait(offset, confirmed);
            let position = Position { offset, ..last };
            drop(lane);
            self.settle(&wake, &limits);
            let is_duplicate = true;
            return Ok((
                Published {
                    position,
                    is_duplicate,
                },
                waits,
            ));
        }
        let numbered = draft.class.is_numbered();
        if numbered {
            topic.held.check_room(draft.data.len(), &limits)?;
        }
        let offset = if numbered { last.offset + 1 } else { 0 };
        let position = Position { offset, ..last };
        if let Some(key) = &key {
            topic.recent.remember(key, offset, now);
        }
        topic.charge_keys(&self.account);
        let waits = numbered && topic.held.wait(offset, confirmed);
        let holds = numbered && topic.held.is_on();
        let after = if numbered {
            last.offset
        } else {
            topic.position().offset
        };
        let message = Message::new(draft, position, after, now, self.account.clone());
        if holds {
            topic.touched_at = now;
            topic.held.push(message, key);
        } else {
            wake.extend(self.hand_out(&mut lane, &message, now, &limits));
        }
        drop(lane);
        if holds {
            self.changes.note(&name);
        }
        self.settle(&wake, &limits);
        let is_duplicate = false;
        Ok((
            Published {
                position,
                is_duplicate,
            },
            waits,
        ))
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
        let wake = self.to_interested(name, topic, |inbox| inbox.push(message, limits));
        lane.published += 1;
        lane.list(name);
        wake
    }

    /// Puts something into the inbox of each shard that is interested; which of these are to be woken.
    pub(super) fn to_interested(
        &self,
        name: &TopicName,
        topic: &mut Topic,
        push: impl Fn(&Inbox) -> Pushed,
    ) -> Vec<ShardIndex> {
        self.match_again(name, topic);
        let pushed = |shard: ShardIndex| (shard, push(self.inbox(shard)));
        let pushed: Vec<_> = topic.interested().map(pushed).collect();
        for (shard, pushed) in &pushed {
            if let Some(from) = pushed.misses {
                topic.note_missed(*shard, from);
            }
        }
        let wakes = pushed.into_iter().filter(|(_, pushed)| pushed.wakes);
        wakes.map(|(shard, _)| shard).collect()
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
