//! Log lines: how one is written, which of them a reader wants, and how a file of them is read from its end.
//!
//! A line is one JSON object that begins with its time and its level, so that what is not wanted is passed over
//! without being parsed.

mod levels;
mod line;
mod pace;
mod query;
mod rotation;
mod tail;

pub use levels::{BadLevels, Level, check_levels};
pub use line::{Head, LINE_BYTES_MAX, Writer, head, unix_ms};
pub use pace::LinePace;
pub use query::{BadQuery, GREP_BYTES_MAX, Judged, LINES_MAX, Query};
pub use rotation::Rotation;
pub use tail::Backwards;
