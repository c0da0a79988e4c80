//! What a connection loses that does not keep up.

use weir_core::broadcast::{CutReason, Overdue, overdue};
use weir_core::cache::UnixMs;

use super::{Context, Outbox};
use crate::counters::{Count, Counters};
use crate::encoding::Control;

impl Outbox {
    /// From here on the subscription reads from history, if it is there or not.
    pub(crate) fn fall_behind(&mut self, slot: usize, counters: &Counters) {
        self.look_again(slot);
        if let Some(subscription) = self.subscriptions.get_mut(slot)
            && !subscription.behind
        {
            subscription.behind = true;
            self.behind.push_back(slot);
            counters.add(Count::FellBehind, 1);
            self.wake();
        }
    }

    /// A subscription that waits for its node to have what it has reads again: something came.
    pub(crate) fn look_again(&mut self, slot: usize) {
        let waits = |subscription: &super::Subscription| subscription.waits_until.is_some();
        if self.subscriptions.get(slot).is_some_and(waits) && !self.behind.contains(&slot) {
            self.behind.push_back(slot);
            self.wake();
        }
    }

    /// Drops what waits and may be read again, or may be lost.
    pub(crate) fn shed(&mut self, why: Count, context: Context<'_>) {
        let mut slots = self.lanes.droppable();
        slots.sort_unstable();
        slots.dedup();
        let dropped = self.lanes.drop_of(&slots);
        for item in &dropped {
            self.uncount(item);
            self.drop_ephemeral(item.ephemeral, context.counters);
        }
        for slot in slots {
            if let Some(subscription) = self.subscriptions.get_mut(slot) {
                subscription.at.offset = subscription.taken;
            }
            self.fall_behind(slot, context.counters);
        }
        context.counters.add(why, 1);
        self.tell_slow(context.now);
    }

    /// Does what is to be done with what waits too long.
    pub(crate) fn check_age(&mut self, context: Context<'_>) {
        match overdue(self.lanes.load_with_ages(), context.now, context.limits) {
            None => {}
            Some(Overdue::CatchUp) => self.shed(Count::ShedOld, context),
            Some(Overdue::Cut(reason)) => self.cut(reason, context.counters),
        }
    }

    /// The connection is to end; nothing more comes.
    pub(crate) fn cut(&mut self, reason: CutReason, counters: &Counters) {
        if self.cut.is_none() {
            self.cut = Some(reason);
            self.lanes.clear();
            self.behind.clear();
            counters.add_cut(reason);
            self.wake();
        }
    }

    /// Tells the client once that it is slow, until it is not any more.
    pub(super) fn tell_slow(&mut self, now: UnixMs) {
        if std::mem::replace(&mut self.told_slow, true) {
            return;
        }
        let load = self.lanes.load();
        let slow = Control::Slow {
            lag_bytes: (load.bytes + load.critical_bytes) as u64,
            dropped: std::mem::take(&mut self.dropped_untold),
        };
        self.tell(&slow, now);
    }

    /// Counts ephemeral messages that it does not get.
    pub(super) fn drop_ephemeral(&mut self, messages: u64, counters: &Counters) {
        self.dropped += messages;
        self.dropped_untold += messages;
        counters.add(Count::DroppedEphemeral, messages);
    }
}
