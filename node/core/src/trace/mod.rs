//! W3C Trace Context, level 1: which trace a request belongs to.

mod context;
mod sampler;

pub use context::TraceContext;
pub use sampler::{BadRatio, Sampler};

/// A `tracestate` longer than this, all lines together, in bytes, is dropped rather than passed on
/// (W3C Trace Context section 3.3.1.5 asks for at least this much).
pub const TRACESTATE_BYTES_MAX: usize = 512;
