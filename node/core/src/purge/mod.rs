//! Purges: by comparing times, not by deleting.
//!
//! Every cached entry carries the [`Hlc`] at which its fetch began; a [`Purge`] is a stamp in a table that every node
//! holds. Whoever reads or inserts an entry asks [`Stamps::verdict`]: a purge beats every fetch that began before it,
//! in whatever order and however often both arrive.
//!
//! The tables are arrays of atomics that one [`StampWriter`] writes and any thread reads without a lock. What does
//! not fit in them (prefixes, hosts, namespaces: few) is immutable; a purge of one makes a new [`Stamps`] that shares
//! the arrays, and so does a table that grows. [`Merged::republish`] says when there is a new one to publish.
//! Refused: one immutable picture for all, since copying a million stamps for each of 10,000 purges a second is too
//! much, and an overlay over one, since a hit would search several levels.
//!
//! Clocks differ: a fetch on a node whose clock is ahead may be stamped later than a purge that it began before. So a
//! purge is stamped by [`Skew::purge_stamp`] as far ahead as any peer's clock is, which is measured. What is fetched
//! within that margin (a round trip where clocks are kept) after a purge is fetched once more; nothing old is ever
//! taken for new.

mod hlc;
mod log;
mod receiver;
mod scope;
mod skew;
mod stamps;
mod table;
#[cfg(test)]
mod tests;
mod wide;
mod writer;

pub use hlc::{DEFAULT_DRIFT_MAX_MS, Hlc, HlcClock, TooFarAhead};
pub use log::{LogLimits, PurgeLog, Resume};
pub use receiver::{Received, Receiver};
pub use scope::{Hardness, Purge, Scope, host_id, key_id, namespace_id, tag_id};
pub use skew::Skew;
pub use stamps::{Fetched, Stamps, Verdict};
pub use writer::{Merged, StampLimits, StampWriter};
