//! Keys that are there as long as this instance says so.
//!
//! Leases are dear in a store, so nobody has one of its own: an instance holds up to [`BUCKETS_MAX`] of them
//! ([`Buckets`]) and spreads what it asserts over them ([`Presences`]). They prove that the *instance* lives;
//! whether a node or a backend does is told by the timer of whoever hears it.
//!
//! An instance that takes a key over puts it under a lease of its own. That takes the key off the dead
//! instance's lease, so nobody sees it go. Who holds a key is told by its lease: no two instances share one.

mod buckets;
mod presences;

pub use buckets::{BUCKETS_MAX, Buckets, Held, Leases, Options};
pub use presences::{
    AUDIT_EVERY, ENTRIES_MAX, GATHER_WINDOW, Presences, Refused, Settled, Settlement, Tenure,
    Unsettled,
};
