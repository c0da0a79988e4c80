//! The control plane of Weir: desired state in a store, streamed to nodes.

pub mod clock;
mod connections;
mod duties;
pub mod election;
pub mod epoch;
pub mod fleet;
pub mod governance;
pub mod grpc;
pub mod instance;
pub mod jobs;
pub mod keys;
pub mod leases;
pub mod orders;
mod problem;
pub mod profiles;
pub mod quota;
pub mod records;
pub mod registry;
pub mod server;
pub mod steps;
pub mod store;
pub mod sync;
pub mod view;
mod wait;
pub mod weights;
