//! The control plane of Weir: desired state in a store, streamed to nodes.

mod backoff;
pub mod clock;
pub mod keys;
pub mod leases;
pub mod records;
pub mod store;
