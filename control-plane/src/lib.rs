//! The control plane of Weir: desired state in a store, streamed to nodes.

pub mod clock;
pub mod election;
pub mod instance;
pub mod keys;
pub mod leases;
pub mod records;
pub mod store;
pub mod sync;
mod wait;
