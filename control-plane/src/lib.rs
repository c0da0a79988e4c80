//! The control plane of Weir: desired state in a store, streamed to nodes.

pub mod clock;
pub mod election;
pub mod instance;
pub mod keys;
pub mod leases;
pub mod problem;
pub mod records;
pub mod registry;
pub mod store;
mod wait;
