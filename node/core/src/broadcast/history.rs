//! What a subscriber may still read of a topic.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Class, Epoch, Facts, Window};
use crate::cache::UnixMs;

/// Bounds of what is kept of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Messages, other than those that newer ones replace.
    pub messages_max: usize,
    /// Keys of which the newest message is kept.
    pub keys_max: usize,
    /// How old a message may be.
    pub age_max: Duration,
    /// All of them together.
    pub bytes_max: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            messages_max: 100,
            keys_max: 1_024,
            age_max: Duration::from_secs(300),
            bytes_max: 8 << 20,
        }
    }
}

/// How much is read at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Messages.
    pub messages_max: usize,
    /// Bytes; one message is read in any case.
    pub bytes_max: usize,
}

/// What follows an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<M> {
    /// In the order of their offsets.
    pub messages: Vec<M>,
    /// The offset that they follow.
    pub after: u64,
    /// The last offset in them, or `after`.
    pub last: u64,
    /// Offsets between both that newer messages have replaced.
    pub conflated: u64,
}

/// The messages of one life of a topic that are kept.
///
/// Everything after [`Window::floor`] is there but for what newer messages with the same key have replaced. It is
/// dropped in the order of offsets, whatever its class: a topic is best of one class.
#[derive(Debug)]
pub struct History<M> {
    epoch: Epoch,
    kept: BTreeMap<u64, M>,
    /// Where the newest message of a key is.
    keys: BTreeMap<Box<str>, u64>,
    bytes: usize,
    floor: u64,
    last: u64,
    critical_gone: u64,
}

impl<M: Facts + Clone> History<M> {
    /// Nothing is kept, and what comes follows `after`.
    pub const fn new(epoch: Epoch, after: u64) -> Self {
        Self {
            epoch,
            kept: BTreeMap::new(),
            keys: BTreeMap::new(),
            bytes: 0,
            floor: after,
            last: after,
            critical_gone: 0,
        }
    }

    /// What may be read.
    pub const fn window(&self) -> Window {
        Window {
            epoch: self.epoch,
            floor: self.floor,
            last: self.last,
        }
    }

    /// The last critical message that is gone, or 0.
    pub const fn critical_gone(&self) -> u64 {
        self.critical_gone
    }

    /// Keeps a message if it is newer than all, and drops what is beyond the limits; whether it was newer. Where
    /// messages are missing before it, everything up to there is gone.
    pub fn append(&mut self, message: M, now: UnixMs, limits: &HistoryLimits) -> bool {
        let offset = message.position().offset;
        if offset <= self.last {
            return false;
        }
        if message.after() > self.last {
            while self.evict().is_some() {}
            self.floor = message.after();
        }
        self.last = offset;
        if message.class() == Class::Latest
            && let Some(older) = self.keys.insert(message.key().into(), offset)
            && let Some(older) = self.kept.remove(&older)
        {
            self.bytes -= older.bytes();
        }
        self.bytes += message.bytes();
        self.kept.insert(offset, message);
        self.trim(now, limits);
        true
    }

    /// Notes that everything up to an offset is gone, if it is newer than all; whether it is.
    pub fn skip(&mut self, to: u64) -> bool {
        if to <= self.last {
            return false;
        }
        while self.evict().is_some() {}
        (self.floor, self.last) = (to, to);
        true
    }

    /// Drops what is beyond the limits.
    pub fn trim(&mut self, now: UnixMs, limits: &HistoryLimits) {
        while self.kept.len() - self.keys.len() > limits.messages_max
            || self.keys.len() > limits.keys_max
            || self.bytes > limits.bytes_max
            || self
                .oldest_at()
                .is_some_and(|at| now.since(at) >= limits.age_max)
        {
            self.evict();
        }
    }

    /// Drops the oldest message; its bytes, if there was one.
    pub fn evict(&mut self) -> Option<usize> {
        let (offset, message) = self.kept.pop_first()?;
        if message.class() == Class::Latest {
            self.keys.remove(message.key());
        }
        if message.class() == Class::Critical {
            self.critical_gone = offset;
        }
        self.floor = offset;
        self.bytes -= message.bytes();
        Some(message.bytes())
    }

    /// What follows an offset, which is neither before the window nor behind it.
    pub fn page(&self, after: u64, limits: PageLimits) -> Page<M> {
        let mut page = Page {
            messages: Vec::new(),
            after,
            last: after,
            conflated: 0,
        };
        let mut bytes = 0;
        for (offset, message) in self.kept.range(after.saturating_add(1)..) {
            bytes += message.bytes();
            let full = page.messages.len() >= limits.messages_max || bytes > limits.bytes_max;
            if full && !page.messages.is_empty() {
                break;
            }
            page.conflated += offset - page.last - 1;
            page.last = *offset;
            page.messages.push(message.clone());
        }
        page
    }

    /// When the oldest message was published.
    pub fn oldest_at(&self) -> Option<UnixMs> {
        self.kept
            .first_key_value()
            .map(|(_, message)| message.published_at())
    }

    /// What they take.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}
