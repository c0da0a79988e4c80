//! A topic as one shard knows it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use weir_core::broadcast::{Batcher, Position, TopicName};
use weir_core::cache::UnixMs;

use crate::batch::Batch;
use crate::message::Message;

/// Pages that are remembered until the next tick.
const PAGES_MAX: usize = 16;

/// A topic with subscribers on this thread.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) name: TopicName,
    pub(crate) batcher: Batcher<Arc<Message>>,
    /// Outboxes and subscriptions in them.
    pub(crate) members: Vec<(usize, usize)>,
    /// How many of them asked for it by name.
    pub(crate) named: usize,
    /// When what waits in the batcher is to be looked at.
    pub(crate) scheduled: Option<UnixMs>,
    pub(crate) touched_at: UnixMs,
    /// Whose patterns take it are members: not before a message shows from where on.
    pub(crate) is_matched: bool,
    /// What was read of late, and from where: many who were away want the same.
    pages: VecDeque<(Position, Rc<Batch>)>,
    /// Batches that not all members have yet.
    pub(crate) spread: Spread,
}

impl Local {
    pub(crate) fn new(name: &TopicName, position: Position, now: UnixMs) -> Self {
        Self {
            name: name.clone(),
            batcher: Batcher::new(position.epoch, position.offset),
            members: Vec::new(),
            named: 0,
            scheduled: None,
            touched_at: now,
            is_matched: false,
            pages: VecDeque::new(),
            spread: Spread::default(),
        }
    }

    /// What follows a position, if somebody has just read it.
    pub(crate) fn page(&self, after: Position) -> Option<Rc<Batch>> {
        let page = self.pages.iter().find(|(from, _)| *from == after);
        page.map(|(_, page)| Rc::clone(page))
    }

    /// Remembers what follows a position.
    pub(crate) fn keep_page(&mut self, after: Position, page: &Rc<Batch>) {
        self.pages.truncate(PAGES_MAX - 1);
        self.pages.push_front((after, Rc::clone(page)));
    }

    pub(crate) fn forget_pages(&mut self) {
        self.pages.clear();
    }
}

/// Batches on their way to the members of their topic, together.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    pub(crate) batches: Vec<Batch>,
    /// The first member that does not have them.
    pub(crate) next: usize,
}

impl Spread {
    /// Whether there is one.
    pub(crate) const fn is_any(&self) -> bool {
        !self.batches.is_empty()
    }
}
