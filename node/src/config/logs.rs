//! Where log lines are kept, and how much of them.

use std::path::PathBuf;

use weir_core::units::{format_bytes, parse_bytes};

use super::reader::{Problem, Section};

/// Where log lines are kept, beside standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The folder of the node's file, `NAME.log`; without one the newest lines are kept in memory.
    pub dir: Option<PathBuf>,
    /// Bytes of one file.
    pub bytes_max: u64,
    /// Files in all, the one that is written to included.
    pub files_max: u32,
}

impl LogSettings {
    /// The file of a node in that folder.
    pub fn file_name(node: &str) -> String {
        format!("{node}.log")
    }

    pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = root.section(problems, "logs");
        let bytes = s.quantity(
            problems,
            "bytes_max",
            64 << 10..=16 << 30,
            (parse_bytes, format_bytes),
        );
        let files = s.number(problems, "files_max", 5, 1..=100);
        let read = Self {
            dir: s.path(problems, "dir"),
            bytes_max: bytes.unwrap_or(64 << 20),
            files_max: u32::try_from(files).unwrap_or(5),
        };
        s.finish(problems);
        read
    }
}
