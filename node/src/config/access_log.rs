//! `[access_log]`: whether each request is written down, where and how.

use std::path::PathBuf;

use weir_core::access_log::Format;
use weir_core::units::{format_bytes, parse_bytes};

use super::reader::{Problem, Section};

/// What stands in a path for the node's name, so that nodes of one configuration write files of their own.
const NODE: &str = "{node}";
const BYTES_MAX_DEFAULT: u64 = 64 << 20;
const FILES_MAX_DEFAULT: u64 = 5;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file, set aside when it is full.
    File(PathBuf),
}

/// A line for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where lines go.
    pub output: Output,
    /// How they are written.
    pub format: Format,
    /// Bytes of one file.
    pub bytes_max: u64,
    /// Files in all, the one that is written included.
    pub files_max: usize,
}

impl AccessLog {
    /// `None` without an output: nothing is written down.
    pub(super) fn read(
        root: &mut Section,
        problems: &mut Vec<Problem>,
        node: &str,
    ) -> Option<Self> {
        let mut s = root.section(problems, "access_log");
        let output = s.text(problems, "output");
        let output = output.map(|output| match &*output {
            "stdout" => Output::Stdout,
            path => Output::File(PathBuf::from(path.replace(NODE, node))),
        });
        if output == Some(Output::File(PathBuf::new())) {
            s.problem(
                problems,
                "output",
                "is empty; `stdout` or a file's path is wanted",
            );
        }
        let format = s.parsed(problems, "format").unwrap_or(Format::Json);
        let units = (parse_bytes as fn(&str) -> _, format_bytes as fn(u64) -> _);
        let bytes_max = s
            .quantity(problems, "bytes_max", 4_096..=1 << 40, units)
            .unwrap_or(BYTES_MAX_DEFAULT);
        let files_max = s.number(problems, "files_max", FILES_MAX_DEFAULT, 1..=1_000);
        s.finish(problems);
        Some(Self {
            output: output?,
            format,
            bytes_max,
            files_max: usize::try_from(files_max).unwrap_or(usize::MAX),
        })
    }
}
