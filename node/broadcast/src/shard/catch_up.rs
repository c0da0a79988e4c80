//! The way back of whoever fell behind or was away: reading history from where they are.

use std::rc::Rc;
use std::time::Duration;

use weir_core::broadcast::{CutReason, Position};
use weir_core::cache::UnixMs;

use super::state::State;
use crate::batch::Batch;
use crate::counters::Count;
use crate::encoding::Control;
use crate::outbox::{Outbox, Writing};
use crate::topics::Read;

/// How long a subscriber waits for this node to have what it has already: its copy of the topic may be late.
const AHEAD_MAX: Duration = Duration::from_secs(2);

/// Subscriptions of one thread that may wait so.
const AHEAD_WAITING_MAX: usize = 65_536;

/// What one step has done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Something; the next step may do more.
    Done,
    /// There is nothing to do, or no room to do it.
    Nothing,
}

impl State {
    /// Moves what is to be written next, from history for topics of which nothing waits.
    pub(super) fn take(
        &mut self,
        key: usize,
        writing: &mut Writing,
        now: impl Fn() -> UnixMs,
    ) -> Result<(), CutReason> {
        let mut batches = 0;
        loop {
            let Some(outbox) = self.outboxes.get_mut(key) else {
                return Ok(());
            };
            if let Some(reason) = outbox.cut {
                return Err(reason);
            }
            outbox.take(writing, &mut batches);
            if outbox.has_queue()
                || outbox.behind.is_empty()
                || !Outbox::fits(writing, batches)
                || self.step(key, now()) == Step::Nothing
            {
                return Ok(());
            }
        }
    }

    /// Reads once for the subscription whose turn it is.
    fn step(&mut self, key: usize, now: UnixMs) -> Step {
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return Step::Nothing;
        };
        let Some(slot) = outbox.behind.front().copied() else {
            return Step::Nothing;
        };
        let Some(subscription) = outbox.subscriptions.get(slot) else {
            outbox.behind.pop_front();
            return Step::Done;
        };
        let (local, at, resuming) = (subscription.local, subscription.at, subscription.resuming);
        let Some(topic) = self.locals.get_mut(local) else {
            return Step::Nothing;
        };
        if let Some(page) = topic.page(at) {
            return self.give(key, slot, &page, now);
        }
        let name = topic.name.clone();
        match self.topics.read(&name, at) {
            Read::Batch(batch) => {
                let page = Rc::new(batch);
                topic.keep_page(at, &page);
                self.give(key, slot, &page, now)
            }
            Read::UpToDate => self.arrive(key, slot, now),
            Read::Gap { critical: true, .. } if !resuming => {
                if let Some(outbox) = self.outboxes.get_mut(key) {
                    outbox.cut(CutReason::Slow, &self.counters);
                }
                Step::Done
            }
            Read::Gap { from, to, .. } => {
                self.counters.add(Count::Gaps, 1);
                let to = Position { offset: to, ..at };
                let gap = Control::Gap {
                    topic: name,
                    to,
                    from,
                };
                self.jump(key, slot, to, &gap, now)
            }
            Read::Restarted(position) => self.restart(key, slot, position, now),
            Read::Ahead(newest) => self.wait(key, slot, newest, now),
        }
    }

    /// Its position means nothing: it goes on from another one, and is told so.
    fn restart(&mut self, key: usize, slot: usize, position: Position, now: UnixMs) -> Step {
        self.counters.add(Count::Restarted, 1);
        let outbox = self.outboxes.get(key);
        let subscription = outbox.and_then(|outbox| outbox.subscriptions.get(slot));
        let Some(topic) = subscription.and_then(|one| self.locals.get(one.local)) else {
            return Step::Nothing;
        };
        let restarted = Control::Recovered {
            topic: topic.name.clone(),
            ok: false,
            position,
        };
        self.jump(key, slot, position, &restarted, now)
    }

    /// It has more than this node has: its turn comes when something does, or when it has waited long enough.
    fn wait(&mut self, key: usize, slot: usize, newest: Position, now: UnixMs) -> Step {
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return Step::Nothing;
        };
        let Some(subscription) = outbox.subscriptions.get_mut(slot) else {
            return Step::Nothing;
        };
        match subscription.waits_until {
            Some((until, here)) if until <= now => {
                // Of another life it has nothing: what came while it waited is read as well.
                let is_its_life = newest.epoch == subscription.at.epoch;
                let from = if is_its_life { newest } else { here };
                return self.restart(key, slot, from, now);
            }
            Some(_) => {}
            None if self.ahead.len() >= AHEAD_WAITING_MAX => {
                return self.restart(key, slot, newest, now);
            }
            None => {
                let until = now.after(AHEAD_MAX);
                subscription.waits_until = Some((until, newest));
                self.ahead.push_back((until, key, slot));
            }
        }
        outbox.behind.retain(|other| *other != slot);
        Step::Done
    }

    /// Whoever has waited long enough for this node to have what they have is told how it is.
    pub(super) fn end_waits(&mut self, now: UnixMs) {
        while let Some((until, key, slot)) = self.ahead.front().copied()
            && until <= now
        {
            self.ahead.pop_front();
            if let Some(outbox) = self.outboxes.get_mut(key) {
                outbox.look_again(slot);
            }
        }
    }

    /// Puts what was read into the outbox.
    fn give(&mut self, key: usize, slot: usize, page: &Batch, now: UnixMs) -> Step {
        self.recover(key, slot, now);
        let context = Self::context(&self.counters, &self.limits, now);
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return Step::Nothing;
        };
        // The next turn is another topic's.
        outbox.behind.rotate_left(1);
        self.counters.add(Count::Pages, 1);
        match outbox.put_page(slot, page, context) {
            true => Step::Done,
            // What was told goes first.
            false if outbox.has_queue() => Step::Done,
            false => Step::Nothing,
        }
    }

    /// Tells a subscriber that comes back that nothing is missing.
    fn recover(&mut self, key: usize, slot: usize, now: UnixMs) {
        let Some(outbox) = self.outboxes.get_mut(key) else {
            return;
        };
        let Some(subscription) = outbox.subscriptions.get_mut(slot) else {
            return;
        };
        subscription.waits_until = None;
        if std::mem::take(&mut subscription.resuming) {
            self.counters.add(Count::Recovered, 1);
            let (local, position) = (subscription.local, subscription.at);
            if let Some(topic) = self.locals.get(local) {
                let recovered = Control::Recovered {
                    topic: topic.name.clone(),
                    ok: true,
                    position,
                };
                outbox.tell_of(slot, &recovered, now);
            }
        }
    }

    /// Goes on from another position, and tells why.
    fn jump(&mut self, key: usize, slot: usize, to: Position, why: &Control, now: UnixMs) -> Step {
        if let Some(outbox) = self.outboxes.get_mut(key) {
            if let Some(subscription) = outbox.subscriptions.get_mut(slot) {
                subscription.jump(to);
            }
            outbox.tell_of(slot, why, now);
        }
        Step::Done
    }

    /// It has everything: from here on it gets what comes.
    fn arrive(&mut self, key: usize, slot: usize, now: UnixMs) -> Step {
        self.recover(key, slot, now);
        if let Some(outbox) = self.outboxes.get_mut(key) {
            outbox.behind.retain(|other| *other != slot);
            if let Some(subscription) = outbox.subscriptions.get_mut(slot) {
                subscription.behind = false;
            }
        }
        Step::Done
    }
}
