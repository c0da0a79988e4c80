//! Purges: by comparing times, not by deleting.
//!
//! Every cached entry carries the [`Hlc`] at which its fetch began; a [`Purge`] is a stamp in a table that every node holds.
//! Whoever reads or inserts an entry asks [`Stamps::verdict`]: a purge beats every fetch that began before it, in
//! whatever order and however often both arrive.
//!
//! The tables are arrays of atomics that one [`StampWriter`] writes and any thread reads without a lock. What does not fit
//! in them (prefixes, hosts, namespaces: few) is immutable; a purge of one makes a new [`Stamps`] that shares the arrays,
//! and so does a table that grows. [`Merged::republish`] says when there is a new one to publish.

mod hlc;
mod log;
mod scope;
mod stamps;

pub use hlc::{DEFAULT_DRIFT_MAX_MS, Hlc, HlcClock, TooFarAhead};
pub use log::{LogLimits, PurgeLog, Received, Receiver, Resume};
pub use scope::{Hardness, Purge, Scope, host_id, key_id, namespace_id, tag_id};
pub use stamps::{Fetched, Merged, StampLimits, StampWriter, Stamps, Verdict};
