//! What the tier counts. Others render it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that goes up, or that shows how much there is.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    pub(super) fn one(&self) {
        self.add(1);
    }
}

/// What the tier did since its start. Reads = hits + misses + reads refused + reads failed + away + busy.
#[derive(Debug, Default)]
pub struct L2Counters {
    /// Reads that found a value.
    pub hits: Count,
    /// Reads that found none.
    pub misses: Count,
    /// Values found that are larger than may be.
    pub reads_refused: Count,
    /// Reads that Redis did not answer.
    pub reads_failed: Count,
    /// Reads that asked nobody because Redis is not reachable.
    pub away: Count,
    /// Reads that asked nobody because too many were under way.
    pub busy: Count,
    /// Commands and batches, of whatever kind, without an answer in time.
    pub failed_late: Count,
    /// Commands and batches whose connection was lost or could not be made.
    pub failed_lost: Count,
    /// Commands that these credentials may not give.
    pub failed_denied: Count,
    /// Commands that Redis refused for another reason.
    pub failed_refused: Count,
    /// Answers that make no sense.
    pub failed_garbled: Count,
    /// Bytes of values read.
    pub bytes_in: Count,
    /// Bytes of values written.
    pub bytes_out: Count,
    /// Values written.
    pub puts: Count,
    /// Values not written because the queue or Redis was full, or Redis not reachable.
    pub puts_dropped: Count,
    /// Values not written because they are larger than may be, empty or of no duration.
    pub puts_refused: Count,
    /// Keys deleted, whether or not they were there.
    pub deletes: Count,
    /// Keys whose deletion, and purges of a namespace, may not have reached Redis; each raised the trust floor.
    pub purges_undelivered: Count,
    /// Times that Redis was connected.
    pub connects: Count,
    /// Times that failures piled up so that nothing more was asked.
    pub opened: Count,
}

impl L2Counters {
    /// Everything that failed but for what came late.
    pub fn errors(&self) -> u64 {
        let kinds = [
            &self.failed_lost,
            &self.failed_denied,
            &self.failed_refused,
            &self.failed_garbled,
        ];
        kinds.iter().map(|count| count.get()).sum()
    }

    pub(super) fn failed(&self, kind: super::FailureKind) {
        use super::FailureKind as Kind;
        match kind {
            Kind::Late => &self.failed_late,
            Kind::Lost => &self.failed_lost,
            Kind::Denied => &self.failed_denied,
            Kind::Refused => &self.failed_refused,
            Kind::Garbled => &self.failed_garbled,
        }
        .one();
    }
}
