//! The control plane of Weir: desired state in a store, streamed to nodes.

pub mod grpc;
pub mod profiles;
pub mod store;
pub mod weights;
