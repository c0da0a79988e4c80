//! Logs, counters and traces.

pub mod cache;
pub mod compression;
pub mod counters;
pub mod logs;
pub mod metrics;
pub mod otlp;
pub mod spans;
pub mod steps;
