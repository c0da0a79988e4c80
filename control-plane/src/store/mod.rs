//! Where the control plane keeps what must survive it: keys and values under one rising revision.
//!
//! Three stores, one meaning: [`etcd`] for a cluster, [`embedded`] for a single machine, [`memory`] for
//! simulations. All hold to the limits in [`limits`] and to one conformance suite, so what works on one works
//! on the others.
//!
//! Every change is a transaction: it compares, then does all of one list of operations or all of the
//! other, and takes one revision. Fences are comparisons of a create or mod revision, never of time: a
//! lease tells when its holder is presumed gone, the revision proves it.
//!
//! An error of [`Store::txn`] for which [`Error::is_ambiguous`] holds may hide a change that was made.
//! Write something that is yours alone with it and look for that, before you try again.
//!
//! A watch ends with an error and is not resumed; [`follow`] builds on it the stream that does not end.

pub mod embedded;
mod error;
pub mod etcd;
pub mod follow;
mod lease_clock;
pub mod limits;
pub mod memory;
mod pages;
mod types;

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use error::Error;
pub use limits::Invalid;
pub(crate) use pages::Pages;
pub use types::{
    Compare, Entry, Event, EventKind, Lease, LeaseId, List, Op, OpResult, Page, Revision, Status,
    StoreId, Txn, TxnOutcome, Watch, Watched,
};

/// What a watch delivers. It ends after its first error.
pub type WatchStream = BoxStream<'static, Result<Watched, Error>>;

/// A store with revisions, transactions, leases and watches.
///
/// Object-safe, with boxed futures: every part of the control plane holds an `Arc<dyn Store>`. A box is
/// nothing beside the disk or the network, and no part needs a type parameter for its store.
///
/// Every call ends within the deadline that its store was opened with. Dropping a call's future does not
/// undo it.
pub trait Store: Send + Sync + 'static {
    /// The entry at `key`, now or as it was at a revision.
    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>>;

    /// The entries below a prefix, in order of their keys, a page at a time.
    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, Error>>;

    /// Compares, and does one of two lists of operations as a whole.
    ///
    /// Takes a revision if it wrote anything, be it the same value; deleting what is not there writes nothing.
    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>>;

    /// A new lease. Keys put with it are deleted, all in one revision, when it expires.
    ///
    /// It expires no earlier than its time to live after its last keep-alive was sent, unless the store stood
    /// still meanwhile; later by some seconds, and by a whole time to live if the store restarted.
    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, Error>>;

    /// Lets the lease live its whole time again.
    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>>;

    /// Ends the lease and deletes its keys, all in one revision.
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>>;

    /// What happens below a prefix from a revision on, in order, each revision in one piece.
    ///
    /// Says something at least as often as its store was told to prove that it lives. A watch from below the
    /// compacted revision ends with [`Error::Compacted`], either here or as its first item.
    fn watch(&self, watch: Watch) -> BoxFuture<'_, Result<WatchStream, Error>>;

    /// Forgets what was before `at`: reads and watches from `at` on still work.
    fn compact(&self, at: Revision) -> BoxFuture<'_, Result<(), Error>>;

    /// How the store is.
    fn status(&self) -> BoxFuture<'_, Result<Status, Error>>;

    /// Whether nobody else can have it while it is open here: who left a lease in it is gone.
    fn is_exclusive(&self) -> bool {
        false
    }
}

/// Puts a deadline on a call.
pub(crate) async fn within<T>(
    operation: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(Error::Late { operation, limit }),
    }
}

/// Whether a revision can be read.
fn check_known(at: Revision, revision: u64, compacted: u64) -> Result<(), Error> {
    if at.0 > revision {
        return Err(Error::Future {
            asked: at,
            current: Some(Revision(revision)),
        });
    }
    if at.0 < compacted {
        return Err(Error::Compacted {
            asked: at,
            compacted: Some(Revision(compacted)),
        });
    }
    Ok(())
}
