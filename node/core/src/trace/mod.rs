//! W3C Trace Context, level 1: which trace a request belongs to, and which traces are told.

mod context;
mod inbound;
mod sampler;
mod tail;

pub use context::TraceContext;
pub use inbound::{TRACEPARENT, TRACESTATE, parent_of, sanitise};
pub use sampler::{BadRatio, Sampler};
pub use tail::{Ended, Sampling, TailBudget, Worth};
