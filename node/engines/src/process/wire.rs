//! What a driver and its guards say: one JSON document a line, over the guard's standard input and output.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The first line that a guard reads. Not arguments, because those can be read by everybody on the machine.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    /// The engine's own folder, for its output.
    pub(super) folder: PathBuf,
    /// Program and arguments.
    pub(super) command: Vec<String>,
    /// The whole environment.
    pub(super) env: BTreeMap<String, String>,
    /// Files that it may have open; as many as the guard if nothing is said.
    pub(super) open_files: Option<u64>,
    /// What the engine gets between SIGTERM and SIGKILL when nobody says otherwise, milliseconds.
    pub(super) grace_ms: u64,
}

/// Every further line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Order {
    /// End the engine.
    Stop {
        /// Between SIGTERM and SIGKILL, milliseconds.
        grace_ms: u64,
    },
}

/// What a guard tells.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Report {
    /// The program runs.
    Started {
        /// Its process, which is its group as well.
        pid: u32,
    },
    /// The program could not be run.
    Failed {
        /// The system's number of the error.
        errno: i32,
    },
    /// So many lines of output were lost in all.
    LinesLost(u64),
    /// The engine is gone, all of it.
    Ended {
        /// Of the program; see [`crate::driver::State::Ended`].
        code: i64,
        /// What it wrote last.
        last_line: String,
    },
}

/// A message as a line.
pub(super) fn line_of(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// The message in a line.
pub(super) fn message_in<M: DeserializeOwned>(line: &str) -> io::Result<M> {
    Ok(serde_json::from_str(line)?)
}
