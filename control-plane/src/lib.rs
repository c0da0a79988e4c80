//! The control plane of Weir: desired state in a store, streamed to nodes.

pub mod governance;
pub mod grpc;
pub mod store;
