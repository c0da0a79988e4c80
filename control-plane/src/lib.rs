//! The control plane of Weir: desired state in a store, streamed to nodes.

pub mod store;
pub mod sync;
