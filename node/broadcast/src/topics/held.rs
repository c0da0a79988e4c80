//! Messages that are numbered and that nobody is given before the replica has them.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;
use weir_core::broadcast::{Facts as _, Limits, Refused};

use crate::account::Account;
use crate::message::Message;

/// Messages of one topic that may wait for its replica; beyond, it is not waited for.
const WAITING_MAX: usize = 1_024;
/// Messages of one topic that may wait at all, until the replica knows that it is not waited for.
const WAITING_HARD_MAX: usize = 16 * WAITING_MAX;
/// Bytes that a replica is sent together; one longer message goes alone.
const TOGETHER_BYTES_MAX: usize = 4 << 20;
/// Publishers of one topic that may wait to be told.
const WAITERS_MAX: usize = 4_096;

/// What waits for the replica of a topic.
#[derive(Debug)]
pub(crate) struct Held {
    account: Account,
    on: bool,
    /// Bytes of what waits.
    bytes: usize,
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
    pub(crate) fn new(account: &Account) -> Self {
        Self {
            account: account.clone(),
            on: false,
            bytes: 0,
            waiting: VecDeque::new(),
            keys: VecDeque::new(),
            waiters: Vec::new(),
            confirmed: 0,
        }
    }

    /// Whether so many bytes more may wait. What waits cannot be dropped: it is numbered.
    pub(crate) fn check_room(&self, bytes: usize, limits: &Limits) -> Result<(), Refused> {
        if !self.on {
            return Ok(());
        }
        let full = |field, value: usize, max: usize| match value > max {
            true => Err(Refused::Full { field, value, max }),
            false => Ok(()),
        };
        let of_node = usize::try_from(self.account.held_bytes()).unwrap_or(usize::MAX);
        if of_node > 0 {
            let field = "bytes that wait for replicas (half of broadcaster.retained_bytes_max)";
            let max = usize::try_from(limits.retained_bytes_max / 2).unwrap_or(usize::MAX);
            full(field, of_node.saturating_add(bytes), max)?;
        }
        // One message may always wait: it is within the bound of messages.
        if self.waiting.is_empty() {
            return Ok(());
        }
        let field = "messages that wait for the replica of the topic";
        full(field, self.waiting.len() + 1, WAITING_HARD_MAX)?;
        let field = "bytes that wait for the replica of the topic";
        let max = limits.history.bytes_max.max(limits.message_bytes_max);
        full(field, self.bytes.saturating_add(bytes), max)
    }

    fn charge(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.account.hold(bytes);
    }

    fn discharge(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.account.release(bytes);
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    pub(crate) const fn hold(&mut self) {
        self.on = true;
    }

    pub(crate) fn push(&mut self, message: Arc<Message>, key: Option<Box<str>>) {
        self.charge(message.bytes());
        self.waiting.push_back(message);
        self.keys.push_back(key);
    }

    /// Too much waits: the replica is no longer waited for, once it knows.
    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.waiting.len() >= WAITING_MAX || self.bytes >= limits.history.bytes_max / 2
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
        let free: Vec<_> = self.waiting.drain(..count).collect();
        self.discharge(free.iter().map(|message| message.bytes()).sum());
        free
    }

    /// Everything may go out, whether the replica has it or not.
    pub(crate) fn open(&mut self) -> Vec<Arc<Message>> {
        self.on = false;
        self.keys.clear();
        self.discharge(self.bytes);
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
        self.discharge(self.bytes);
        *self = Self::new(&self.account);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.release(self.bytes);
    }
}
