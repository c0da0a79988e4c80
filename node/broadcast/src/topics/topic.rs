//! One topic.

use std::sync::Arc;

use weir_core::broadcast::{Epoch, Facts as _, History, HistoryLimits, Position, Recent};
use weir_core::cache::UnixMs;

use super::held::Held;
use crate::account::Account;
use crate::message::Message;

/// The shard of a thread.
pub(crate) type ShardIndex = u16;

/// Who numbers a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// Nobody has yet, as far as is known here: any epoch may be its first.
    Unborn,
    /// This node.
    Own,
    /// Another one, of whose history this is a copy.
    Mirror,
}

/// What all threads know of a topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) history: History<Arc<Message>>,
    pub(crate) recent: Recent,
    pub(crate) numbering: Numbering,
    pub(crate) held: Held,
    /// Bytes of these that are charged.
    charged: usize,
    /// Shards with subscribers by name, and with patterns that took it when these were looked at.
    pub(crate) named: Vec<ShardIndex>,
    pub(crate) matched: Vec<ShardIndex>,
    /// Which version of all patterns that was; 0 for none.
    pub(crate) matched_at: u64,
    /// Shards whose inbox could not even note that they miss something, and after what.
    pub(crate) missed: Vec<(ShardIndex, Position)>,
    /// When somebody last wanted something of it.
    pub(crate) touched_at: UnixMs,
    /// Its history is among those that may be dropped from.
    pub(crate) is_listed: bool,
}

impl Topic {
    pub(crate) fn new(epoch: Epoch, now: UnixMs, account: &Account) -> Self {
        Self {
            history: History::new(epoch, 0),
            recent: Recent::default(),
            numbering: Numbering::Unborn,
            held: Held::new(account),
            charged: 0,
            named: Vec::new(),
            matched: Vec::new(),
            matched_at: 0,
            missed: Vec::new(),
            touched_at: now,
            is_listed: false,
        }
    }

    pub(crate) fn position(&self) -> Position {
        let window = self.history.window();
        Position {
            epoch: window.epoch,
            offset: window.last,
        }
    }

    /// The newest message that was given a number, also if nobody has been given it.
    pub(crate) fn numbered(&self) -> Position {
        let position = self.position();
        match self.held.waiting.back() {
            Some(newest) => newest.position(),
            None => position,
        }
    }

    /// Whether what somebody has may be read here soon: of another node's topic, and what waits for the replica, whose
    /// subscribers may have it before those of this node.
    pub(crate) fn may_come(&self, position: Position) -> bool {
        let numbered = self.numbered();
        let is_numbered = position.epoch == numbered.epoch && position.offset <= numbered.offset;
        self.numbering == Numbering::Mirror || is_numbered
    }

    /// Begins a new life after this offset; nothing of the old one is kept.
    pub(crate) fn restart(&mut self, epoch: Epoch, after: u64) {
        self.history = History::new(epoch, after);
        self.recent.clear();
        self.held.forget();
    }

    /// Keeps a message; whether it is new.
    pub(crate) fn append(
        &mut self,
        message: &Arc<Message>,
        now: UnixMs,
        limits: &HistoryLimits,
    ) -> bool {
        self.touched_at = now;
        !message.class().is_numbered() || self.history.append(Arc::clone(message), now, limits)
    }

    /// Charges what the keys of its newest messages take now.
    pub(crate) fn charge_keys(&mut self, account: &Account) {
        let bytes = self.recent.bytes();
        account.charge(bytes.saturating_sub(self.charged));
        account.discharge(self.charged.saturating_sub(bytes));
        self.charged = bytes;
    }

    /// Every shard that wants its messages, each once.
    pub(crate) fn interested(&self) -> impl Iterator<Item = ShardIndex> {
        let matched = self
            .matched
            .iter()
            .filter(|shard| !self.named.contains(shard));
        self.named.iter().chain(matched).copied()
    }

    /// Notes that a shard misses what follows a position, and does not know.
    pub(crate) fn note_missed(&mut self, shard: ShardIndex, from: Position) {
        if !self.missed.iter().any(|(by, _)| *by == shard) {
            self.missed.push((shard, from));
        }
    }

    /// Whether nothing would be lost with it.
    pub(crate) fn is_idle(&self) -> bool {
        self.named.is_empty() && self.is_empty()
    }

    /// Whether nothing is kept of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.history.is_empty() && self.recent.is_empty()
    }
}
