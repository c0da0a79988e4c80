//! The Weir node: everything but the decisions, which are in `weir-core`.

pub mod actors;
pub mod broadcast;
pub mod cache_api;
pub mod cdn;
pub mod cli;
pub mod config;
pub mod control_link;
pub mod data_plane;
pub mod describe;
pub mod engine_api;
pub mod engine_room;
pub mod events;
pub mod grpc;
pub mod guardian;
pub mod http_api;
pub mod link;
pub mod logs;
pub mod logs_api;
pub mod node;
pub mod orders;
pub mod peers;
pub mod ports;
mod prober;
pub mod snapshot;
pub mod telemetry;
pub mod trace_api;
pub mod wiring;
