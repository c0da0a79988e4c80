//! What engines and their surroundings are in tests: programs that behave as the real ones do, faults included, and
//! containers to run them in.
//!
//! The programs are static binaries of the standard library alone, so that one file is a whole container image.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "plain programs with threads, clocks and locks; no part of a node"
)]

pub mod containers;
pub mod engine;
pub mod http;
