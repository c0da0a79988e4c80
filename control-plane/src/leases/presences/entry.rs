//! One key: what it shall hold, what is known of it, and what follows from what is found there.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Settlement, Tenure};
use crate::leases::Held;
use crate::store::{Entry as Found, LeaseId, Revision};

/// What shall become of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// It is there as long as this instance lives.
    Hold,
    /// It is not there, if it is ours.
    Leave,
    /// It is written once.
    Put,
}

/// What must be there for the next write to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Whatever.
    Any,
    /// What another instance wrote at this revision.
    TakeOver(Revision),
    /// What was found there, last put at this revision; 0 for nothing.
    Seen(Revision),
    /// What we wrote.
    Ours,
}

/// A write of ours that is known to have been made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) at: Revision,
    pub(super) held: Held,
}

/// A key.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) bucket: usize,
    pub(super) wish: Wish,
    pub(super) value: Bytes,
    pub(super) guard: Guard,
    /// Where a key is that says that this one must not come back.
    pub(super) fence: Option<Bytes>,
    pub(super) written: Option<Written>,
    /// The lease of the last write that was sent, made or not.
    pub(super) sent: Option<LeaseId>,
    /// Rises with each change from outside.
    pub(super) serial: u64,
    /// Whether that was an update, which takes nothing from anybody.
    pub(super) is_update: bool,
    pub(super) is_queued: bool,
    pub(super) waiter: Option<oneshot::Sender<Settlement>>,
    pub(super) tenure: Tenure,
}

/// What to do about a key after a look at what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is as it should be, last put at this revision.
    Nothing(Revision),
    /// Write, if this is still there.
    Write(Guard),
    /// It is over.
    End(Settlement),
}

impl Entry {
    /// One of which nothing is known.
    pub(super) fn new(bucket: usize) -> Self {
        Self {
            bucket,
            wish: Wish::Leave,
            value: Bytes::new(),
            guard: Guard::Ours,
            fence: None,
            written: None,
            sent: None,
            serial: 0,
            is_update: false,
            is_queued: false,
            waiter: None,
            tenure: Tenure::default(),
        }
    }

    /// Tells who waits that it is there.
    pub(super) fn settle(&mut self, at: Revision) {
        self.tenure.write(at);
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.send(Settlement::Written(at));
        }
    }

    /// The mod revision that the next write asks for, if it asks.
    pub(super) fn expected(&self) -> Option<Revision> {
        match self.guard {
            Guard::Any => None,
            Guard::TakeOver(at) | Guard::Seen(at) => Some(at),
            Guard::Ours => Some(self.written.map_or(Revision(0), |written| written.at)),
        }
    }

    /// The fence that the next write asks for: only what puts a key where it is not seen can bring something back.
    pub(super) fn fence(&self) -> Option<&Bytes> {
        let is_seen = self.expected().is_some_and(|at| at > Revision(0));
        let fence = self.fence.as_ref();
        fence.filter(|_| self.wish == Wish::Hold && !is_seen)
    }

    /// What follows from what is there. `current` is the lease of the key's bucket.
    pub(super) fn decide(&self, found: Option<&Found>, current: Option<LeaseId>) -> Next {
        let is_leased_by_us = found.is_some_and(|found| {
            found.lease.is_some() && (found.lease == current || found.lease == self.sent)
        });
        match (self.wish, found) {
            (Wish::Put, _) => Next::Write(Guard::Any),
            (Wish::Leave, None) => Next::End(Settlement::Withdrawn),
            (Wish::Leave, Some(found)) if is_leased_by_us => {
                Next::Write(Guard::Seen(found.mod_revision))
            }
            (Wish::Leave, Some(_)) => Next::End(Settlement::Taken),
            // What was to be taken over was ended by somebody: it must not come back.
            (Wish::Hold, None) if matches!(self.guard, Guard::TakeOver(_)) => {
                Next::End(Settlement::Taken)
            }
            (Wish::Hold, None) => Next::Write(Guard::Seen(Revision(0))),
            (Wish::Hold, Some(found)) => {
                let is_same = found.value == self.value;
                if is_same && found.lease.is_some() && found.lease == current {
                    Next::Nothing(found.mod_revision)
                } else if is_leased_by_us || is_same || self.is_older_than_ours(found) {
                    Next::Write(Guard::Seen(found.mod_revision))
                } else {
                    Next::End(Settlement::Taken)
                }
            }
        }
    }

    /// A store that was put back to an older state shows what was there before our write.
    fn is_older_than_ours(&self, found: &Found) -> bool {
        self.written
            .is_some_and(|written| found.mod_revision < written.at)
    }
}
