//! Engines as processes: whatever is killed, nothing of an engine outlives it, and what happened is told.

mod crashes;
mod ends;
mod output;
mod starts;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};
use weir_engines::driver::{EngineSpec, Network};
use weir_engines::process::{ProcessDriver, Settings};

use crate::common::PATIENCE;

/// The variable by which a test finds everything that its engine started.
const MARK: &str = "WEIR_TEST_MARK";
/// Children and orphans in the program's group, and two orphans with a group of their own (`timeout` makes one).
const FAMILY: &str =
    "sleep 1000 & sh -c 'sleep 1000 & sleep 1000 &'; (timeout 1000 sleep 1000 &); wait";
/// Processes of [`FAMILY`] with the shell that it is.
const FAMILY_SIZE: usize = 6;
const NOBODY: [i32; 0] = [];

fn settings(folder: &Path) -> Settings {
    Settings {
        weir: env!("CARGO_BIN_EXE_weir").into(),
        folder: folder.to_owned(),
        orphan_grace: Duration::from_millis(300),
        settle: Duration::from_millis(100),
        open_files: None,
        unix_ms: Arc::new(|| 1_700_000_000_000),
    }
}

/// A driver with a folder that goes with it.
fn driver() -> (ProcessDriver, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (
        ProcessDriver::open(settings(folder.path())).unwrap(),
        folder,
    )
}

/// A shell that does this, with `mark` in its environment.
fn shell(name: &str, fence: u64, mark: &str, script: &str) -> EngineSpec {
    EngineSpec {
        name: name.to_owned(),
        fence,
        labels: [("service".to_owned(), "tv".to_owned())].into(),
        image: String::new(),
        command: ["sh", "-c", script].map(str::to_owned).into(),
        env: [(MARK.to_owned(), mark.to_owned())].into(),
        network: Network::Default,
        published: Vec::new(),
        memory_bytes_max: None,
        cpu_millis_max: None,
        start_timeout: PATIENCE,
    }
}

/// A mark that nobody else has.
fn mark(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Living processes that have this mark in their environment.
fn marked(mark: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={mark}");
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|one| one == wanted.as_bytes())
        })
        .collect()
}

/// State and parent of a process.
fn state_and_parent(pid: i32) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The guard of the engine whose program this is.
fn guard_of(program: u32) -> i32 {
    state_and_parent(program.try_into().unwrap()).unwrap().1
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Looks until it is so.
async fn until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Looks until the engine `one` wrote this line.
async fn wrote(folder: &tempfile::TempDir, line: &str) {
    let output = folder.path().join("one/log");
    until(line, PATIENCE, || {
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        text.lines().any(|one| one == line)
    })
    .await;
}

/// Looks until the whole family runs.
async fn family_is_there(mark: &str) {
    until("the family runs", PATIENCE, || {
        marked(mark).len() == FAMILY_SIZE
    })
    .await;
}

async fn nobody_is_left(mark: &str, within: Duration) {
    let what = format!("nobody of {mark} is left");
    until(&what, within, || marked(mark).is_empty()).await;
}
