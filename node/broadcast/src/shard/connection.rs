//! A connection, as its task sees it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use weir_core::broadcast::{CutReason, Pattern, Position, Refused, TopicName};
use weir_core::cache::UnixMs;

use super::Shard;
use crate::encoding::Control;
use crate::outbox::{Sink, Writing};

/// Which connection, of all of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// From where a subscriber wants a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// What is published from now on.
    #[default]
    Now,
    /// Everything that is kept, and what is published from now on.
    Start,
    /// What follows this position. It is told whether all of it is there.
    Position(Position),
}

/// A connection as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Which one.
    pub id: ConnectionId,
    /// Whose it is, as was said when it was made.
    pub client: std::sync::Arc<str>,
    /// The form of its frames.
    pub encoding: crate::Encoding,
    /// Topics that it has, those that its patterns take included.
    pub topics: usize,
    /// Its patterns.
    pub patterns: usize,
    /// Bytes that wait for it or are being written.
    pub waiting_bytes: usize,
    /// How long the oldest of them waits.
    pub waiting: Duration,
    /// Topics that it catches up with.
    pub behind: usize,
    /// Ephemeral messages that it did not get.
    pub dropped: u64,
}

/// A connection. Its task awaits [`Self::ready`], takes, writes, and begins again; dropping it ends all its
/// subscriptions.
///
/// It belongs to the thread of its shard. A transport that needs `Send` runs this loop in a local task of that thread
/// and hands the frames over through a channel of one, which keeps the back-pressure.
#[derive(Debug)]
pub struct Connection {
    pub(super) shard: Rc<Shard>,
    pub(super) key: usize,
    pub(super) id: ConnectionId,
}

impl Connection {
    /// Which connection this is.
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Subscribes to a topic; where it is now. Doing it again changes nothing.
    ///
    /// # Errors
    ///
    /// When there are too many topics, of the connection or of the node.
    pub fn subscribe(
        &self,
        topic: &TopicName,
        since: Since,
        now: UnixMs,
    ) -> Result<Position, Refused> {
        self.shard
            .state
            .borrow_mut()
            .subscribe(self.key, topic, since, now)
    }

    /// Goes on with a topic that one of its patterns takes from where the client was. It is told whether all of it is
    /// there; a topic that none of its patterns takes is not given. It does not count as a topic by name.
    ///
    /// # Errors
    ///
    /// When the node has too many topics.
    pub fn resume_matched(
        &self,
        topic: &TopicName,
        position: Position,
        now: UnixMs,
    ) -> Result<(), Refused> {
        let mut state = self.shard.state.borrow_mut();
        state.resume_matched(self.key, topic, position, now)
    }

    /// The client has everything of a topic up to here, by another way.
    pub fn has(&self, topic: &TopicName, position: Position) {
        self.shard.state.borrow_mut().has(self.key, topic, position);
    }

    /// Ends a subscription by name. A pattern that takes the topic goes on taking it.
    pub fn unsubscribe(&self, topic: &TopicName) {
        self.shard.state.borrow_mut().unsubscribe(self.key, topic);
    }

    /// Subscribes to what is published from now on to all topics that a pattern takes.
    ///
    /// # Errors
    ///
    /// When there are too many patterns, of the connection or of the node.
    pub fn subscribe_pattern(&self, pattern: &Pattern) -> Result<(), Refused> {
        self.shard
            .state
            .borrow_mut()
            .subscribe_pattern(self.key, pattern)
    }

    /// Ends a subscription by pattern.
    pub fn unsubscribe_pattern(&self, pattern: &Pattern) {
        self.shard
            .state
            .borrow_mut()
            .unsubscribe_pattern(self.key, pattern);
    }

    /// Until there is something to take. Everything that was taken before is written. One task awaits it at a time.
    pub async fn ready(&self) {
        poll_fn(|cx| {
            let mut state = self.shard.state.borrow_mut();
            let Some(outbox) = state.outboxes.get_mut(self.key) else {
                return Poll::Ready(());
            };
            outbox.written();
            if outbox.has_work() {
                return Poll::Ready(());
            }
            outbox.sleeps(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Moves what is to be written next into `writing`, which is empty: at most 10 batches, 64 KiB (more for one longer
    /// frame) and [`crate::SLICES_MAX`] frames. Everything that was taken before is written. It may be nothing. Only
    /// what is read from history asks for the time.
    ///
    /// # Errors
    ///
    /// Why the connection is to be ended.
    pub fn take(&self, writing: &mut Writing, now: impl Fn() -> UnixMs) -> Result<(), CutReason> {
        let mut state = self.shard.state.borrow_mut();
        if let Some(outbox) = state.outboxes.get_mut(self.key) {
            outbox.written();
        }
        state.take(self.key, writing, now)
    }

    /// From here on frames may go into `sink` once the connection's task has awaited [`Self::ready`] in vain, until it
    /// is woken: as a rule that is all that the client gets.
    pub fn send_into(&self, sink: Rc<dyn Sink>) {
        if let Some(outbox) = self.shard.state.borrow_mut().outboxes.get_mut(self.key) {
            outbox.send_into(sink);
        }
    }

    /// Why it is to be ended, if it is. Says nothing of what was taken.
    pub fn cut_reason(&self) -> Option<CutReason> {
        let state = self.shard.state.borrow();
        state.outboxes.get(self.key)?.cut
    }

    /// Ends it: what waits is dropped, and [`Self::take`] says why.
    pub fn cut(&self, reason: CutReason) {
        let mut state = self.shard.state.borrow_mut();
        let counters = std::sync::Arc::clone(&state.counters);
        if let Some(outbox) = state.outboxes.get_mut(self.key) {
            outbox.cut(reason, &counters);
        }
    }

    /// Topics that it asked for by name, and its patterns.
    pub fn subscriptions(&self) -> (Vec<TopicName>, Vec<Pattern>) {
        self.shard.state.borrow().subscriptions(self.key)
    }

    /// Tells the client something before everything that waits.
    pub fn tell(&self, control: &Control, now: UnixMs) {
        if let Some(outbox) = self.shard.state.borrow_mut().outboxes.get_mut(self.key) {
            outbox.tell(control, now);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shard.state.borrow_mut().disconnect(self.key);
    }
}
