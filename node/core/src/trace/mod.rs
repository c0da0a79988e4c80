//! W3C Trace Context, level 1: which trace a request belongs to.

mod context;
mod sampler;

pub use context::TraceContext;
pub use sampler::{BadRatio, Sampler};
