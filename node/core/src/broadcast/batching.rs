//! Which messages of a topic go together, and when.
//!
//! A message that comes alone goes at once. Messages wait for each other only while they come so fast that a batch is
//! expected to fill within the longest wait; else they go together just often enough that there are never more
//! batches in that time than it has messages. So the longest wait bounds latency and never throughput.

use std::time::Duration;

use super::{Class, Epoch, Facts};
use crate::cache::UnixMs;

/// When messages wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchMode {
    /// While more are about to come.
    #[default]
    Adaptive,
    /// Always: until the batch is full or the longest wait is over.
    Fixed,
}

/// Bounds of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages in it.
    pub messages_max: usize,
    /// How long the first one in it waits.
    pub delay_max: Duration,
    /// Bytes of messages in it; a longer message goes alone.
    pub bytes_max: usize,
    /// When messages wait.
    pub mode: BatchMode,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            messages_max: 10,
            delay_max: Duration::from_millis(100),
            bytes_max: 64 << 10,
            mode: BatchMode::Adaptive,
        }
    }
}

impl BatchLimits {
    /// Between two batches that are not full.
    fn spacing(&self) -> Duration {
        self.delay_max / u32::try_from(self.messages_max.max(1)).unwrap_or(u32::MAX)
    }
}

/// Messages that go together, in the order of their offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready<M> {
    /// At least one.
    pub messages: Vec<M>,
    /// The life of the topic that they are of.
    pub epoch: Epoch,
    /// The last offset before them.
    pub after: u64,
    /// The last offset in them; `after` if none is numbered.
    pub last: u64,
    /// Offsets between both that are not in it, because newer messages have replaced them.
    pub conflated: u64,
    /// Goes before what waits of other topics.
    pub urgent: bool,
}

/// The messages of one topic that wait to go together.
#[derive(Debug)]
pub struct Batcher<M> {
    waiting: Vec<M>,
    bytes: usize,
    first_at: UnixMs,
    epoch: Epoch,
    /// The last offset in batches that went.
    gone: u64,
    /// The last offset that came.
    seen: u64,
    last_batch_at: Option<UnixMs>,
    pace: Pace,
}

/// Whether messages come fast enough to fill a batch within the longest wait.
#[derive(Debug, Default)]
struct Pace {
    since: UnixMs,
    count: usize,
    fast: bool,
}

impl Pace {
    fn note(&mut self, now: UnixMs, limits: &BatchLimits) {
        if now.since(self.since) > limits.delay_max {
            *self = Self {
                since: now,
                count: 1,
                fast: false,
            };
            return;
        }
        self.count += 1;
        if self.count >= limits.messages_max {
            *self = Self {
                since: now,
                count: 0,
                fast: true,
            };
        }
    }
}

impl<M: Facts> Batcher<M> {
    /// Nothing waits; what comes follows `after`.
    pub fn new(epoch: Epoch, after: u64) -> Self {
        Self {
            waiting: Vec::new(),
            bytes: 0,
            first_at: UnixMs::default(),
            epoch,
            gone: after,
            seen: after,
            last_batch_at: None,
            pace: Pace::default(),
        }
    }

    /// The life of the topic that messages are of.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last offset that came.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes a message; what is to go now, in this order, comes into `ready`.
    ///
    /// A message that came before is dropped. Where messages are missing, the next batch does not begin where the one
    /// before it ended.
    pub fn push(
        &mut self,
        message: M,
        now: UnixMs,
        limits: &BatchLimits,
        ready: &mut Vec<Ready<M>>,
    ) {
        let class = message.class();
        if class.is_numbered() && !self.follow(&message, now, ready) {
            return;
        }
        if message.position().epoch != self.epoch {
            // What has no number is of a life too.
            ready.extend(self.flush(now));
            let after = message.after();
            (self.epoch, self.gone, self.seen) = (message.position().epoch, after, after);
        }
        self.pace.note(now, limits);
        let alone = class == Class::Critical || self.goes_at_once(now, limits);
        // What replaces another one goes when that would have gone: a key that changes all the time goes in time.
        let mut begins = self.waiting.is_empty();
        if class == Class::Latest {
            self.replace(message.key());
        }
        let full = self.bytes + message.bytes() > limits.bytes_max;
        if !self.waiting.is_empty() && (class == Class::Critical || full) {
            ready.extend(self.flush(now));
            begins = true;
        }
        if begins {
            self.first_at = now;
        }
        if class.is_numbered() {
            self.seen = message.position().offset;
        }
        self.bytes += message.bytes();
        self.waiting.push(message);
        let full = self.waiting.len() >= limits.messages_max || self.bytes >= limits.bytes_max;
        if alone || full || self.due(limits).is_some_and(|due| due <= now) {
            ready.extend(self.flush(now));
        }
    }

    /// Whether a message is new. One that does not follow what was seen begins another batch.
    fn follow(&mut self, message: &M, now: UnixMs, ready: &mut Vec<Ready<M>>) -> bool {
        let (position, after) = (message.position(), message.after());
        let is_other = position.epoch != self.epoch;
        if !is_other && position.offset <= self.seen {
            return false;
        }
        if is_other || after > self.seen {
            ready.extend(self.flush(now));
            (self.epoch, self.gone, self.seen) = (position.epoch, after, after);
        }
        true
    }

    /// When what waits is to go, if something waits.
    pub fn due(&self, limits: &BatchLimits) -> Option<UnixMs> {
        if self.waiting.is_empty() {
            return None;
        }
        let latest = self.first_at.after(limits.delay_max);
        match (limits.mode, self.last_batch_at) {
            (BatchMode::Adaptive, Some(at)) if !self.pace.fast => {
                Some(latest.min(at.after(limits.spacing())))
            }
            _ => Some(latest),
        }
    }

    /// All that waits.
    pub fn flush(&mut self, now: UnixMs) -> Option<Ready<M>> {
        if self.waiting.is_empty() {
            return None;
        }
        let messages = std::mem::take(&mut self.waiting);
        let numbered = messages
            .iter()
            .filter(|message| message.class().is_numbered());
        let offsets: Vec<_> = numbered.map(|message| message.position().offset).collect();
        let after = self.gone;
        // What was replaced behind it is told with what replaces it.
        let last = offsets.last().copied().unwrap_or(after);
        self.bytes = 0;
        self.gone = last;
        self.last_batch_at = Some(now);
        let urgent = messages
            .iter()
            .any(|message| message.class() == Class::Critical);
        Some(Ready {
            messages,
            epoch: self.epoch,
            after,
            last,
            conflated: (last - after).saturating_sub(offsets.len() as u64),
            urgent,
        })
    }

    fn goes_at_once(&self, now: UnixMs, limits: &BatchLimits) -> bool {
        limits.mode == BatchMode::Adaptive
            && self.waiting.is_empty()
            && !self.pace.fast
            && self
                .last_batch_at
                .is_none_or(|at| now.since(at) >= limits.spacing())
    }

    /// Drops the older message with this key.
    fn replace(&mut self, key: &str) {
        let same = |message: &M| message.class() == Class::Latest && message.key() == key;
        if let Some(at) = self.waiting.iter().position(same) {
            self.bytes -= self.waiting.remove(at).bytes();
        }
    }
}
