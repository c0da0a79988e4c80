//! What a level means to each coding, and what it costs in memory.
//!
//! Streams are many at a time and run on the threads that serve, so they are held to a window of 256 KiB (half of it
//! costs brotli 8 % in size) and to levels that keep up: beyond, brotli's tables grow from 2 to 32 MiB for 3 % in size.

use super::{Coding, Level};

const KIB: usize = 1024;

/// Below 17, this encoder of brotli takes tables of 32 MiB from quality 5 on.
const WINDOW_LOG_MIN: u32 = 17;
const STREAM_WINDOW_LOG: u32 = 18;
/// 1 MiB. RFC 9659 lets zstd have 8 MiB, texts gain next to nothing from it.
const WHOLE_WINDOW_LOG_MAX: u32 = 20;

/// Below 2, each push becomes a block of its own, which doubles the size of small ones.
const STREAM_BROTLI_QUALITY_MIN: u8 = 2;
const STREAM_BROTLI_QUALITY_MAX: u8 = 6;
const STREAM_ZSTD_LEVEL_MAX: i32 = 9;
const STREAM_ZSTD_TABLE_LOG_MAX: u32 = 17;

/// By level. 0 would be "stored" in gzip and "the default" in zstd, so the least effort is 1.
const GZIP_LEVELS: [u32; 12] = [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9];
const ZSTD_LEVELS: [i32; 12] = [1, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 17];

/// The sizes of zstd's two tables, as powers of two of entries; by default they grow with the level without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ZstdTables {
    pub(super) hash_log: u32,
    pub(super) chain_log: u32,
}

/// How one encoder is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameters {
    Identity,
    Brotli {
        quality: u8,
        window_log: u32,
        input_bytes: Option<usize>,
    },
    Gzip {
        level: u32,
    },
    Zstd {
        level: i32,
        window_log: u32,
        tables: Option<ZstdTables>,
        input_bytes: Option<usize>,
    },
}

impl Parameters {
    /// For what comes in parts, its end unknown.
    pub(super) fn streamed(coding: Coding, level: Level) -> Self {
        let effort = usize::from(level.0);
        match coding {
            Coding::Identity => Self::Identity,
            Coding::Brotli => Self::Brotli {
                quality: level
                    .0
                    .clamp(STREAM_BROTLI_QUALITY_MIN, STREAM_BROTLI_QUALITY_MAX),
                window_log: STREAM_WINDOW_LOG,
                input_bytes: None,
            },
            Coding::Gzip => Self::Gzip {
                level: GZIP_LEVELS[effort],
            },
            Coding::Zstd => {
                let level = ZSTD_LEVELS[effort].min(STREAM_ZSTD_LEVEL_MAX);
                Self::Zstd {
                    level,
                    window_log: STREAM_WINDOW_LOG,
                    tables: Some(stream_tables(level)),
                    input_bytes: None,
                }
            }
        }
    }

    /// For `input_bytes` that are all there.
    pub(super) fn whole(coding: Coding, level: Level, input_bytes: usize) -> Self {
        let effort = usize::from(level.0);
        let window_log = input_bytes
            .checked_next_power_of_two()
            .map_or(WHOLE_WINDOW_LOG_MAX, usize::ilog2)
            .clamp(WINDOW_LOG_MIN, WHOLE_WINDOW_LOG_MAX);
        match coding {
            Coding::Identity => Self::Identity,
            Coding::Brotli => Self::Brotli {
                quality: level.0,
                window_log,
                input_bytes: Some(input_bytes),
            },
            Coding::Gzip => Self::Gzip {
                level: GZIP_LEVELS[effort],
            },
            Coding::Zstd => Self::Zstd {
                level: ZSTD_LEVELS[effort],
                window_log,
                tables: None,
                input_bytes: Some(input_bytes),
            },
        }
    }
}

/// zstd's own sizes for the lowest levels, held to a bound above.
fn stream_tables(level: i32) -> ZstdTables {
    let (hash_log, chain_log) = match level {
        ..=1 => (14, 13),
        2 => (16, 15),
        3 => (STREAM_ZSTD_TABLE_LOG_MAX, 16),
        4.. => (STREAM_ZSTD_TABLE_LOG_MAX, STREAM_ZSTD_TABLE_LOG_MAX),
    };
    ZstdTables {
        hash_log,
        chain_log,
    }
}

/// Bytes that one [`Encoder`](super::Encoder) for a stream takes at most, from what it is set up with: at level 6
/// about 7.6 MiB for brotli, 0.5 MiB for gzip and 2 MiB for zstd; none takes more at a higher level.
pub fn streamed_memory_bytes_max(coding: Coding, level: Level) -> usize {
    let own = super::steps::OUTPUT_BYTES;
    let library = match Parameters::streamed(coding, level) {
        Parameters::Identity => 0,
        Parameters::Brotli {
            quality,
            window_log,
            ..
        } => brotli_memory_bytes(quality, window_log),
        Parameters::Gzip { .. } => 448 * KIB,
        Parameters::Zstd { tables, .. } => {
            // Window, block in, block out, sequences.
            let buffers = 1040 * KIB;
            let entries =
                tables.map_or(0, |tables| (1 << tables.hash_log) + (1 << tables.chain_log));
            buffers + entries * size_of::<u32>()
        }
    };
    own + library
}

fn brotli_memory_bytes(quality: u8, window_log: u32) -> usize {
    // Codes and histograms of a block that is under way, by measure: nothing in the format bounds them.
    let block = if quality < 4 { 3072 * KIB } else { 5120 * KIB };
    let ring = (2 << window_log) + 64 * KIB;
    let entries = match quality {
        ..=3 => 1 << 16,
        4 => 1 << 17,
        _ => 1 << (14 + u32::from(quality) - 1),
    };
    block + ring + entries * size_of::<u32>()
}
