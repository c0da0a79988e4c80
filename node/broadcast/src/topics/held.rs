//! Messages that are numbered and that nobody is given before the replica has them.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;
use weir_core::broadcast::Facts as _;

use crate::message::Message;

/// Messages of one topic that may wait for its replica; beyond, it is not waited for.
const WAITING_MAX: usize = 1_024;
/// Bytes that a replica is sent together; one longer message goes alone.
const TOGETHER_BYTES_MAX: usize = 4 << 20;
/// Publishers of one topic that may wait to be told.
const WAITERS_MAX: usize = 4_096;

/// What waits for the replica of a topic.
#[derive(Debug, Default)]
pub(crate) struct Held {
    on: bool,
    pub(crate) waiting: VecDeque<Arc<Message>>,
    /// The key of each of them.
    keys: VecDeque<Option<Box<str>>>,
    waiters: Vec<(u64, oneshot::Sender<()>)>,
    /// What the replica has.
    confirmed: u64,
}

/// A message that the replica is to have, and its idempotency key.
pub type HeldMessage = (Arc<Message>, Option<Box<str>>);

impl Held {
    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    pub(crate) const fn hold(&mut self) {
        self.on = true;
    }

    pub(crate) fn push(&mut self, message: Arc<Message>, key: Option<Box<str>>) {
        self.waiting.push_back(message);
        self.keys.push_back(key);
    }

    /// Too much waits: the replica is no longer waited for, once it knows.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// Tells whoever this is when the replica has the message; whether it will.
    pub(crate) fn wait(&mut self, offset: u64, waiter: Option<oneshot::Sender<()>>) -> bool {
        let Some(waiter) = waiter.filter(|_| offset > 0) else {
            return false;
        };
        if offset <= self.confirmed {
            let _ = waiter.send(());
            return true;
        }
        self.waiters.retain(|(_, waiter)| !waiter.is_closed());
        let fits = self.waiters.len() < WAITERS_MAX;
        if fits {
            self.waiters.push((offset, waiter));
        }
        fits
    }

    /// The replica has everything up to here; what may go out for that.
    pub(crate) fn confirm(&mut self, offset: u64) -> Vec<Arc<Message>> {
        self.confirmed = self.confirmed.max(offset);
        for (wanted, waiter) in std::mem::take(&mut self.waiters) {
            if wanted > offset {
                self.waiters.push((wanted, waiter));
            } else {
                // Whoever waited may have gone.
                let _ = waiter.send(());
            }
        }
        let free = |message: &Arc<Message>| message.position().offset <= offset;
        let count = self
            .waiting
            .iter()
            .take_while(|message| free(message))
            .count();
        self.keys.drain(..count);
        self.waiting.drain(..count).collect()
    }

    /// Everything may go out, whether the replica has it or not.
    pub(crate) fn open(&mut self) -> Vec<Arc<Message>> {
        self.on = false;
        self.keys.clear();
        self.waiting.drain(..).collect()
    }

    /// What follows an offset.
    pub(crate) fn after(&self, offset: u64, count: usize) -> Vec<HeldMessage> {
        let all = self.waiting.iter().zip(&self.keys);
        let after = all.filter(|(message, _)| message.position().offset > offset);
        let mut bytes = 0;
        let fits = after.take_while(|(message, _)| {
            let is_first = bytes == 0;
            bytes += message.bytes();
            is_first || bytes <= TOGETHER_BYTES_MAX
        });
        let copies = fits.map(|(message, key)| (Arc::clone(message), key.clone()));
        copies.take(count).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nothing of it counts in another life of the topic.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}
