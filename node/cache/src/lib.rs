//! Where answers are kept. What may be kept and served is decided in `weir_core::cache`.
//!
//! ```text
//! store    what the request path asks: find, insert, join a fetch under way     store.rs
//! memory   the first tier: entries by key, within bytes                         memory.rs entry.rs
//! kernel   bodies asked for often, which the kernel sends without a copy        in_kernel.rs
//! flights  one fetch for everybody who wants the same                           flights.rs
//! fill     a body that is read while it comes                                   fill.rs
//! blocks   memory of bodies, of one size for all                                blocks.rs
//! reading  who reads what is kept, also when it is kept no more                 reading.rs budget.rs
//! interest who still wants what is fetched                                      interest.rs
//! codings  brotli, gzip and zstd: whole variants and streams                    codings/
//! coders   makes coded forms of what is kept, beside the traffic                coders/
//! redis    the tier that nodes share                                            redis/
//! value    entries as bytes                                                     value/
//! aside    values that applications put                                         aside/
//! purges   what must not be served any more, here and on other nodes            purges.rs
//! solo     what cannot be shared, so that nobody waits for it                   solo.rs
//! ```
//!
//! Locks are held for a few instructions and never while anything is waited for. A hit in memory takes the read side
//! of one shard.

pub mod aside;
mod blocks;
mod budget;
mod coders;
pub mod codings;
mod entry;
mod fill;
mod flights;
mod in_kernel;
mod interest;
mod memory;
mod purges;
mod reading;
pub mod redis;
mod solo;
mod store;
pub mod value;

pub use budget::{Budget, LAZY_AFTER};
pub use entry::{CodedForm, Entry, Resource};
pub use fill::{Broken, Fill, FillReader, FillWriter, Refused};
pub use flights::{
    FlightOf, Flights, Follower, Joined, Landed, Leader, TURNS_MAX, Turn, Turns, Want, is_personal,
};
pub use in_kernel::KernelCopy;
pub use interest::{Interested, Place, REFRESHES_MAX, UNWANTED_MAX};
pub use memory::MemoryLimits;
pub use purges::{Counts as PurgeCounts, Missed, PurgeLimits, Purges, SCOPES};
pub use reading::{EntryReader, PIECE_BYTES_MAX};
pub use store::{Found, SharedTier, Store};
