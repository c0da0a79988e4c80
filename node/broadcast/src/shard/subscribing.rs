//! What a connection wants and does not want any more.

use weir_core::broadcast::{Pattern, Position, Refused, TopicName};
use weir_core::cache::UnixMs;

use super::connection::Since;
use super::state::State;
use crate::counters::Count;

impl State {
    pub(super) fn subscribe(
        &mut self,
        key: usize,
        name: &TopicName,
        since: Since,
        now: UnixMs,
    ) -> Result<Position, Refused> {
        let max = self.limits.connection_topics_max;
        let named = self.outboxes.get(key).map_or(0, |outbox| outbox.named);
        let known = self.by_name.get(name).copied();
        let slot = known.and_then(|local| self.outboxes.get(key)?.by_local.get(&local).copied());
        let already = slot.is_some_and(|slot| {
            let subscription = self
                .outboxes
                .get(key)
                .and_then(|outbox| outbox.subscriptions.get(slot));
            subscription.is_some_and(|subscription| subscription.named)
        });
        if !already && named >= max {
            return Err(Refused::TooMany {
                field: "topics of the connection",
                value: named + 1,
                max,
            });
        }
        let position = self.topics.join(self.index, name, now)?;
        if already {
            return Ok(position);
        }
        let start = match since {
            Since::Now => position,
            Since::Start => self.topics.start(name).unwrap_or(position),
            Since::Position(position) => position,
        };
        let local = self.local(name, position, now);
        // One that a pattern made before stays where it is, unless the client says where it is.
        let start = (slot.is_none() || since != Since::Now).then_some((start, since));
        let was_matched = slot.is_some();
        let Some(slot) = self.attach(key, local, position, false) else {
            self.leave_unnamed(local);
            let max = self.limits.connection_matches_max;
            return Err(Refused::TooMany {
                field: "topics of the connection and its patterns",
                value: max + 1,
                max,
            });
        };
        self.count_name(key, slot, local);
        if let Some((start, since)) = start {
            self.begin(key, slot, start, since, was_matched);
        }
        Ok(position)
    }

    /// Has a topic that one of its patterns takes from this position on; it does not count as one by name.
    pub(super) fn resume_matched(
        &mut self,
        key: usize,
        name: &TopicName,
        position: Position,
        now: UnixMs,
    ) -> Result<(), Refused> {
        let takes = |pattern: &Pattern| pattern.takes(name);
        let outbox = self.outboxes.get(key);
        if !outbox.is_some_and(|outbox| outbox.patterns.iter().any(takes)) {
            return Ok(());
        }
        let here = self.topics.touch(name, now)?;
        let local = self.local(name, here, now);
        let known = self.outboxes.get(key).map(|outbox| &outbox.by_local);
        let was_matched = known.is_some_and(|known| known.contains_key(&local));
        if let Some(slot) = self.attach(key, local, here, false) {
            self.begin(key, slot, position, Since::Position(position), was_matched);
        }
        Ok(())
    }

    /// Gives a topic back that was joined by name and that nobody here has by name.
    fn leave_unnamed(&mut self, local: usize) {
        if let Some(topic) = self.locals.get(local)
            && topic.named == 0
        {
            self.topics.leave(self.index, &topic.name);
        }
    }

    /// Makes a subscription one by name.
    fn count_name(&mut self, key: usize, slot: usize, local: usize) {
        if let Some(topic) = self.locals.get_mut(local) {
            topic.named += 1;
        }
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return;
        };
        outbox.named += 1;
        let Some(subscription) = outbox.subscriptions.get_mut(slot) else {
            return;
        };
        subscription.named = true;
    }

    /// Puts a subscription where it is to start. What waits of one that a pattern made is dropped: it is read again,
    /// and where from is told first.
    fn begin(&mut self, key: usize, slot: usize, start: Position, since: Since, was_matched: bool) {
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return;
        };
        if was_matched {
            outbox.drop_of(slot);
        }
        let Some(subscription) = outbox.subscriptions.get_mut(slot) else {
            return;
        };
        subscription.jump(start);
        subscription.resuming = was_matched || matches!(since, Since::Position(_));
        if since != Since::Now {
            outbox.fall_behind(slot, &self.counters);
        }
    }

    pub(super) fn has(&mut self, key: usize, name: &TopicName, position: Position) {
        let Some(local) = self.by_name.get(name) else {
            return;
        };
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return;
        };
        let slot = outbox.by_local.get(local).copied();
        if let Some(subscription) = slot.and_then(|slot| outbox.subscriptions.get_mut(slot))
            && !subscription.behind
            && subscription.queued == 0
            && subscription.at.epoch == position.epoch
            && subscription.at.offset < position.offset
        {
            subscription.at.offset = position.offset;
            subscription.taken = position.offset;
        }
    }

    pub(super) fn unsubscribe(&mut self, key: usize, name: &TopicName) {
        let Some(local) = self.by_name.get(name).copied() else {
            return;
        };
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return;
        };
        let Some(slot) = outbox.by_local.get(&local).copied() else {
            return;
        };
        if !outbox.patterns.iter().any(|pattern| pattern.takes(name)) {
            return self.detach(key, slot);
        }
        if let Some(subscription) = outbox.subscriptions.get_mut(slot)
            && std::mem::take(&mut subscription.named)
        {
            outbox.named -= 1;
            self.unname(local);
        }
    }

    pub(super) fn subscribe_pattern(
        &mut self,
        key: usize,
        pattern: &Pattern,
    ) -> Result<(), Refused> {
        let max = self.limits.connection_patterns_max;
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return Ok(());
        };
        if outbox.patterns.contains(pattern) {
            return Ok(());
        }
        if outbox.patterns.len() >= max {
            return Err(Refused::TooMany {
                field: "patterns of the connection",
                value: outbox.patterns.len() + 1,
                max,
            });
        }
        if !self.patterns.contains(pattern) {
            self.topics.join_pattern(self.index, pattern)?;
        }
        outbox.patterns.push(pattern.clone());
        self.patterns.insert(pattern, key);
        let taken = self.by_name.iter().filter(|(name, _)| pattern.takes(name));
        let taken: Vec<_> = taken.map(|(name, local)| (name.clone(), *local)).collect();
        for (name, local) in taken {
            // Else the first message that comes does it.
            let is_matched = self.locals.get(local).is_some_and(|topic| topic.is_matched);
            if is_matched && let Some(position) = self.topics.position(&name) {
                self.attach(key, local, position, false);
            }
        }
        Ok(())
    }

    pub(super) fn unsubscribe_pattern(&mut self, key: usize, pattern: &Pattern) {
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return;
        };
        outbox.patterns.retain(|other| other != pattern);
        let patterns = outbox.patterns.clone();
        let matched = outbox
            .subscriptions
            .iter()
            .filter(|(_, subscription)| !subscription.named);
        let matched: Vec<_> = matched
            .map(|(slot, subscription)| (slot, subscription.local))
            .collect();
        for (slot, local) in matched {
            let name = self.locals.get(local).map(|topic| &topic.name);
            if name.is_some_and(|name| !patterns.iter().any(|pattern| pattern.takes(name))) {
                self.detach(key, slot);
            }
        }
        if self.patterns.remove(pattern, &key) && !self.patterns.contains(pattern) {
            self.topics.leave_pattern(self.index, pattern);
        }
    }

    pub(super) fn disconnect(&mut self, key: usize) {
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return;
        };
        // Nothing goes out any more: what waits is not to be searched for each topic.
        outbox.drop_waiting();
        let patterns = outbox.patterns.clone();
        let slots: Vec<_> = outbox.subscriptions.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.detach(key, slot);
        }
        for pattern in patterns {
            self.unsubscribe_pattern(key, &pattern);
        }
        self.outboxes.try_remove(key);
        self.counters.add(Count::Closed, 1);
    }
}
