//! Subscribers and topics of one thread.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use slab::Slab;
use weir_core::broadcast::{Limits, PatternTrie, Position, Ready, TopicName};
use weir_core::cache::UnixMs;

use super::local::Local;
use crate::counters::Counters;
use crate::message::Message;
use crate::outbox::{Context, Outbox, Subscription};
use crate::topics::{ShardIndex, Topics};

/// Everything of one thread.
pub(crate) struct State {
    pub(super) topics: Arc<Topics>,
    pub(super) index: ShardIndex,
    pub(super) counters: Arc<Counters>,
    /// The limits in force here, and the node's that they were made of.
    pub(super) limits: Arc<Limits>,
    of_topics: Arc<Limits>,
    /// Connections are other nodes.
    has_links: bool,
    pub(super) outboxes: Slab<Outbox>,
    pub(super) locals: Slab<Local>,
    pub(super) by_name: HashMap<TopicName, usize>,
    pub(super) patterns: PatternTrie<usize>,
    pub(super) incoming: VecDeque<Arc<Message>>,
    /// Topics of which batches are on their way, each once.
    pub(super) spread: VecDeque<usize>,
    /// When which topic's batcher is to be looked at.
    pub(super) due: BTreeSet<(UnixMs, usize)>,
    /// Subscriptions that are ahead of this node, and until when they wait for it, in the order of that.
    pub(super) ahead: VecDeque<(UnixMs, usize, usize)>,
    pub(super) tick_at: UnixMs,
    pub(super) ready: Vec<Ready<Arc<Message>>>,
    pub(super) next_id: u64,
}

impl State {
    pub(super) fn new(topics: &Arc<Topics>, index: ShardIndex) -> Self {
        Self {
            counters: topics.shard_counters(index),
            limits: topics.limits(),
            of_topics: topics.limits(),
            has_links: false,
            topics: Arc::clone(topics),
            index,
            outboxes: Slab::new(),
            locals: Slab::new(),
            by_name: HashMap::new(),
            patterns: PatternTrie::default(),
            incoming: VecDeque::new(),
            spread: VecDeque::new(),
            due: BTreeSet::new(),
            ahead: VecDeque::new(),
            tick_at: UnixMs::default(),
            ready: Vec::new(),
            next_id: u64::from(index) << 48,
        }
    }

    /// From here on connections are other nodes: nothing waits for more, and one has as many topics as there are.
    pub(super) fn serve_links(&mut self) {
        self.has_links = true;
        self.limits = Arc::new(of_links(&self.of_topics));
    }

    /// Takes up the limits in force.
    pub(super) fn renew_limits(&mut self) {
        let of_topics = self.topics.limits();
        if Arc::ptr_eq(&of_topics, &self.of_topics) {
            return;
        }
        self.limits = match self.has_links {
            true => Arc::new(of_links(&of_topics)),
            false => Arc::clone(&of_topics),
        };
        self.of_topics = of_topics;
    }

    pub(super) fn context<'a>(
        counters: &'a Counters,
        limits: &'a Limits,
        now: UnixMs,
    ) -> Context<'a> {
        Context {
            now,
            limits: &limits.outbox,
            deflate_bytes_min: limits.deflate_bytes_min,
            counters,
            is_last: false,
        }
    }

    /// The topic as it is known here; known from `position` on if it was not.
    pub(super) fn local(&mut self, name: &TopicName, position: Position, now: UnixMs) -> usize {
        if let Some(local) = self.by_name.get(name) {
            return *local;
        }
        let local = self.locals.insert(Local::new(name, position, now));
        self.by_name.insert(name.clone(), local);
        local
    }

    /// Makes everybody whose patterns take a topic a member of it, from the first message on that came here. They read
    /// it from history: what came may be older than what others have asked for by name.
    pub(super) fn match_patterns(&mut self, local: usize, first: Position) {
        let Some(topic) = self.locals.get_mut(local) else {
            return;
        };
        if std::mem::replace(&mut topic.is_matched, true) {
            return;
        }
        let lags = topic.batcher.seen() > first.offset || topic.batcher.epoch() != first.epoch;
        for outbox in self.patterns.takers(&topic.name) {
            let is_new = |outbox: &crate::outbox::Outbox| !outbox.by_local.contains_key(&local);
            if self.outboxes.get(outbox).is_some_and(is_new)
                && let Some(slot) = self.attach(outbox, local, first, false)
                && lags
                && let Some(outbox) = self.outboxes.get_mut(outbox)
            {
                outbox.fall_behind(slot, &self.counters);
            }
        }
    }

    /// Makes an outbox a member of a topic, unless it is one; its subscription.
    pub(super) fn attach(
        &mut self,
        outbox: usize,
        local: usize,
        position: Position,
        named: bool,
    ) -> Option<usize> {
        let found = self.outboxes.get_mut(outbox)?;
        if let Some(slot) = found.by_local.get(&local) {
            return Some(*slot);
        }
        if found.subscriptions.len() >= self.limits.connection_matches_max {
            found.cut(
                weir_core::broadcast::CutReason::TooManyTopics,
                &self.counters,
            );
            return None;
        }
        let topic = self.locals.get_mut(local)?;
        let mut subscription = Subscription::at(local, position, named);
        subscription.member = topic.members.len();
        let slot = found.subscriptions.insert(subscription);
        found.by_local.insert(local, slot);
        topic.members.push((outbox, slot));
        Some(slot)
    }

    /// Ends the membership of an outbox in a topic.
    pub(super) fn detach(&mut self, outbox: usize, slot: usize) {
        let Some(removed) = self
            .outboxes
            .get_mut(outbox)
            .and_then(|found| found.remove(slot))
        else {
            return;
        };
        let Some(topic) = self.locals.get_mut(removed.local) else {
            return;
        };
        topic.members.swap_remove(removed.member);
        if let Some((moved, slot)) = topic.members.get(removed.member).copied()
            && let Some(moved) = self.outboxes.get_mut(moved)
        {
            if let Some(subscription) = moved.subscriptions.get_mut(slot) {
                subscription.member = removed.member;
            }
            if removed.member < topic.spread.next {
                // What is on its way has passed its new place.
                let context = Self::context(&self.counters, &self.limits, topic.touched_at);
                for batch in &topic.spread.batches {
                    moved.offer(slot, batch, context);
                }
            }
        }
        if removed.named {
            self.unname(removed.local);
        }
    }

    /// A member does not want the topic by name any more.
    pub(super) fn unname(&mut self, local: usize) {
        if let Some(topic) = self.locals.get_mut(local) {
            topic.named -= 1;
            if topic.named == 0 {
                self.topics.leave(self.index, &topic.name);
            }
        }
    }

    /// Everybody who has this topic reads from history where they are.
    pub(super) fn unsettle(&mut self, local: usize) {
        let Some(topic) = self.locals.get(local) else {
            return;
        };
        for (outbox, slot) in &topic.members {
            if let Some(outbox) = self.outboxes.get_mut(*outbox) {
                outbox.fall_behind(*slot, &self.counters);
            }
        }
    }

    /// Notes when the batcher of a topic is to be looked at.
    pub(super) fn schedule(&mut self, local: usize) {
        let Some(topic) = self.locals.get_mut(local) else {
            return;
        };
        let due = topic.batcher.due(&self.limits.batch);
        if due == topic.scheduled {
            return;
        }
        if let Some(before) = topic.scheduled.take() {
            self.due.remove(&(before, local));
        }
        if let Some(due) = due {
            self.due.insert((due, local));
        }
        topic.scheduled = due;
    }
}

/// Bytes that may wait for another node, for all its subscribers together.
const LINK_BYTES_MAX: usize = 16 << 20;

/// What holds for connections of other nodes.
fn of_links(limits: &Limits) -> Limits {
    let mut limits = *limits;
    limits.connection_topics_max = limits.topics_max;
    limits.connection_matches_max = limits.topics_max;
    limits.connection_patterns_max = limits.patterns_max;
    limits.batch.messages_max = 1;
    limits.batch.mode = weir_core::broadcast::BatchMode::Adaptive;
    limits.outbox.bytes_max = LINK_BYTES_MAX;
    limits.outbox.critical_bytes_max = LINK_BYTES_MAX / 4;
    limits
}
