//! What other nodes want of topics that this one numbers, and what their replicas have.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use weir_broadcast::{Encoding, Since};
use weir_core::broadcast::{Pattern, Position, TopicName, forget_ended};
use weir_proto::convert::encode_position;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::link_told::What;

use super::hub::{Hub, spawn};
use super::incoming::{self, Out};
use super::passing::Change;
use super::peer::{Down, Peer, QUEUE_MAX};
use super::wire;

/// Between two looks for what nobody wants; topics are forgotten within a second.
const TIDY_INTERVAL: Duration = Duration::from_secs(5);
/// Topics that are looked at then, for each node.
const TIDIED_AT_ONCE: usize = 4_096;
/// Messages that are sent to a replica together.
const REPLICATED_AT_ONCE: usize = 256;

impl Hub {
    /// Another node's link to this one.
    pub(super) fn is_linked(&mut self, id: u64, hello: &pb::LinkHello, out: Out) {
        let now = self.now();
        let node = &hello.node;
        let peer = self.nodes.entry(node.clone());
        let peer = peer.or_insert_with(|| Peer::new(now));
        let is_another = peer.process.is_some_and(|process| process != hello.process);
        if peer.process.replace(hello.process) != Some(hello.process) {
            // Its next process numbers messages, whatever the one before said.
            peer.has_left = false;
        }
        let connection = Rc::new(self.shard.connect(&format!("node {node}"), Encoding::Grpc));
        let (queue, queued) = mpsc::channel(QUEUE_MAX);
        let writes = incoming::write(self.mesh.clone(), Rc::clone(&connection), queued, out);
        let mut down = Down::new(id, connection, queue, spawn(writes));
        down.tell(What::Hello(self.mesh.hello()));
        if peer.down.replace(down).is_some() {
            peer.replication.freeze();
        }
        if is_another {
            // The process that relied on something is gone.
            self.opens_all(node);
        }
        self.owes(node).all = true;
    }

    /// A node wants something.
    pub(super) fn is_asked(&mut self, node: &str, id: u64, asked: pb::LinkAsked) {
        let is_current = |peer: &Peer| peer.down.as_ref().is_some_and(|down| down.id == id);
        if !self.nodes.get(node).is_some_and(is_current) {
            return;
        }
        if asked.stamp_ms > 0 {
            self.is_stamped(node, asked.stamp_ms);
        }
        for copy in asked.have {
            if let Some((topic, position)) = wire::decode_copy(copy) {
                self.knows(node, &topic, position);
            }
        }
        for name in asked.subscribe {
            self.subscribes(node, &name, true);
        }
        for name in asked.unsubscribe {
            self.subscribes(node, &name, false);
        }
        for pattern in asked.subscribe_patterns {
            self.subscribes_pattern(node, &pattern.pattern, pattern.fresh);
        }
        for pattern in asked.unsubscribe_patterns {
            self.unsubscribes_pattern(node, &pattern);
        }
        for copy in asked.confirm {
            if let Some((topic, position)) = wire::decode_copy(copy) {
                self.confirms(node, &topic, position);
            }
        }
    }

    fn is_stamped(&mut self, node: &str, made: u64) {
        let now = self.now();
        if let Some(peer) = self.nodes.get_mut(node) {
            let stamp = if peer.replication.stamp(now) { made } else { 0 };
            if let Some(down) = &mut peer.down {
                down.tell(What::StampMs(stamp));
            }
        }
    }

    /// A node knows so much of a topic: what it gets follows that, and whatever it knows and this node does not is
    /// another life.
    fn knows(&mut self, node: &str, topic: &TopicName, position: Position) {
        if let Some(down) = self.nodes.get_mut(node).and_then(|peer| peer.down.as_mut()) {
            down.note_copy(topic, position);
        }
        let is_own = self.mesh.view().is_own(topic);
        if is_own && (position.offset > 0 || self.topics.position(topic).is_some()) {
            if let Err(refused) = self.topics.outdate(topic, position, self.mesh.now()) {
                tracing::warn!(%refused, "a topic of another node is not taken");
            }
            self.settles(topic);
        }
    }

    fn subscribes(&mut self, node: &str, name: &str, wants: bool) {
        let Ok(topic) = TopicName::any(name) else {
            return;
        };
        if let Some(down) = self.nodes.get_mut(node).and_then(|peer| peer.down.as_mut()) {
            match wants {
                true => {
                    if down.active.contains(&topic) {
                        // It has it by a pattern or as the replica, and is told so again.
                        down.wants.insert(topic.clone());
                        down.connection.unsubscribe(&topic);
                        down.active.remove(&topic);
                    }
                    down.wants.insert(topic.clone());
                }
                false => _ = down.wants.remove(&topic),
            }
        }
        self.settles(&topic);
    }

    fn subscribes_pattern(&mut self, node: &str, text: &str, fresh: bool) {
        let Ok(pattern) = Pattern::new(text) else {
            return;
        };
        let max = self.topics.limits().patterns_max;
        if let Some(down) = self.nodes.get_mut(node).and_then(|peer| peer.down.as_mut()) {
            if down.patterns.len() >= max {
                tracing::warn!(node, text, max, "a node has more patterns than are taken");
                return;
            }
            down.patterns.insert(&pattern, ());
        }
        let change = if fresh { Change::Fresh } else { Change::Other };
        self.owes(node).change(&pattern, change);
    }

    fn unsubscribes_pattern(&mut self, node: &str, text: &str) {
        let Ok(pattern) = Pattern::new(text) else {
            return;
        };
        if let Some(down) = self.nodes.get_mut(node).and_then(|peer| peer.down.as_mut()) {
            down.patterns.remove(&pattern, &());
        }
        self.owes(node).change(&pattern, Change::Other);
    }

    /// Gives a topic to all nodes that are to have it, and to no other.
    pub(super) fn settles(&mut self, topic: &TopicName) {
        let nodes = self.nodes.iter().filter(|(_, peer)| peer.down.is_some());
        let nodes: Vec<_> = nodes.map(|(node, _)| node.clone()).collect();
        for node in &nodes {
            self.settle(node, topic, Since::Start);
        }
    }

    /// The same for one node; one that says nothing of what it has gets it from `since` on.
    pub(super) fn settle(&mut self, node: &str, topic: &TopicName, since: Since) {
        let view = self.mesh.view();
        let is_own = view.is_own(topic);
        let is_replica = view.replica(topic) == Some(node);
        let Some(down) = self.nodes.get_mut(node).and_then(|peer| peer.down.as_mut()) else {
            return;
        };
        let exists = self.topics.position(topic).is_some();
        let wanted = down.wants.contains(topic) || (exists && (is_replica || down.takes(topic)));
        let is_active = down.active.contains(topic);
        if is_own && wanted && !is_active {
            self.gives(node, topic, since);
        } else if is_active && !(is_own && wanted) {
            down.connection.unsubscribe(topic);
            down.active.remove(topic);
        }
    }

    /// Begins to give a topic to a node.
    fn gives(&mut self, node: &str, topic: &TopicName, since: Since) {
        let now = self.mesh.now();
        let fresh = self.passing.fresh(node, topic);
        let Some(down) = self.nodes.get_mut(node).and_then(|peer| peer.down.as_mut()) else {
            return;
        };
        // Who had the pattern before is to have all of it, or to be told what is gone; a new one begins anywhere.
        let misses_what_is_gone = down.takers(topic) > fresh;
        self.topics.take_over(topic, now);
        let copy = down.take_copy(topic);
        // What it knows and this node does not is another life: it would take nothing of this one.
        if let Some(copy) = copy
            && let Err(refused) = self.topics.outdate(topic, copy, now)
        {
            tracing::warn!(node, %topic, %refused, "a node does not get a topic");
            return;
        }
        let here = self.topics.position(topic);
        let resumes = copy.filter(|copy| {
            here.is_some_and(|here| copy.epoch == here.epoch && copy.offset <= here.offset)
        });
        let since = match (resumes, here) {
            (Some(copy), _) => Since::Position(copy),
            (None, Some(here)) if since == Since::Start && misses_what_is_gone => {
                Since::Position(Position { offset: 0, ..here })
            }
            _ => since,
        };
        let position = match down.connection.subscribe(topic, since, now) {
            Ok(position) => position,
            Err(refused) => {
                tracing::warn!(node, %topic, %refused, "a node does not get a topic");
                return;
            }
        };
        let start = match since {
            Since::Now => position,
            Since::Start => self.topics.start(topic).unwrap_or(position),
            Since::Position(position) => position,
        };
        down.active.insert(topic.clone());
        down.tell(What::Followed(pb::TopicFollowed {
            topic: topic.to_string(),
            start: Some(encode_position(start)),
            last: position.offset,
        }));
    }

    /// A replica has everything of a topic up to here.
    fn confirms(&mut self, node: &str, topic: &TopicName, position: Position) {
        let now = self.now();
        let view = self.mesh.view();
        let is_replica = view.is_own(topic) && view.replica(topic) == Some(node);
        let Some(peer) = self.nodes.get_mut(node) else {
            return;
        };
        // What waits for a node goes on waiting for it when another one is the replica.
        if !is_replica && peer.replication.sent_up_to(topic).is_none() {
            return;
        }
        let may_join = is_replica && peer.replication.may_join(now) && peer.down.is_some();
        if let Some(down) = &peer.down {
            // It is not to get it again when everybody does.
            down.connection.has(topic, position);
        }
        let epoch = self.topics.position(topic).map(|position| position.epoch);
        if epoch == Some(position.epoch) {
            peer.replication.confirmed(topic, position.offset, now);
        }
        if self
            .topics
            .confirm(topic, position, may_join, self.mesh.now())
        {
            peer.replication.join(topic, position.offset);
            if let Some(down) = &mut peer.down {
                down.tell(What::InStep(wire::encode_copy(topic, position)));
            }
        }
    }

    /// Sends to the replica of a topic what waits for it.
    pub(super) fn replicates(&mut self, topic: &TopicName) {
        let now = self.now();
        let waits = |peer: &&mut Peer| peer.replication.sent_up_to(topic).is_some();
        let Some(peer) = self.nodes.values_mut().find(waits) else {
            return;
        };
        let Some(epoch) = self.topics.position(topic).map(|position| position.epoch) else {
            return;
        };
        while let Some(sent) = peer.replication.sent_up_to(topic) {
            let (held, is_full) = self.topics.held_after(topic, sent, REPLICATED_AT_ONCE);
            if is_full {
                peer.replication.freeze();
            }
            let Some((last, _)) = held.last() else {
                return;
            };
            let last = weir_core::broadcast::Facts::position(last).offset;
            if let Some(down) = &mut peer.down {
                down.tell(What::Replicate(wire::encode_held(topic, epoch, held)));
            }
            peer.replication.sent(topic, last, now);
        }
    }

    /// Takes topics from replicas that nobody wants anything of, so that this node forgets them; what somebody
    /// publishes to meanwhile is given again.
    pub(super) fn tidies(&mut self) {
        let now = self.now();
        if now.saturating_sub(self.tidied_at) < TIDY_INTERVAL {
            return;
        }
        self.tidied_at = now;
        self.forgets_ended();
        for topic in std::mem::take(&mut self.tidied) {
            if self.topics.position(&topic).is_some() {
                self.settles(&topic);
            }
        }
        for topic in self.topics.held_by_links(self.mesh.now()) {
            let downs = self
                .nodes
                .values_mut()
                .filter_map(|peer| peer.down.as_mut());
            for down in downs.filter(|down| !down.wants.contains(&topic)) {
                if down.active.remove(&topic) {
                    down.connection.unsubscribe(&topic);
                }
            }
            self.tidied.push(topic);
        }
    }

    /// Forgets what is known of other nodes' part in topics that are none any more.
    fn forgets_ended(&mut self) {
        let topics = std::sync::Arc::clone(&self.topics);
        let is_known = |topic: &TopicName| topics.position(topic).is_some();
        for peer in self.nodes.values_mut() {
            peer.replication.forget_ended(TIDIED_AT_ONCE, is_known);
            let looked = &mut peer.in_step_looked;
            forget_ended(&mut peer.in_step, looked, TIDIED_AT_ONCE, is_known);
        }
    }

    /// Does without replicas that take too long.
    pub(super) fn checks_replicas(&mut self) {
        let (now, unix_now) = (self.now(), self.mesh.now());
        for (node, peer) in &mut self.nodes {
            let topics = peer.replication.check(now);
            if topics.is_empty() {
                continue;
            }
            tracing::info!(node, topics = topics.len(), "a replica is not waited for");
            // It is told before anybody is given something that it does not have.
            if let Some(down) = &mut peer.down {
                down.tell(What::OutOfStep(true));
            }
            for topic in &topics {
                self.topics.open(topic, unix_now);
            }
        }
    }

    /// A replica's process is gone: nothing waits for it.
    pub(super) fn opens_all(&mut self, node: &str) {
        let now = self.mesh.now();
        let topics = self.nodes.get_mut(node).map(|peer| peer.replication.end());
        for topic in topics.unwrap_or_default() {
            self.topics.open(&topic, now);
        }
    }
}
