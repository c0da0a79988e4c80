//! What this node wants of topics that others number, and what it is told of them.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;
use weir_core::broadcast::{Epoch, Position, TopicName};
use weir_proto::convert::decode_position;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::delivery::What as Delivered;
use weir_proto::node::v1::link_told::What;

use super::View;
use super::hub::Hub;
use super::wire::{self, WireError};

/// How long a topic is followed after the last subscriber left.
const LINGER: Duration = Duration::from_secs(30);
/// Between two times that others are told which patterns came and went.
const PATTERNS_INTERVAL: Duration = Duration::from_millis(50);
/// Topics of one message.
const TOPICS_AT_ONCE: usize = 1_000;
/// Subscribers who may wait for one topic.
const WAITERS_MAX: usize = 4_096;

/// A topic that somebody of this node wants by name.
#[derive(Debug, Default)]
pub(super) struct Followed {
    is_wanted: bool,
    /// Until when it is followed if nobody wants it.
    until: Duration,
    /// Who was asked for it.
    asked: Option<String>,
    /// What the owner had when it was asked; reached or not.
    target: Option<(Epoch, u64)>,
    in_step: bool,
    waiters: Vec<oneshot::Sender<()>>,
}

impl Followed {
    /// A node's link ended.
    pub(super) fn lost(&mut self, node: &str) {
        if self.asked.as_deref() == Some(node) {
            (self.asked, self.target, self.in_step) = (None, None, false);
        }
    }

    fn arrives(&mut self) {
        self.in_step = true;
        for waiter in self.waiters.drain(..) {
            // Who waited may have gone.
            let _ = waiter.send(());
        }
    }
}

impl Hub {
    /// Somebody waits for a topic.
    pub(super) fn follow(&mut self, topic: &TopicName, waiter: oneshot::Sender<()>) {
        let until = self.now() + LINGER;
        let followed = self.followed.entry(topic.clone()).or_default();
        followed.until = until;
        followed.waiters.retain(|waiter| !waiter.is_closed());
        if followed.waiters.len() < WAITERS_MAX {
            followed.waiters.push(waiter);
        }
        self.asks_for(topic);
    }

    /// Whether somebody wants a topic by name may have changed.
    pub(super) fn wants(&mut self, topic: &TopicName) {
        let wanted = self.topics.is_wanted(topic);
        let until = self.now() + LINGER;
        match self.followed.get_mut(topic) {
            Some(followed) if followed.is_wanted != wanted => {
                (followed.is_wanted, followed.until) = (wanted, until);
            }
            None if wanted => {
                let followed = Followed {
                    is_wanted: true,
                    ..Followed::default()
                };
                self.followed.insert(topic.clone(), followed);
            }
            _ => return,
        }
        self.asks_for(topic);
    }

    /// Asks the owner of a topic for it, unless it was asked.
    fn asks_for(&mut self, topic: &TopicName) {
        let view = self.mesh.view();
        let Some(followed) = self.followed.get_mut(topic) else {
            return;
        };
        let owner = view.owner(topic);
        if owner == &*view.node {
            followed.asked = None;
            return followed.arrives();
        }
        if followed.asked.as_deref() == Some(owner) {
            if followed.in_step {
                followed.arrives();
            }
            return;
        }
        if let Some(before) = followed
            .asked
            .take()
            .and_then(|node| self.nodes.get_mut(&node))
        {
            before.ask(pb::LinkAsked {
                unsubscribe: vec![topic.to_string()],
                ..pb::LinkAsked::default()
            });
        }
        (followed.in_step, followed.target) = (false, None);
        if let Some(peer) = self.nodes.get_mut(owner)
            && peer.asks.is_some()
        {
            followed.asked = Some(owner.to_owned());
            let copy = self.topics.known(topic);
            let copy = copy.map(|position| wire::encode_copy(topic, position));
            peer.ask(pb::LinkAsked {
                have: copy.into_iter().collect(),
                subscribe: vec![topic.to_string()],
                ..pb::LinkAsked::default()
            });
        }
    }

    /// Asks for everything that is followed, where that is another node now.
    pub(super) fn follows_again(&mut self) {
        let topics: Vec<_> = self.followed.keys().cloned().collect();
        for topic in &topics {
            self.asks_for(topic);
        }
    }

    /// A link is up: what this node has and wants.
    pub(super) fn greet(&mut self, node: &str) {
        let view = self.mesh.view();
        let topics = self.all_topics();
        let topics: Vec<_> = topics
            .iter()
            .filter(|topic| view.owner(topic) == node)
            .collect();
        self.tells_copies_to(node, &topics);
        let patterns = self.patterns.iter().map(|pattern| pb::LinkPattern {
            pattern: pattern.to_string(),
            fresh: false,
        });
        let asked = pb::LinkAsked {
            subscribe_patterns: patterns.collect(),
            ..pb::LinkAsked::default()
        };
        if let Some(peer) = self.nodes.get_mut(node) {
            peer.ask(asked);
        }
        self.follows_again();
    }

    /// Tells new owners what this node has of their topics.
    pub(super) fn tells_copies(&mut self, topics: &[TopicName], before: &View) {
        let view = self.mesh.view();
        for node in view.live.iter().filter(|node| **node != *view.node) {
            let moved = topics
                .iter()
                .filter(|topic| view.owner(topic) == node && before.owner(topic) != node);
            let moved: Vec<_> = moved.collect();
            self.tells_copies_to(node, &moved);
        }
    }

    fn tells_copies_to(&mut self, node: &str, topics: &[&TopicName]) {
        let Some(peer) = self.nodes.get_mut(node) else {
            return;
        };
        for topics in topics.chunks(TOPICS_AT_ONCE) {
            let copies = topics.iter().filter_map(|topic| {
                let position = self.topics.known(topic)?;
                Some(wire::encode_copy(topic, position))
            });
            peer.ask(pb::LinkAsked {
                have: copies.collect(),
                ..pb::LinkAsked::default()
            });
        }
    }

    /// Local patterns came or went: the others are told what all changes together are, now and then.
    pub(super) fn changes_patterns(&mut self) {
        let now = self.now();
        let is_first = self.patterns_told_at == Duration::ZERO;
        let is_due = is_first || now.saturating_sub(self.patterns_told_at) >= PATTERNS_INTERVAL;
        if !self.patterns_changed || !is_due {
            return;
        }
        (self.patterns_changed, self.patterns_told_at) = (false, now);
        let patterns = self.topics.local_patterns();
        let added = patterns
            .difference(&self.patterns)
            .map(|pattern| pb::LinkPattern {
                pattern: pattern.to_string(),
                fresh: true,
            });
        let gone = self.patterns.difference(&patterns).map(ToString::to_string);
        let asked = pb::LinkAsked {
            subscribe_patterns: added.collect(),
            unsubscribe_patterns: gone.collect(),
            ..pb::LinkAsked::default()
        };
        for peer in self.nodes.values_mut() {
            peer.ask(asked.clone());
        }
        self.patterns = patterns;
    }

    /// Something came from a node.
    pub(super) fn is_told(&mut self, node: &str, what: What) {
        let topics = match self.takes(node, what) {
            Ok(topics) => topics,
            Err(error) => {
                tracing::warn!(node, %error, "what a node says is not understood");
                return;
            }
        };
        let view = self.mesh.view();
        let mut confirm = Vec::new();
        for topic in &topics {
            self.may_arrive(topic);
            if view.owner(topic) == node
                && view.replica(topic) == Some(&*view.node)
                && let Some(position) = self.topics.known(topic)
            {
                confirm.push(wire::encode_copy(topic, position));
            }
        }
        if let Some(peer) = self.nodes.get_mut(node)
            && !confirm.is_empty()
        {
            peer.ask(pb::LinkAsked {
                confirm,
                ..pb::LinkAsked::default()
            });
        }
    }

    /// Takes what came; of which topics it was.
    fn takes(&mut self, node: &str, what: What) -> Result<BTreeSet<TopicName>, WireError> {
        let now = self.mesh.now();
        match what {
            What::Delivery(bytes) => return self.takes_delivery(node, bytes),
            What::Followed(followed) => {
                let topic = TopicName::any(&followed.topic)?;
                let start = decode_position(followed.start.unwrap_or_default());
                self.topics.follow(&topic, start, now)?;
                self.knows_later(node, &topic, start.epoch);
                if let Some(waits) = self.followed.get_mut(&topic)
                    && waits.asked.as_deref() == Some(node)
                {
                    waits.target = Some((start.epoch, followed.last));
                }
                return Ok(BTreeSet::from([topic]));
            }
            What::Replicate(held) => {
                let (topic, messages) = wire::decode_held(held)?;
                for remote in messages {
                    let follows = Position {
                        offset: remote.after,
                        ..remote.position
                    };
                    if self.topics.known(&topic) == Some(follows) {
                        self.topics.accept(remote, now)?;
                    }
                }
                return Ok(BTreeSet::from([topic]));
            }
            What::Hello(_) => {}
            What::InStep(_) | What::OutOfStep(_) | What::StampMs(_) | What::Goodbye(_) => {
                return Ok(self.stands(node, what));
            }
        }
        Ok(BTreeSet::new())
    }

    /// How this node stands as a replica; the topics that it is to confirm.
    fn stands(&mut self, node: &str, what: What) -> BTreeSet<TopicName> {
        let Some(peer) = self.nodes.get_mut(node) else {
            return BTreeSet::new();
        };
        match what {
            What::InStep(copy) => {
                if let Some((topic, position)) = wire::decode_copy(copy) {
                    peer.in_step.insert(topic, position.epoch);
                }
            }
            What::OutOfStep(_) => {
                return std::mem::take(&mut peer.in_step).into_keys().collect();
            }
            What::StampMs(made) if made > 0 => peer.stamp = Some(Duration::from_millis(made)),
            What::Goodbye(_) => {
                peer.has_left = true;
                // It goes on with nothing any more, so it relies on nothing.
                self.opens_all(node);
                self.renew();
            }
            _ => {}
        }
        BTreeSet::new()
    }

    /// Answers an owner that begins with an epoch before the one that is known here: it is to begin one after both, or
    /// nothing of what it says would be taken.
    fn knows_later(&mut self, node: &str, topic: &TopicName, told: Epoch) {
        if let Some(here) = self.topics.known(topic)
            && told < here.epoch
            && let Some(peer) = self.nodes.get_mut(node)
        {
            peer.ask(pb::LinkAsked {
                have: vec![wire::encode_copy(topic, here)],
                ..pb::LinkAsked::default()
            });
        }
    }

    fn takes_delivery(
        &mut self,
        node: &str,
        bytes: bytes::Bytes,
    ) -> Result<BTreeSet<TopicName>, WireError> {
        let now = self.mesh.now();
        let topic = match wire::decode_delivery(bytes)? {
            Some(Delivered::Batch(batch)) => {
                let topic = TopicName::any(&batch.topic)?;
                let is_numbered = batch.messages.iter().any(|message| message.offset > 0);
                if is_numbered {
                    self.knows_later(node, &topic, Epoch(batch.epoch));
                }
                for remote in wire::decode_batch(batch)? {
                    self.topics.accept(remote, now)?;
                }
                topic
            }
            Some(Delivered::Gap(gap)) => {
                let topic = TopicName::any(&gap.topic)?;
                let to = Position {
                    epoch: Epoch(gap.epoch),
                    offset: gap.to,
                };
                self.topics.skip(&topic, to, now)?;
                topic
            }
            Some(Delivered::Recovered(recovered)) => {
                let topic = TopicName::any(&recovered.topic)?;
                if !recovered.ok {
                    let start = decode_position(recovered.position.unwrap_or_default());
                    self.topics.follow(&topic, start, now)?;
                    self.knows_later(node, &topic, start.epoch);
                }
                topic
            }
            _ => return Ok(BTreeSet::new()),
        };
        Ok(BTreeSet::from([topic]))
    }

    /// Whether a followed topic has what the owner had when it was asked.
    fn may_arrive(&mut self, topic: &TopicName) {
        if let Some(followed) = self.followed.get_mut(topic)
            && let Some((epoch, last)) = followed.target
            && let Some(here) = self.topics.known(topic)
            && (here.epoch > epoch || (here.epoch == epoch && here.offset >= last))
        {
            followed.arrives();
        }
    }

    /// Forgets what nobody wanted for a while.
    pub(super) fn expires(&mut self) {
        let now = self.now();
        let nodes = &mut self.nodes;
        self.followed.retain(|topic, followed| {
            let keeps = followed.is_wanted || now < followed.until;
            if !keeps
                && let Some(peer) = followed.asked.as_ref().and_then(|node| nodes.get_mut(node))
            {
                peer.ask(pb::LinkAsked {
                    unsubscribe: vec![topic.to_string()],
                    ..pb::LinkAsked::default()
                });
            }
            keeps
        });
    }
}
