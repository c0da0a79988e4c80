//! Compressors: what makes a response smaller on its way to a client or on its way into the cache.
//!
//! Which coding a response gets is decided in `weir_core`; here it is made; identity is the bytes as they are.
//! [`compress_whole`] makes a form to be kept, [`Encoder`] takes bytes as they come, [`CompressedBody`] is an
//! [`Encoder`] around a body.
//!
//! Measured on HTML, JavaScript, CSS and JSON of 70 to 370 kB, one core, level 6 (MB/s, ratio): `brotli` 41, 6.6;
//! `flate2` on zlib-rs 112, 6.1 (on miniz_oxide 45, 6.1); `zstd-safe`, which is libzstd, 149, 6.3 (in pure Rust:
//! `structured-zstd` 112, 6.3, but for newer compilers only; `ruzstd` has one level: 121, 4.0).

mod body;
mod encoder;
mod parameters;
mod steps;
mod whole;

#[cfg(test)]
mod body_tests;
#[cfg(test)]
mod tests;

pub use body::CompressedBody;
pub use encoder::Encoder;
pub use parameters::streamed_memory_bytes_max;
pub use weir_core::content_coding::Coding;
pub use whole::{compress_whole, compress_whole_while};

/// The effort, 0 to 11, as in the knob `ingress.compression_level`. Each coding has its own range; see
/// [`Level::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// The greatest effort.
    pub const MAX: Self = Self(11);

    /// What is above 11 is 11: the knob's bounds are checked where it is read.
    pub const fn new(effort: u8) -> Self {
        if effort > Self::MAX.0 {
            Self::MAX
        } else {
            Self(effort)
        }
    }
}

/// A compressor failed: no memory, or a fault of the library. What it made so far is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", .coding.name())]
pub struct CodingError {
    /// Which compressor.
    pub coding: Coding,
    /// What it says.
    pub reason: &'static str,
}
