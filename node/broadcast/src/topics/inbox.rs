//! What waits for one shard.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_core::broadcast::{Facts as _, Limits, Position, TopicName};

use crate::message::Message;
use crate::shard::Shard;

/// Orders that wait for a shard.
const CALLS_MAX: usize = 1_024;
/// Topics of which messages did not fit; beyond, all topics count as such.
const MISSED_MAX: usize = 4_096;

/// Something to do on the thread of a shard.
pub(crate) type Call = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// What waits for one shard. Cheap to push to, from any thread.
#[derive(Default)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) messages: VecDeque<Arc<Message>>,
    bytes: usize,
    /// Topics of which messages did not fit, and the last one before.
    pub(crate) missed: BTreeMap<TopicName, Position>,
    /// There were too many of these to say which.
    pub(crate) missed_any: bool,
    pub(crate) missed_messages: u64,
    pub(crate) missed_ephemeral: u64,
    pub(crate) calls: Vec<Call>,
    /// The shard was told that something is here.
    woken: bool,
}

impl Queue {
    fn miss(&mut self, topic: &TopicName, from: Position) {
        if self.missed.len() >= MISSED_MAX && !self.missed.contains_key(topic) {
            self.missed_any = true;
            return;
        }
        self.missed.entry(topic.clone()).or_insert(from);
    }

    fn wakes(&mut self) -> bool {
        !std::mem::replace(&mut self.woken, true)
    }
}

impl Inbox {
    /// Adds a message, or notes that it did not fit; whether the shard is to be woken.
    pub(crate) fn push(&self, message: &Arc<Message>, limits: &Limits) -> bool {
        let mut queue = self.queue.lock();
        let bytes = message.bytes();
        let full = queue.messages.len() >= limits.inbox_messages_max
            || queue.bytes + bytes > limits.inbox_bytes_max;
        if !full {
            queue.bytes += bytes;
            queue.messages.push_back(Arc::clone(message));
            return queue.wakes();
        }
        queue.missed_messages += 1;
        if message.class().is_numbered() {
            let epoch = message.position().epoch;
            let offset = message.after();
            queue.miss(message.topic(), Position { epoch, offset });
        } else {
            queue.missed_ephemeral += 1;
        }
        queue.wakes()
    }

    /// Tells that a topic is another one than the shard knows; whether the shard is to be woken.
    pub(crate) fn unsettle(&self, topic: &TopicName, from: Position) -> bool {
        let mut queue = self.queue.lock();
        queue.miss(topic, from);
        queue.wakes()
    }

    /// Adds something to do, unless too much is waiting; whether it was added.
    pub(crate) fn call(&self, call: Call) -> bool {
        let wakes = {
            let mut queue = self.queue.lock();
            if queue.calls.len() >= CALLS_MAX {
                return false;
            }
            queue.calls.push(call);
            queue.wakes()
        };
        if wakes {
            self.wake();
        }
        true
    }

    /// Wakes the shard.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Until something is here.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Everything that is here; `spare` takes its place.
    pub(crate) fn take(&self, spare: VecDeque<Arc<Message>>) -> Queue {
        let spare = Queue {
            messages: spare,
            ..Queue::default()
        };
        std::mem::replace(&mut self.queue.lock(), spare)
    }
}
