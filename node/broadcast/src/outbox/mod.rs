//! What waits for one connection.
//!
//! Two rings of frames that others share: the urgent one is written first. A topic's frames move to it together, so its
//! order stays. What waits is charged until it is written.

mod lanes;
mod loss;
mod sink;
mod subscription;
mod writing;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;
use weir_core::broadcast::{Admission, CutReason, Kind, OutboxLimits, admit};
use weir_core::cache::UnixMs;

use self::lanes::{Item, Lanes};
use crate::batch::Batch;
use crate::counters::{Count, Counters};
use crate::encoding::{Control, Encoding};

pub use self::sink::{Sent, Sink};
pub(crate) use self::subscription::Subscription;
pub use self::writing::{SLICES_MAX, Writing};

/// What a connection writes at a time.
const BATCHES_MAX: usize = 10;
const BYTES_MAX: usize = 64 << 10;
/// Longer frames wait for the connection's task: a thread that gives them out has others to serve.
const AT_ONCE_BYTES_MAX: usize = 16 << 10;

/// What a batch needs beside itself to be put into an outbox.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) now: UnixMs,
    pub(crate) limits: &'a OutboxLimits,
    /// Bytes of the shortest frame that is compressed for who has that; 0 for none.
    pub(crate) deflate_bytes_min: usize,
    pub(crate) counters: &'a Counters,
    /// Nothing follows it: it may be written at once.
    pub(crate) is_last: bool,
}

/// What waits for one connection, and where it is in its topics.
pub(crate) struct Outbox {
    pub(crate) id: u64,
    pub(crate) client: Arc<str>,
    pub(crate) encoding: Encoding,
    lanes: Lanes,
    pub(crate) subscriptions: Slab<Subscription>,
    /// Which of them is of which topic.
    pub(crate) by_local: BTreeMap<usize, usize>,
    /// Those that read from history, in the order of their turns.
    pub(crate) behind: VecDeque<usize>,
    pub(crate) patterns: Vec<weir_core::broadcast::Pattern>,
    /// Topics that it asked for by name.
    pub(crate) named: usize,
    pub(crate) cut: Option<CutReason>,
    /// The connection's task, while it sleeps.
    sleeper: Option<Waker>,
    /// Where frames go that need not wait for it.
    sink: Option<Rc<dyn Sink>>,
    told_slow: bool,
    dropped_untold: u64,
    pub(crate) dropped: u64,
}

impl Outbox {
    pub(crate) fn new(id: u64, client: Arc<str>, encoding: Encoding) -> Self {
        Self {
            id,
            client,
            encoding,
            lanes: Lanes::default(),
            subscriptions: Slab::new(),
            by_local: BTreeMap::new(),
            behind: VecDeque::new(),
            patterns: Vec::new(),
            named: 0,
            cut: None,
            sleeper: None,
            sink: None,
            told_slow: false,
            dropped_untold: 0,
            dropped: 0,
        }
    }

    /// Gives a batch of its topic to a subscription, in so far as it has not had it.
    pub(crate) fn offer(&mut self, slot: usize, batch: &Batch, context: Context<'_>) {
        let Some(subscription) = self.subscriptions.get(slot) else {
            return;
        };
        let (position, at) = (batch.position(), subscription.at);
        if self.cut.is_some() {
            return;
        }
        if subscription.behind {
            self.look_again(slot);
            return self.drop_ephemeral(batch.ephemeral(), context.counters);
        }
        if at.epoch != position.epoch || batch.after() > at.offset {
            self.fall_behind(slot, context.counters);
            return self.drop_ephemeral(batch.ephemeral(), context.counters);
        }
        if position.offset <= at.offset {
            match batch.ephemeral() {
                0 => return,
                _ if batch.kind() == Kind::Ephemeral => return self.put(slot, batch, context),
                _ => {}
            }
        }
        match at.offset > batch.after() {
            true => self.put(slot, &batch.since(at.offset), context),
            false => self.put(slot, batch, context),
        }
    }

    /// Puts what was read from history behind everything else; whether it fits.
    pub(crate) fn put_page(&mut self, slot: usize, batch: &Batch, context: Context<'_>) -> bool {
        let frame = batch.frame_for(self.encoding, context.deflate_bytes_min);
        let charge = lanes::charge_of(&frame);
        let admission = admit(self.lanes.load(), batch.kind(), charge, context.limits);
        let fits = admission == Admission::Take;
        if fits {
            self.put(slot, batch, context);
        }
        fits
    }

    fn put(&mut self, slot: usize, batch: &Batch, context: Context<'_>) {
        let frame = batch.frame_for(self.encoding, context.deflate_bytes_min);
        let item = Item::batch(slot, batch, frame, context.now);
        let kind = batch.kind();
        if context.is_last && self.send(slot, &item) {
            return Self::count(batch, context.counters);
        }
        loop {
            match admit(self.lanes.load(), kind, item.charge, context.limits) {
                Admission::Take => break,
                Admission::DropEphemeral => match self.lanes.pop_ephemeral() {
                    Some(older) => {
                        self.uncount(&older);
                        self.drop_ephemeral(older.ephemeral, context.counters);
                    }
                    None => return self.drop_ephemeral(item.ephemeral, context.counters),
                },
                Admission::CatchUp => {
                    self.shed(Count::ShedFull, context);
                    // It would come again otherwise, before what was dropped.
                    return self.fall_behind(slot, context.counters);
                }
                Admission::Cut(reason) => return self.cut(reason, context.counters),
            }
        }
        let Some(subscription) = self.subscriptions.get_mut(slot) else {
            return;
        };
        subscription.at.offset = subscription.at.offset.max(item.last);
        Self::count(batch, context.counters);
        match kind {
            Kind::Critical => {
                if std::mem::take(&mut subscription.queued) > 0 {
                    self.lanes.promote(slot);
                }
                self.lanes.push_urgent(item);
            }
            _ => {
                subscription.queued += 1;
                self.lanes.push(item);
            }
        }
        if self.lanes.load().bytes > context.limits.soft_bytes() {
            self.tell_slow(context.now);
        }
        self.wake();
    }

    fn count(batch: &Batch, counters: &Counters) {
        counters.add(Count::Deliveries, 1);
        let messages = batch.messages().len() as u64;
        counters.add(Count::DeliveredMessages, messages);
    }

    /// Writes a short batch in place of the connection's task, if that rests and has nothing to write before; whether
    /// it did.
    fn send(&mut self, slot: usize, item: &Item) -> bool {
        let rests = self.sleeper.is_some() && !self.has_work();
        let may_send = rests && item.frame.len() <= AT_ONCE_BYTES_MAX;
        let Some(sink) = self.sink.as_ref().filter(|_| may_send) else {
            return false;
        };
        match sink.send(&item.frame) {
            Sent::Busy => return false,
            Sent::Whole => {}
            Sent::Begun => {
                self.lanes.fly(item);
                self.wake();
            }
        }
        if let Some(subscription) = self.subscriptions.get_mut(slot) {
            subscription.at.offset = subscription.at.offset.max(item.last);
            subscription.taken = subscription.taken.max(item.last);
        }
        true
    }

    /// Frames may be written to `sink` while the connection's task rests.
    pub(crate) fn send_into(&mut self, sink: Rc<dyn Sink>) {
        self.sink = Some(sink);
    }

    /// Tells something about a topic, after everything that waits of it.
    pub(crate) fn tell_of(&mut self, slot: usize, control: &Control, now: UnixMs) {
        let frame = control.encode(self.encoding);
        self.lanes.push(Item::control(Some(slot), frame, now));
        if let Some(subscription) = self.subscriptions.get_mut(slot) {
            subscription.queued += 1;
        }
        self.wake();
    }

    /// Tells something about the connection, before everything that waits.
    pub(crate) fn tell(&mut self, control: &Control, now: UnixMs) {
        if self.cut.is_none() {
            let frame = control.encode(self.encoding);
            self.lanes.push_first(Item::control(None, frame, now));
            self.wake();
        }
    }

    /// Moves what is to be written next; what was moved before is written.
    pub(crate) fn take(&mut self, writing: &mut Writing, batches: &mut usize) {
        while *batches < BATCHES_MAX && writing.bytes() < BYTES_MAX && writing.frames() < SLICES_MAX
        {
            let Some(item) = self.lanes.pop() else {
                return;
            };
            if let Some(subscription) = item.slot.and_then(|slot| self.subscriptions.get_mut(slot))
            {
                subscription.taken = subscription.taken.max(item.last);
            }
            self.uncount(&item);
            *batches += usize::from(item.kind.is_some());
            writing.push(item.frame);
        }
    }

    /// Whether more fits into what is written next.
    pub(crate) fn fits(writing: &Writing, batches: usize) -> bool {
        batches < BATCHES_MAX && writing.bytes() < BYTES_MAX && writing.frames() < SLICES_MAX
    }

    /// What was taken is written.
    pub(crate) fn written(&mut self) {
        self.lanes.land();
        if self.lanes.is_empty() && self.behind.is_empty() {
            self.told_slow = false;
        }
    }

    /// Drops everything that waits.
    pub(crate) fn drop_waiting(&mut self) {
        self.lanes.clear();
        self.behind.clear();
    }

    /// Drops what waits of a subscription, and what it is to be told of its topic.
    pub(crate) fn drop_of(&mut self, slot: usize) {
        self.lanes.forget(slot);
        if let Some(subscription) = self.subscriptions.get_mut(slot) {
            subscription.queued = 0;
        }
    }

    /// Forgets a subscription with what waits of it.
    pub(crate) fn remove(&mut self, slot: usize) -> Option<Subscription> {
        let subscription = self.subscriptions.try_remove(slot)?;
        self.lanes.forget(slot);
        self.behind.retain(|other| *other != slot);
        self.by_local.remove(&subscription.local);
        self.named -= usize::from(subscription.named);
        Some(subscription)
    }

    /// Whether the connection's task has something to do.
    pub(crate) fn has_work(&self) -> bool {
        self.cut.is_some() || !self.lanes.is_empty() || !self.behind.is_empty()
    }

    pub(crate) fn has_queue(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// The connection's task sleeps from here on.
    pub(crate) fn sleeps(&mut self, task: &Waker) {
        match &mut self.sleeper {
            Some(sleeper) => sleeper.clone_from(task),
            none => *none = Some(task.clone()),
        }
    }

    /// Bytes that wait or are being written, and since when the oldest waits.
    pub(crate) fn waiting(&self) -> (usize, Option<UnixMs>) {
        let load = self.lanes.load_with_ages();
        let oldest = load.oldest.into_iter().chain(load.critical_oldest).min();
        (load.bytes + load.critical_bytes, oldest)
    }

    fn uncount(&mut self, item: &Item) {
        if let Some(subscription) = item.slot.and_then(|slot| self.subscriptions.get_mut(slot)) {
            subscription.queued = subscription
                .queued
                .saturating_sub(usize::from(!item.promoted));
        }
    }

    /// One wake for each time that something comes to a task that sleeps.
    pub(crate) fn wake(&mut self) {
        if let Some(task) = self.sleeper.take() {
            task.wake();
        }
    }
}
