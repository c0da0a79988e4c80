//! Logs, counters and traces.

pub mod access;
pub mod cache;
pub mod compression;
pub mod counters;
pub mod exemplars;
pub mod exposition;
pub mod history;
pub mod logs;
pub mod metrics;
pub mod otlp;
pub mod process;
pub mod recent;
pub mod spans;
pub mod steps;
