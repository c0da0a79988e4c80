//! What happened on a thread. Its thread alone adds to them; whoever shows them reads.

use std::sync::atomic::{AtomicU64, Ordering};

use weir_core::broadcast::CutReason;

/// Counts of one shard since it began.
#[derive(Debug, Default)]
pub struct Counters {
    counts: [AtomicU64; Count::ALL.len()],
    cuts: [AtomicU64; CutReason::ALL.len()],
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Messages that came from topics.
    Messages,
    /// Batches that were made.
    Batches,
    /// Batches that were put into an outbox.
    Deliveries,
    /// Messages in them.
    DeliveredMessages,
    /// Batches that were read from history for those who were behind.
    Pages,
    /// Topics of a connection that fell behind, by whatever.
    FellBehind,
    /// Connections whose outbox was emptied because it held too much.
    ShedFull,
    /// Because it held something for too long.
    ShedOld,
    /// Because the node held too much.
    ShedMemory,
    /// Gaps that were told.
    Gaps,
    /// Subscribers that came back and got everything.
    Recovered,
    /// Subscribers whose position meant nothing any more.
    Restarted,
    /// Ephemeral messages that were dropped for somebody.
    DroppedEphemeral,
    /// Messages that did not fit into the inbox; those that are kept are read from history.
    Missed,
    /// Offsets that newer messages have replaced before they went out.
    Conflated,
    /// Connections that were made.
    Opened,
    /// Connections that ended.
    Closed,
}

impl Count {
    /// Everything that is counted.
    pub const ALL: [Self; 17] = [
        Self::Messages,
        Self::Batches,
        Self::Deliveries,
        Self::DeliveredMessages,
        Self::Pages,
        Self::FellBehind,
        Self::ShedFull,
        Self::ShedOld,
        Self::ShedMemory,
        Self::Gaps,
        Self::Recovered,
        Self::Restarted,
        Self::DroppedEphemeral,
        Self::Missed,
        Self::Conflated,
        Self::Opened,
        Self::Closed,
    ];
}

impl Counters {
    /// How often.
    pub fn get(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::Relaxed)
    }

    /// Connections that were cut for this.
    pub fn cut(&self, reason: CutReason) -> u64 {
        self.cuts[reason as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, what: Count, by: u64) {
        bump(&self.counts[what as usize], by);
    }

    pub(crate) fn add_cut(&self, reason: CutReason) {
        bump(&self.cuts[reason as usize], 1);
    }
}

/// One writer needs no read-modify-write.
fn bump(count: &AtomicU64, by: u64) {
    count.store(count.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}
