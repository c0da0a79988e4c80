//! Topics that another node numbers, and their change of hands.
//!
//! Epochs of a topic rise: of two lives that nodes know of, the greater one is the topic's. So whatever order their
//! words come in, and whoever else numbered meanwhile, a copy never goes back.

use weir_core::broadcast::{Epoch, Position, Refused, TopicName};
use weir_core::cache::UnixMs;

use super::held::HeldMessage;
use super::lane::Lane;
use super::topic::Numbering;
use super::{ShardIndex, Topics};
use crate::message::{Message, Remote};

impl Topics {
    /// Takes a message that the owner of its topic has numbered; whether it is new. One of an earlier epoch than is
    /// known is not; one of a later epoch begins a new life of the topic.
    ///
    /// # Errors
    ///
    /// When something of it does not do, its position is none that nodes tell, or there are too many topics.
    pub fn accept(&self, remote: Remote, now: UnixMs) -> Result<bool, Refused> {
        let limits = self.limits.load();
        remote.draft.check(&limits)?;
        remote.position.check_told(now)?;
        let name = remote.draft.topic.clone();
        let mut lane = self.lane(&name);
        let position = remote.position;
        let numbered = remote.draft.class.is_numbered();
        let mut wake = Vec::new();
        if numbered {
            let start = Position {
                epoch: position.epoch,
                offset: remote.after.min(position.offset.saturating_sub(1)),
            };
            wake = self.mirror(&mut lane, &name, start, now)?;
        }
        let topic = self.topic(&mut lane, &name, now)?;
        let here = topic.position();
        if numbered && (position.epoch != here.epoch || position.offset <= here.offset) {
            drop(lane);
            self.settle(&wake, &limits);
            return Ok(false);
        }
        if let Some(key) = remote.draft.idempotency_key.as_deref() {
            topic.recent.remember(key, position.offset, now);
            topic.charge_keys(&self.account);
        }
        let position = match numbered {
            true => position,
            false => Position { offset: 0, ..here },
        };
        let account = self.account.clone();
        let message = Message::new(
            remote.draft,
            position,
            remote.after,
            remote.published_at,
            account,
        );
        wake.extend(self.hand_out(&mut lane, &message, now, &limits));
        drop(lane);
        self.settle(&wake, &limits);
        Ok(true)
    }

    /// The owner says where the topic begins for this node: a copy of another life is given up for it, unless it is of
    /// a later one.
    ///
    /// # Errors
    ///
    /// When it is no position that nodes tell, or there are too many topics.
    pub fn follow(&self, name: &TopicName, start: Position, now: UnixMs) -> Result<(), Refused> {
        start.check_told(now)?;
        let limits = self.limits.load();
        let mut lane = self.lane(name);
        let wake = self.mirror(&mut lane, name, start, now)?;
        drop(lane);
        self.settle(&wake, &limits);
        Ok(())
    }

    /// The owner says that everything up to here is gone.
    ///
    /// # Errors
    ///
    /// When it is an offset that no node tells.
    pub fn skip(&self, name: &TopicName, to: Position, now: UnixMs) -> Result<(), Refused> {
        to.check_told(now)?;
        let mut lane = self.lane(name);
        let Some(topic) = lane.topics.get_mut(name) else {
            return Ok(());
        };
        let before = topic.position();
        if before.epoch != to.epoch
            || topic.numbering != Numbering::Mirror
            || !topic.history.skip(to.offset)
        {
            return Ok(());
        }
        let wake = self.to_interested(name, topic, |inbox| inbox.unsettle(name, before));
        drop(lane);
        for shard in wake {
            self.inbox(shard).wake();
        }
        Ok(())
    }

    /// This node numbers the topic from here on, with the epoch in which another node did: the caller has made sure
    /// that nothing is missing here that anybody was given.
    pub fn go_on(&self, name: &TopicName) {
        if let Some(topic) = self.lane(name).topics.get_mut(name)
            && topic.numbering == Numbering::Mirror
        {
            topic.numbering = Numbering::Own;
        }
    }

    /// This node numbers the topic from here on, and does not have all that was given out of its copy: it begins a new
    /// life.
    pub fn take_over(&self, name: &TopicName, now: UnixMs) {
        let limits = self.limits.load();
        let mut lane = self.lane(name);
        if lane.topics.contains_key(name) {
            let wake = self.own(&mut lane, name, now).unwrap_or_default();
            drop(lane);
            self.settle(&wake, &limits);
        }
    }

    /// Somebody knows of this life of a topic that this node numbers; if it is a later one, or a part of this one that
    /// this node does not have, a new life begins after both.
    ///
    /// # Errors
    ///
    /// When it is no position that nodes tell, or there are too many topics.
    pub fn outdate(&self, name: &TopicName, known: Position, now: UnixMs) -> Result<(), Refused> {
        known.check_told(now)?;
        let limits = self.limits.load();
        let mut lane = self.lane(name);
        let mut wake = self.own(&mut lane, name, now)?;
        let here = self.topic(&mut lane, name, now)?.numbered();
        let is_older =
            here.epoch < known.epoch || (here.epoch == known.epoch && here.offset < known.offset);
        if is_older {
            wake.extend(self.begin(&mut lane, name, known.epoch));
        }
        drop(lane);
        self.settle(&wake, &limits);
        Ok(())
    }

    /// Begins a new life of a topic: whoever takes it over does not have all that was acknowledged.
    pub fn restart(&self, name: &TopicName) {
        let mut lane = self.lane(name);
        let Some(epoch) = lane.topics.get(name).map(|topic| topic.position().epoch) else {
            return;
        };
        let shards = self.begin(&mut lane, name, epoch);
        drop(lane);
        for shard in shards {
            self.inbox(shard).wake();
        }
    }

    /// Whether a topic is a copy of another node's.
    pub fn is_mirror(&self, name: &TopicName) -> bool {
        let lane = self.lane(name);
        let topic = lane.topics.get(name);
        topic.is_some_and(|topic| topic.numbering == Numbering::Mirror)
    }

    /// Where a topic is, unless nobody has numbered it yet.
    pub fn known(&self, name: &TopicName) -> Option<Position> {
        let lane = self.lane(name);
        let topic = lane.topics.get(name)?;
        (topic.numbering != Numbering::Unborn).then(|| topic.position())
    }

    /// The replica has everything up to here: publishers who wait are told, and what was held back goes out. Whether
    /// from now on messages wait for it, since it has everything and may join.
    pub fn confirm(&self, name: &TopicName, has: Position, may_join: bool, now: UnixMs) -> bool {
        let limits = self.limits.load();
        let mut lane = self.lane(name);
        let Some(topic) = lane.topics.get_mut(name) else {
            return false;
        };
        if topic.numbering == Numbering::Mirror || topic.position().epoch != has.epoch {
            return false;
        }
        let free = topic.held.confirm(has.offset);
        let wake = free
            .iter()
            .flat_map(|message| self.hand_out(&mut lane, message, now, &limits));
        let wake: Vec<_> = wake.collect();
        let topic = lane.topics.get_mut(name).expect("it is there");
        let joins = may_join && !topic.held.is_on() && topic.position() == has;
        if joins {
            topic.held.hold();
        }
        drop(lane);
        self.settle(&wake, &limits);
        joins
    }

    /// From here on nothing waits for the replica, and what does goes out.
    pub fn open(&self, name: &TopicName, now: UnixMs) {
        let limits = self.limits.load();
        let mut lane = self.lane(name);
        let Some(topic) = lane.topics.get_mut(name) else {
            return;
        };
        let free = topic.held.open();
        let wake = free
            .iter()
            .flat_map(|message| self.hand_out(&mut lane, message, now, &limits));
        let wake: Vec<_> = wake.collect();
        drop(lane);
        self.settle(&wake, &limits);
    }

    /// Messages that wait for the replica, after this offset, and whether too many do.
    pub fn held_after(
        &self,
        name: &TopicName,
        offset: u64,
        count: usize,
    ) -> (Vec<HeldMessage>, bool) {
        let limits = self.limits.load();
        let lane = self.lane(name);
        lane.topics
            .get(name)
            .map_or_else(Default::default, |topic| {
                (topic.held.after(offset, count), topic.held.is_full(&limits))
            })
    }

    /// Whether anything waits for a replica.
    pub fn is_holding(&self) -> bool {
        let waits = |topic: &super::Topic| !topic.held.is_empty();
        self.lanes
            .iter()
            .any(|lane| lane.lock().topics.values().any(waits))
    }

    /// Makes a topic this node's own; one of another node begins a new life.
    pub(super) fn own(
        &self,
        lane: &mut Lane,
        name: &TopicName,
        now: UnixMs,
    ) -> Result<Vec<ShardIndex>, Refused> {
        let topic = self.topic(lane, name, now)?;
        let before = std::mem::replace(&mut topic.numbering, Numbering::Own);
        let epoch = topic.position().epoch;
        Ok(match before {
            Numbering::Mirror => self.begin(lane, name, epoch),
            Numbering::Unborn | Numbering::Own => Vec::new(),
        })
    }

    /// Begins a life after this epoch, as this node's own; the shards that are to be woken.
    fn begin(&self, lane: &mut Lane, name: &TopicName, after: Epoch) -> Vec<ShardIndex> {
        let epoch = lane.next_epoch(after);
        let Some(topic) = lane.topics.get_mut(name) else {
            return Vec::new();
        };
        topic.restart(epoch, 0);
        topic.numbering = Numbering::Own;
        self.unsettle(topic, name)
    }

    /// Makes a topic a copy that begins here, unless it is one of this life or a later one.
    fn mirror(
        &self,
        lane: &mut Lane,
        name: &TopicName,
        start: Position,
        now: UnixMs,
    ) -> Result<Vec<ShardIndex>, Refused> {
        let topic = self.topic(lane, name, now)?;
        let here = topic.position().epoch;
        if topic.numbering != Numbering::Unborn && start.epoch < here {
            return Ok(Vec::new());
        }
        if std::mem::replace(&mut topic.numbering, Numbering::Mirror) == Numbering::Own {
            // Whoever numbers it now does not know of what waits here.
            topic.held.forget();
        }
        if start.epoch == here {
            return Ok(Vec::new());
        }
        topic.restart(start.epoch, start.offset);
        Ok(self.unsettle(topic, name))
    }

    /// Tells the shards that a topic is another one; those that are to be woken.
    fn unsettle(&self, topic: &mut super::Topic, name: &TopicName) -> Vec<ShardIndex> {
        let from = topic.position();
        self.to_interested(name, topic, |inbox| inbox.unsettle(name, from))
    }
}
