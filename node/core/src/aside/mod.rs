//! Values that applications keep beside their stores ("cache-aside"): what may be put, who is to load, whose copy is
//! believed, and whom a change concerns.

mod bounds;
mod changes;
mod leases;
mod owners;

pub use bounds::{
    KEY_BYTES_MAX, LEASE_DEFAULT, LEASE_RANGE, OutOfBounds, TTL_MAX, VALUE_BYTES_MAX, WAIT_DEFAULT,
    WAIT_MAX, check_key, check_tags, check_value, lease_ttl, load_wait, value_ttl,
};
pub use changes::{Change, ChangeLog, LogLimits, Missed, Scope, Watched, What};
pub use leases::{Asked, LEASES_MAX, Lease, Leases, NotHeld};
pub use owners::SeenNodes;
