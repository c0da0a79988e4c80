//! Stand-ins for what Weir runs and asks: tests run them in process, as processes, and in containers from scratch.
//!
//! No dependencies, no runtime: with `-C target-feature=+crt-static` each binary is one static file, built in seconds.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these are no part of a node: they have threads, locks and a clock of their own"
)]

pub mod containers;
pub mod engine;
mod get;
pub mod gluetun;
pub mod http;
mod push;
pub mod redis;
mod server;

pub use get::get;
pub use push::push;
