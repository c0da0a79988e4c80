//! What a shard does when it is woken: batches of what came, to everybody who has the topic.

use std::sync::Arc;
use std::time::Duration;

use weir_core::broadcast::{Facts as _, Position, TopicName};
use weir_core::cache::UnixMs;

use super::local::{Local, Spread};
use super::state::State;
use crate::batch::Batch;
use crate::counters::Count;
use crate::message::Message;
use crate::outbox::Context;
use crate::topics::Inbox;

/// Outboxes that get a batch before the thread does something else: half a millisecond of writes, as long as these are
/// short.
const DELIVERIES_MAX: usize = 128;
/// Messages that are taken up before that.
const MESSAGES_MAX: usize = 4_096;
/// Messages of which batches are made before these go out.
const GATHERED_MAX: usize = 1_024;
/// Between two looks at ages.
const TICK: Duration = Duration::from_secs(1);
/// How long a topic is known at least that only patterns take and nobody publishes to.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What was done in one go.
pub(super) struct Done {
    /// Somebody was given something.
    pub(super) gave: bool,
    /// More is to be done at once.
    pub(super) more: bool,
}

impl State {
    /// Does as much as it may in one go; what that was, and the orders that came.
    pub(super) fn work(&mut self, now: UnixMs) -> (Done, Vec<crate::topics::Call>) {
        self.renew_limits();
        let calls = self.collect(now);
        let (mut budget, mut messages) = (DELIVERIES_MAX, MESSAGES_MAX);
        while budget > 0 && messages > 0 {
            if self.spread.is_empty() {
                self.gather(&mut messages, now);
            }
            if self.spread.is_empty() {
                break;
            }
            self.deliver(&mut budget, now);
        }
        self.end_waits(now);
        if self.tick_at <= now {
            self.tick(now);
            self.tick_at = now.after(TICK);
        }
        let more = !self.spread.is_empty() || !self.incoming.is_empty() || self.next_due() <= now;
        let gave = budget < DELIVERIES_MAX;
        (Done { gave, more }, calls)
    }

    /// When there is something to do although nothing comes.
    pub(super) fn next_due(&self) -> UnixMs {
        let due = self.due.first().map(|(at, _)| *at);
        let ahead = self.ahead.front().map(|(until, _, _)| *until);
        due.into_iter().chain(ahead).fold(self.tick_at, UnixMs::min)
    }

    /// Takes over what is in the inbox, once everything is done that was in it before.
    fn collect(&mut self, now: UnixMs) -> Vec<crate::topics::Call> {
        if !self.incoming.is_empty() {
            return Vec::new();
        }
        let topics = Arc::clone(&self.topics);
        let inbox: &Inbox = topics.inbox(self.index);
        let queue = inbox.take(std::mem::take(&mut self.incoming));
        self.incoming = queue.messages;
        self.counters.add(Count::Missed, queue.missed_messages);
        self.counters
            .add(Count::DroppedEphemeral, queue.missed_ephemeral);
        for (topic, from) in queue.missed {
            self.miss(&topic, from, now);
        }
        if queue.missed_any {
            for (topic, from) in topics.take_missed(self.index) {
                self.miss(&topic, from, now);
            }
        }
        queue.calls
    }

    /// Makes batches of what is there, before any of it goes out: what is of one topic goes out together.
    fn gather(&mut self, messages: &mut usize, now: UnixMs) {
        for _ in 0..GATHERED_MAX.min(*messages) {
            if let Some(message) = self.incoming.pop_front() {
                self.route(message, now);
                *messages -= 1;
            } else if let Some((at, local)) = self.due.first().copied().filter(|(at, _)| *at <= now)
            {
                self.flush(local, at, now);
            } else {
                break;
            }
        }
    }

    /// Messages after `from` did not get here.
    fn miss(&mut self, topic: &TopicName, from: Position, now: UnixMs) {
        let wanted = self.by_name.contains_key(topic) || !self.patterns.takers(topic).is_empty();
        if wanted {
            let local = self.local(topic, from, now);
            self.match_patterns(local, from);
            self.unsettle(local);
        }
    }

    fn route(&mut self, message: Arc<Message>, now: UnixMs) {
        self.counters.add(Count::Messages, 1);
        let name = message.topic();
        let first = Position {
            epoch: message.position().epoch,
            offset: message.after(),
        };
        let local = match self.by_name.get(name) {
            Some(local) => *local,
            None if self.patterns.takers(name).is_empty() => return,
            None => self.local(&name.clone(), first, now),
        };
        self.match_patterns(local, first);
        let mut ready = std::mem::take(&mut self.ready);
        if let Some(topic) = self.locals.get_mut(local) {
            topic.touched_at = now;
            topic
                .batcher
                .push(message, now, &self.limits.batch, &mut ready);
        }
        for ready in ready.drain(..) {
            self.send(local, ready);
        }
        self.ready = ready;
        self.schedule(local);
    }

    fn flush(&mut self, local: usize, at: UnixMs, now: UnixMs) {
        self.due.remove(&(at, local));
        let Some(topic) = self.locals.get_mut(local) else {
            return;
        };
        topic.scheduled = None;
        // Other limits may be in force since it was noted.
        if topic
            .batcher
            .due(&self.limits.batch)
            .is_some_and(|due| due <= now)
            && let Some(ready) = topic.batcher.flush(now)
        {
            self.send(local, ready);
        }
        self.schedule(local);
    }

    /// Puts a batch on its way; one that is urgent before those of other topics.
    fn send(&mut self, local: usize, ready: weir_core::broadcast::Ready<Arc<Message>>) {
        let Some(topic) = self.locals.get_mut(local) else {
            return;
        };
        let (urgent, waits) = (ready.urgent, topic.spread.is_any());
        self.counters.add(Count::Batches, 1);
        self.counters.add(Count::Conflated, ready.conflated);
        let batch = Batch::of_ready(&topic.name, ready, self.topics.account());
        topic.spread.batches.push(batch);
        match urgent {
            // The others of its topic are before it.
            _ if waits => {}
            true => self.spread.push_front(local),
            false => self.spread.push_back(local),
        }
    }

    /// Gives the first topic's batches to as many members as it may. All that had gathered goes to a member together: a
    /// thread that is behind makes one write of it for each connection.
    fn deliver(&mut self, budget: &mut usize, now: UnixMs) {
        let Some(local) = self.spread.front().copied() else {
            return;
        };
        let Some(topic) = self.locals.get_mut(local) else {
            self.spread.pop_front();
            return;
        };
        let Spread { batches, next } = &mut topic.spread;
        let context = Context {
            is_last: batches.len() == 1,
            ..Self::context(&self.counters, &self.limits, now)
        };
        let share = (*budget / batches.len().max(1)).max(1);
        let until = topic.members.len().min(*next + share);
        for (outbox, slot) in topic.members.get(*next..until).unwrap_or_default() {
            if let Some(outbox) = self.outboxes.get_mut(*outbox) {
                for batch in batches.iter() {
                    outbox.offer(*slot, batch, context);
                }
            }
        }
        let given = until.saturating_sub(*next).max(1);
        *budget = budget.saturating_sub(given * batches.len());
        *next = until;
        if until >= topic.members.len() {
            topic.spread = Spread::default();
            self.spread.pop_front();
        }
    }

    /// Looks at ages, at memory, and at topics that nobody has any more.
    fn tick(&mut self, now: UnixMs) {
        let context = Self::context(&self.counters, &self.limits, now);
        for (_, outbox) in &mut self.outboxes {
            outbox.check_age(context);
        }
        for (_, topic) in &mut self.locals {
            topic.forget_pages();
        }
        self.shed_worst(now);
        let is_idle = |topic: &Local| {
            let wanted = topic.named > 0 || topic.spread.is_any();
            let silent = now.since(topic.touched_at) >= IDLE_MAX;
            !wanted
                && (topic.members.is_empty()
                    || (silent && self.topics.position(&topic.name).is_none()))
        };
        let idle = self.locals.iter().filter(|(_, topic)| is_idle(topic));
        let idle: Vec<_> = idle.map(|(local, _)| local).collect();
        for local in idle {
            self.forget(local);
        }
    }

    /// While the node holds too much although it keeps no history any more: empties the fullest outboxes, those of this
    /// thread for its share.
    fn shed_worst(&mut self, now: UnixMs) {
        let held = self.topics.account().bytes();
        let over =
            held.saturating_sub(self.limits.retained_bytes_max) / self.topics.shards() as u64;
        if over == 0 {
            return;
        }
        let mut fullest: Vec<_> = self
            .outboxes
            .iter()
            .map(|(key, outbox)| (outbox.waiting().0, key))
            .collect();
        fullest.sort_unstable_by(|a, b| b.cmp(a));
        let context = Self::context(&self.counters, &self.limits, now);
        let mut freed = 0;
        for (bytes, key) in fullest {
            if freed >= over || bytes == 0 {
                break;
            }
            if let Some(outbox) = self.outboxes.get_mut(key) {
                outbox.shed(Count::ShedMemory, context);
                freed += bytes as u64;
            }
        }
    }

    /// Forgets a topic if everybody who has it has everything of it.
    fn forget(&mut self, local: usize) {
        let Some(topic) = self.locals.get(local) else {
            return;
        };
        let settled = topic.members.iter().all(|(outbox, slot)| {
            let outbox = self.outboxes.get(*outbox);
            let subscription = outbox.and_then(|outbox| outbox.subscriptions.get(*slot));
            subscription.is_none_or(|subscription| {
                subscription.taken == subscription.at.offset && !subscription.behind
            })
        });
        if !settled || topic.batcher.due(&self.limits.batch).is_some() {
            return;
        }
        for (outbox, slot) in topic.members.clone() {
            self.detach(outbox, slot);
        }
        if let Some(topic) = self.locals.try_remove(local) {
            self.by_name.remove(&topic.name);
        }
    }
}
