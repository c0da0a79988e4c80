//! The subscribers of one thread.
//!
//! Nothing here is locked or sent: publishers of all threads put messages into the shard's inbox and wake it when it
//! sleeps. It makes batches, once for everybody, and puts them into outboxes; it never waits for a connection.

mod catch_up;
mod connection;
mod local;
mod members;
mod state;
mod subscribing;
mod work;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use weir_core::broadcast::CutReason;
use weir_core::cache::UnixMs;

use self::state::State;
use crate::counters::Count;
use crate::encoding::{Control, Encoding};
use crate::outbox::Outbox;
use crate::topics::{ShardIndex, Topics};

pub use self::connection::{Connection, ConnectionId, ConnectionInfo, Since};

/// The subscribers of one thread.
pub struct Shard {
    state: RefCell<State>,
    topics: Arc<Topics>,
    index: ShardIndex,
}

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Others are to have their turn before more is done.
    pub gives_way: bool,
    /// More is to be done at once, after that.
    pub more: bool,
    /// When there is something to do although nothing comes.
    pub due: UnixMs,
}

impl Shard {
    /// The shard with this number; each number has one, on one thread. `None` if there are not so many.
    pub fn new(topics: &Arc<Topics>, index: usize) -> Option<Rc<Self>> {
        topics.counters(index)?;
        let index = ShardIndex::try_from(index).ok()?;
        Some(Rc::new(Self {
            state: RefCell::new(State::new(topics, index)),
            topics: Arc::clone(topics),
            index,
        }))
    }

    /// The shard with this number, whose connections are other nodes: batches go at once, and a connection may have
    /// every topic. From here on changes are noted, see [`Topics::take_changes`].
    pub fn for_links(topics: &Arc<Topics>, index: usize) -> Option<Rc<Self>> {
        let shard = Self::new(topics, index)?;
        shard.state.borrow_mut().serve_links();
        topics.note_changes(shard.index);
        Some(shard)
    }

    /// Which shard of its node it is.
    pub fn index(&self) -> usize {
        usize::from(self.index)
    }

    /// A new connection whose frames are in this form.
    pub fn connect(self: &Rc<Self>, client: &str, encoding: Encoding) -> Connection {
        let mut state = self.state.borrow_mut();
        state.next_id += 1;
        let id = state.next_id;
        state.counters.add(Count::Opened, 1);
        let key = state
            .outboxes
            .insert(Outbox::new(id, client.into(), encoding));
        Connection {
            shard: Rc::clone(self),
            key,
            id: ConnectionId(id),
        }
    }

    /// Does what is to be done now, in so far as it does not keep the thread from other work.
    pub fn work(self: &Rc<Self>, now: UnixMs) -> Work {
        let (done, calls) = self.state.borrow_mut().work(now);
        for call in calls {
            call(self);
        }
        Work {
            gives_way: done.gave || done.more,
            more: done.more,
            due: self.state.borrow().next_due(),
        }
    }

    /// Works for as long as it is polled; `now` is the time.
    pub async fn run(self: &Rc<Self>, now: impl Fn() -> UnixMs) {
        loop {
            let work = self.work(now());
            if work.gives_way {
                tokio::task::yield_now().await;
            }
            if work.more {
                continue;
            }
            let until_due = work.due.since(now());
            // Something came, or something is due: both are the next round's.
            let _ = timeout(until_due, self.topics.inbox(self.index).woken()).await;
        }
    }

    /// All connections, those first for which most waits.
    pub fn connections(&self, now: UnixMs) -> Vec<ConnectionInfo> {
        let state = self.state.borrow();
        let info = |outbox: &Outbox| {
            let (waiting_bytes, oldest) = outbox.waiting();
            ConnectionInfo {
                id: ConnectionId(outbox.id),
                client: Arc::clone(&outbox.client),
                encoding: outbox.encoding,
                topics: outbox.subscriptions.len(),
                patterns: outbox.patterns.len(),
                waiting_bytes,
                waiting: oldest.map_or(Duration::ZERO, |at| now.since(at)),
                behind: outbox.behind.len(),
                dropped: outbox.dropped,
            }
        };
        let mut all: Vec<_> = state
            .outboxes
            .iter()
            .map(|(_, outbox)| info(outbox))
            .collect();
        all.sort_by(|a, b| b.waiting_bytes.cmp(&a.waiting_bytes).then(a.id.cmp(&b.id)));
        all
    }

    /// Ends a connection; whether there is one with this id.
    pub fn cut(&self, id: ConnectionId, reason: CutReason) -> bool {
        let mut state = self.state.borrow_mut();
        let counters = Arc::clone(&state.counters);
        let found = state
            .outboxes
            .iter_mut()
            .find(|(_, outbox)| outbox.id == id.0);
        found
            .map(|(_, outbox)| outbox.cut(reason, &counters))
            .is_some()
    }

    /// Tells every connection something before all that waits for it, those first that were made first; they are
    /// numbered from 0, and each has an encoding.
    pub fn tell_all(&self, now: UnixMs, mut what: impl FnMut(usize, Encoding) -> Option<Control>) {
        let mut state = self.state.borrow_mut();
        let mut all: Vec<_> = state
            .outboxes
            .iter_mut()
            .map(|(_, outbox)| outbox)
            .collect();
        all.sort_unstable_by_key(|outbox| outbox.id);
        for (number, outbox) in all.into_iter().enumerate() {
            if let Some(control) = what(number, outbox.encoding) {
                outbox.tell(&control, now);
            }
        }
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
