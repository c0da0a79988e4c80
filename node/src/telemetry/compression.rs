//! What one core counts of compression.

use weir_core::content_coding::Coding;

use super::counters::Counter;

/// What was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Compressed {
    /// An answer on its way to one client.
    Stream,
    /// A form of what the cache keeps.
    Stored,
}

impl Compressed {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stream, Self::Stored];

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Stored => "stored",
        }
    }
}

/// What one core counts of compression.
#[derive(Debug, Default)]
pub struct CompressionCoreMetrics {
    compressions: [[Counter; Compressed::ALL.len()]; Coding::ALL.len()],
    /// Answers sent as they were because there was no memory for a compressor.
    pub without_room: Counter,
}

impl CompressionCoreMetrics {
    /// How often this was compressed.
    pub fn compressions(&self, coding: Coding, what: Compressed) -> &Counter {
        &self.compressions[coding as usize][what as usize]
    }
}
