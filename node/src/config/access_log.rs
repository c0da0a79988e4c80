//! `[access_log]`: whether each request is written down, where and how.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use weir_core::access_log::Format;
use weir_core::units::{format_bytes, parse_bytes};

use super::logs::LogSettings;
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
    pub files_max: u32,
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
            files_max: u32::try_from(files_max).unwrap_or(u32::MAX),
        })
    }

    /// Two writers would set each other's file aside.
    pub(super) fn check_file(
        &self,
        root: &Section,
        problems: &mut Vec<Problem>,
        (logs, node): (&LogSettings, &str),
    ) {
        let (Output::File(path), Some(dir)) = (&self.output, &logs.dir) else {
            return;
        };
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let own = LogSettings::file_name(node);
        let (ours, theirs) = (whole(&dir.join(&own)), whole(path));
        let name = theirs.file_name().and_then(OsStr::to_str);
        let after = name.and_then(|name| name.strip_prefix(&*own));
        let is_own = after.is_some_and(|after| {
            let number = after.strip_prefix('.').map(str::parse::<u32>);
            after.is_empty() || number.is_some_and(|number| number.is_ok())
        });
        if is_own && theirs.parent() == ours.parent() {
            let what = format!(
                "`{}` is the file of the node's own log (`logs.dir`); another name or folder is wanted",
                path.display()
            );
            root.problem(problems, "access_log.output", what);
        }
    }
}
