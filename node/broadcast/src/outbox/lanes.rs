//! The two rings of an outbox, and what is charged for them.

use std::collections::VecDeque;

use bytes::Bytes;
use weir_core::broadcast::{Kind, Load};
use weir_core::cache::UnixMs;

use crate::batch::Batch;

/// What a frame takes beside its bytes, which it is charged in full however many share them.
const ITEM_BYTES: usize = size_of::<Item>();

/// What a connection is charged for a frame.
pub(super) fn charge_of(frame: &Bytes) -> usize {
    frame.len() + ITEM_BYTES
}

/// A frame that waits.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) frame: Bytes,
    /// Of which subscription.
    pub(super) slot: Option<usize>,
    /// The last offset in it; 0 for none.
    pub(super) last: u64,
    pub(super) charge: usize,
    /// Of a batch; control frames have none, and are never dropped.
    pub(super) kind: Option<Kind>,
    pub(super) ephemeral: u64,
    pub(super) at: UnixMs,
    /// Is or was among the urgent ones.
    pub(super) promoted: bool,
}

impl Item {
    pub(super) fn batch(slot: usize, batch: &Batch, frame: Bytes, now: UnixMs) -> Self {
        Self {
            slot: Some(slot),
            last: batch.position().offset,
            charge: charge_of(&frame),
            kind: Some(batch.kind()),
            ephemeral: batch.ephemeral(),
            at: now,
            promoted: false,
            frame,
        }
    }

    pub(super) fn control(slot: Option<usize>, frame: Bytes, now: UnixMs) -> Self {
        Self {
            slot,
            last: 0,
            charge: charge_of(&frame),
            kind: None,
            ephemeral: 0,
            at: now,
            promoted: false,
            frame,
        }
    }

    fn is_critical(&self) -> bool {
        self.kind == Some(Kind::Critical)
    }

    fn is_droppable(&self) -> bool {
        self.kind.is_some_and(|kind| kind != Kind::Critical)
    }
}

/// Two rings, and what is being written.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    urgent: VecDeque<Item>,
    queue: VecDeque<Item>,
    bytes: usize,
    critical_bytes: usize,
    flight: Flight,
}

/// What is being written.
#[derive(Debug, Default)]
struct Flight {
    bytes: usize,
    critical_bytes: usize,
    critical_at: Option<UnixMs>,
}

impl Lanes {
    pub(super) fn push(&mut self, item: Item) {
        self.charge(&item);
        self.queue.push_back(item);
    }

    pub(super) fn push_urgent(&mut self, mut item: Item) {
        self.charge(&item);
        item.promoted = true;
        self.urgent.push_back(item);
    }

    pub(super) fn push_first(&mut self, mut item: Item) {
        self.charge(&item);
        item.promoted = true;
        self.urgent.push_front(item);
    }

    /// Moves all that waits of a subscription behind the urgent ones.
    pub(super) fn promote(&mut self, slot: usize) {
        for mut item in std::mem::take(&mut self.queue) {
            if item.slot == Some(slot) {
                item.promoted = true;
                self.urgent.push_back(item);
            } else {
                self.queue.push_back(item);
            }
        }
    }

    /// The next one to be written.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.urgent.pop_front().or_else(|| self.queue.pop_front())?;
        self.discharge(&item);
        self.fly(&item);
        Some(item)
    }

    /// It is being written from here on.
    pub(super) fn fly(&mut self, item: &Item) {
        if item.is_critical() {
            self.flight.critical_bytes += item.charge;
            let earlier = self.flight.critical_at.unwrap_or(item.at);
            self.flight.critical_at = Some(earlier.min(item.at));
        } else {
            self.flight.bytes += item.charge;
        }
    }

    /// What was popped is written.
    pub(super) fn land(&mut self) {
        self.flight = Flight::default();
    }

    /// The oldest of those that hold nothing but ephemeral messages.
    pub(super) fn pop_ephemeral(&mut self) -> Option<Item> {
        let is_ephemeral = |item: &Item| item.kind == Some(Kind::Ephemeral);
        let item = match self.queue.iter().position(is_ephemeral) {
            Some(at) => self.queue.remove(at)?,
            None => self
                .urgent
                .remove(self.urgent.iter().position(is_ephemeral)?)?,
        };
        self.discharge(&item);
        Some(item)
    }

    /// Subscriptions of which something waits that may be dropped.
    pub(super) fn droppable(&self) -> Vec<usize> {
        let all = self.urgent.iter().chain(&self.queue);
        all.filter(|item| item.is_droppable())
            .filter_map(|item| item.slot)
            .collect()
    }

    /// Drops all batches of these subscriptions, which are in order; also critical ones: they may not come before what
    /// was dropped of their topic, and come with it again.
    pub(super) fn drop_of(&mut self, slots: &[usize]) -> Vec<Item> {
        self.remove_if(|item| {
            item.kind.is_some()
                && item
                    .slot
                    .is_some_and(|slot| slots.binary_search(&slot).is_ok())
        })
    }

    /// Drops everything of a subscription.
    pub(super) fn forget(&mut self, slot: usize) {
        self.remove_if(|item| item.slot == Some(slot));
    }

    fn remove_if(&mut self, is_gone: impl Fn(&Item) -> bool) -> Vec<Item> {
        let mut gone = Vec::new();
        for lane in [&mut self.urgent, &mut self.queue] {
            for item in std::mem::take(lane) {
                match is_gone(&item) {
                    true => gone.push(item),
                    false => lane.push_back(item),
                }
            }
        }
        for item in &gone {
            self.discharge(item);
        }
        gone
    }

    pub(super) fn clear(&mut self) {
        self.remove_if(|_| true);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.queue.is_empty()
    }

    /// What waits and what is being written.
    pub(super) fn load(&self) -> Load {
        Load {
            bytes: self.bytes + self.flight.bytes,
            critical_bytes: self.critical_bytes + self.flight.critical_bytes,
            oldest: None,
            critical_oldest: None,
        }
    }

    /// The same with ages. What is being written cannot be dropped any more, whatever its age.
    pub(super) fn load_with_ages(&self) -> Load {
        let oldest = |wanted: fn(&Item) -> bool| {
            let urgent = self
                .urgent
                .iter()
                .filter(|item| wanted(item))
                .map(|item| item.at)
                .min();
            let queued = self
                .queue
                .iter()
                .find(|item| wanted(item))
                .map(|item| item.at);
            urgent.into_iter().chain(queued).min()
        };
        Load {
            oldest: oldest(Item::is_droppable),
            critical_oldest: oldest(Item::is_critical)
                .into_iter()
                .chain(self.flight.critical_at)
                .min(),
            ..self.load()
        }
    }

    fn charge(&mut self, item: &Item) {
        match item.is_critical() {
            true => self.critical_bytes += item.charge,
            false => self.bytes += item.charge,
        }
    }

    fn discharge(&mut self, item: &Item) {
        match item.is_critical() {
            true => self.critical_bytes -= item.charge,
            false => self.bytes -= item.charge,
        }
    }
}
