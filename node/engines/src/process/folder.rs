//! The folder of one engine: its output in two files, and what finds it again after a crash of the node.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const OUTPUT: &str = "log";
const OUTPUT_BEFORE: &str = "log.1";
const STATE: &str = "state";
const STATE_NEW: &str = "state.new";

/// Who guards an engine, for a later life of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trace {
    /// The engine.
    pub(super) name: String,
    /// Its fence.
    pub(super) fence: u64,
    /// The machine's run: start times count from its beginning.
    pub(super) boot_id: String,
    /// The guard, which leads the engine's session.
    pub(super) guard_pid: i32,
    /// When the guard started, clock ticks.
    pub(super) guard_start_ticks: u64,
    /// The engine's process group.
    pub(super) group: i32,
}

/// The folder of one engine.
#[derive(Clone, Debug)]
pub(super) struct EngineFolder(PathBuf);

impl EngineFolder {
    /// That of the engine of this name, which may be missing.
    pub(super) fn of(root: &Path, name: &str) -> Self {
        Self(root.join(name))
    }

    /// One that exists.
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What is being written to now.
    pub(super) fn output(&self) -> PathBuf {
        self.0.join(OUTPUT)
    }

    /// What was written to before.
    pub(super) fn output_before(&self) -> PathBuf {
        self.0.join(OUTPUT_BEFORE)
    }

    /// Makes it, empty. Nobody else may read what an engine writes.
    pub(super) fn make(&self) -> io::Result<()> {
        self.remove()?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
    }

    /// Removes it with the files that are known here, so that a folder given by mistake loses nothing else.
    pub(super) fn remove(&self) -> io::Result<()> {
        for file in [OUTPUT, OUTPUT_BEFORE, STATE, STATE_NEW] {
            fine_if_missing(fs::remove_file(self.0.join(file)))?;
        }
        fine_if_missing(fs::remove_dir(&self.0))
    }

    /// Keeps the trace; a torn one is never seen.
    pub(super) fn keep(&self, trace: &Trace) -> io::Result<()> {
        let new = self.0.join(STATE_NEW);
        fs::write(&new, serde_json::to_vec(trace)?)?;
        fs::rename(new, self.0.join(STATE))
    }

    /// The trace in it, if there is one that can be read.
    pub(super) fn trace(&self) -> Option<Trace> {
        serde_json::from_slice(&fs::read(self.0.join(STATE)).ok()?).ok()
    }

    /// Nothing runs any more that the trace could lead to.
    pub(super) fn forget(&self) -> io::Result<()> {
        fine_if_missing(fs::remove_file(self.0.join(STATE)))
    }

    /// The last lines that were written, oldest first.
    pub(super) fn last_lines(&self, lines_max: usize) -> io::Result<Vec<String>> {
        let mut text = read_or_nothing(&self.output_before())?;
        text.extend(read_or_nothing(&self.output())?);
        let text = String::from_utf8_lossy(&text);
        let mut lines: Vec<String> = text
            .lines()
            .rev()
            .take(lines_max)
            .map(str::to_owned)
            .collect();
        lines.reverse();
        Ok(lines)
    }
}

fn fine_if_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn read_or_nothing(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result,
    }
}
