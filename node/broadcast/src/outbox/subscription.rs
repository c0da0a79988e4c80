//! One topic of one connection.

use weir_core::broadcast::Position;
use weir_core::cache::UnixMs;

/// Where a connection is in a topic.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The topic, as its shard knows it.
    pub(crate) local: usize,
    /// Its place among those of the topic.
    pub(crate) member: usize,
    /// Asked for by name, not only taken by a pattern.
    pub(crate) named: bool,
    /// The last message that waits or went. Everything up to there is taken, or told as missing.
    pub(crate) at: Position,
    /// The last one that went.
    pub(crate) taken: u64,
    /// Reads from history, and gets nothing else.
    pub(crate) behind: bool,
    /// Waits to be told whether everything after its position is there.
    pub(crate) resuming: bool,
    /// Its position is later than what this node has: until when it waits for that, without a turn to read, and what
    /// the node had when that began.
    pub(crate) waits_until: Option<(UnixMs, Position)>,
    /// Batches that wait, those among the urgent ones not counted.
    pub(crate) queued: usize,
}

impl Subscription {
    /// Is at a position, and has everything up to there.
    pub(crate) const fn at(local: usize, position: Position, named: bool) -> Self {
        Self {
            local,
            member: 0,
            named,
            at: position,
            taken: position.offset,
            behind: false,
            resuming: false,
            waits_until: None,
            queued: 0,
        }
    }

    /// Goes on from another position, after it was told why.
    pub(crate) const fn jump(&mut self, position: Position) {
        self.at = position;
        self.taken = position.offset;
        self.resuming = false;
        self.waits_until = None;
    }
}
