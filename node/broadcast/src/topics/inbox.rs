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
/// Topics of which messages did not fit; beyond, each topic notes it.
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
    /// There were too many of these: some topics have noted it.
    pub(crate) missed_any: bool,
    pub(crate) missed_messages: u64,
    pub(crate) missed_ephemeral: u64,
    pub(crate) calls: Vec<Call>,
    /// The shard was told that something is here.
    woken: bool,
}

/// What is to be done for a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pushed {
    /// It is to be woken.
    pub(crate) wakes: bool,
    /// The topic is to note that it misses what follows this.
    pub(crate) misses: Option<Position>,
}

impl Queue {
    /// Notes that what follows a position is missed; the position if there is no room for that.
    fn miss(&mut self, topic: &TopicName, from: Position) -> Option<Position> {
        if self.missed.len() >= MISSED_MAX && !self.missed.contains_key(topic) {
            self.missed_any = true;
            return Some(from);
        }
        self.missed.entry(topic.clone()).or_insert(from);
        None
    }

    fn wakes(&mut self) -> bool {
        !std::mem::replace(&mut self.woken, true)
    }
}

impl Inbox {
    /// Adds a message, or notes that it did not fit.
    pub(crate) fn push(&self, message: &Arc<Message>, limits: &Limits) -> Pushed {
        let mut queue = self.queue.lock();
        let bytes = message.bytes();
        let full = queue.messages.len() >= limits.inbox_messages_max
            || queue.bytes + bytes > limits.inbox_bytes_max;
        if !full {
            queue.bytes += bytes;
            queue.messages.push_back(Arc::clone(message));
            let wakes = queue.wakes();
            return Pushed {
                wakes,
                misses: None,
            };
        }
        queue.missed_messages += 1;
        let mut misses = None;
        if message.class().is_numbered() {
            let epoch = message.position().epoch;
            let offset = message.after();
            misses = queue.miss(message.topic(), Position { epoch, offset });
        } else {
            queue.missed_ephemeral += 1;
        }
        let wakes = queue.wakes();
        Pushed { wakes, misses }
    }

    /// Tells that a topic is another one than the shard knows.
    pub(crate) fn unsettle(&self, topic: &TopicName, from: Position) -> Pushed {
        let mut queue = self.queue.lock();
        let misses = queue.miss(topic, from);
        let wakes = queue.wakes();
        Pushed { wakes, misses }
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
