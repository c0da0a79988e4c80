//! Logs, counters and traces.

pub mod access;
pub mod alerts;
pub mod cache;
pub mod compression;
pub mod counters;
pub mod exemplars;
pub mod exposition;
pub mod history;
pub mod http_client;
pub mod http_server;
pub mod logs;
pub mod metrics;
pub mod otlp;
pub mod otlp_metrics;
pub mod points;
pub mod process;
pub mod receiver;
pub mod recent;
pub mod spans;
pub mod steps;
pub mod wire;
