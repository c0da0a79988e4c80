//! What Weir promises its users, tested on the whole binary: one module for each promise.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "tests may panic; modules of one test share"
)]

mod common;
mod framing;
mod framing_connection;
mod framing_h2;
mod grpc;
mod grpc_streams;
mod headers;
mod http2;
mod operations;
mod protocols;
mod recorder;
mod routing;
mod streaming;
mod traffic;
mod trailers;
mod upgrades;
