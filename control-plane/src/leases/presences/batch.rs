//! A transaction made of what waits.

use bytes::Bytes;

use super::entry::{Entry, Wish};
use crate::leases::Held;
use crate::store::limits::{OP_OVERHEAD_BYTES, REQUEST_BYTES_MAX, TXN_OPS_MAX};
use crate::store::{Compare, Op, Revision, Txn};

/// What a transaction does to a key, if it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Held(Held),
    Left,
    Put,
    /// It only looks.
    Looked,
}

/// One key of a transaction.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) key: Bytes,
    pub(super) serial: u64,
    pub(super) done: Done,
}

/// A transaction and what it is about.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) txn: Txn,
    pub(super) items: Vec<Item>,
    /// The keys that a refused transaction read, in order.
    pub(super) looked_at: Vec<Bytes>,
    /// The buckets whose leases it names, a bit for each.
    pub(super) buckets: u64,
    request_bytes: usize,
}

impl Batch {
    /// Whether what one more entry wishes fits.
    pub(super) fn has_room(&self, key: &Bytes, entry: &Entry) -> bool {
        let looks = usize::from(entry.expected().is_some()) + usize::from(entry.fence().is_some());
        self.items.len() < TXN_OPS_MAX
            && self.txn.when.len() + looks <= TXN_OPS_MAX
            && self.request_bytes + cost(key, entry) <= REQUEST_BYTES_MAX
    }

    /// Adds what the entry wishes. `held` is the lease of its bucket, for an entry to hold.
    pub(super) fn add(&mut self, key: &Bytes, entry: &Entry, held: Option<Held>) {
        let put = |lease| Op::Put {
            key: key.clone(),
            value: entry.value.clone(),
            lease,
        };
        let (op, done) = match (entry.wish, held) {
            (Wish::Hold, Some(held)) => {
                self.buckets |= 1 << entry.bucket;
                (put(Some(held.lease)), Done::Held(held))
            }
            (Wish::Put, _) => (put(None), Done::Put),
            (Wish::Leave | Wish::Hold, _) => (Op::Delete(key.clone()), Done::Left),
        };
        if let Some(expected) = entry.expected() {
            self.look(key, expected);
        }
        if let Some(fence) = entry.fence() {
            self.look(fence, Revision(0));
        }
        self.txn.then.push(op);
        self.count(key, entry, done);
    }

    /// Adds a look at a key that should be as it was written.
    pub(super) fn add_look(&mut self, key: &Bytes, entry: &Entry) {
        let expected = entry.written.map_or(Revision(0), |written| written.at);
        self.look(key, expected);
        self.count(key, entry, Done::Looked);
    }

    fn look(&mut self, key: &Bytes, expected: Revision) {
        self.txn
            .when
            .push(Compare::ModRevision(key.clone(), expected));
        self.txn.or_else.push(Op::Get(key.clone()));
        self.looked_at.push(key.clone());
    }

    fn count(&mut self, key: &Bytes, entry: &Entry, done: Done) {
        self.request_bytes += cost(key, entry);
        self.items.push(Item {
            key: key.clone(),
            serial: entry.serial,
            done,
        });
    }
}

/// At most what a key takes of a transaction: a condition, an operation and a read; of its fence two of them.
fn cost(key: &Bytes, entry: &Entry) -> usize {
    let fence = entry.fence.as_ref();
    let fence_bytes = fence.map_or(0, |fence| 2 * (fence.len() + OP_OVERHEAD_BYTES));
    3 * (key.len() + OP_OVERHEAD_BYTES) + entry.value.len() + fence_bytes
}
