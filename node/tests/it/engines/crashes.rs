//! Nodes and guards are killed; no engine outlives them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt as _;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use weir_engines::driver::{Driver as _, State};
use weir_engines::process::ProcessDriver;

use super::{
    FAMILY, NOBODY, driver, family_is_there, guard_of, kill, mark, marked, nobody_is_left,
    settings, shell,
};
use crate::common::PATIENCE;

const SECOND: Duration = Duration::from_secs(1);
const FOLDER: &str = "WEIR_TEST_ENGINES";
const SCRIPT: &str = "WEIR_TEST_SCRIPT";
const GRACE_MS: &str = "WEIR_TEST_GRACE_MS";

/// A node in a process of its own, with one engine called `one`.
struct Node {
    child: Child,
    program: u32,
}

impl Node {
    async fn start(folder: &Path, mark: &str, script: &str, grace_ms: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "engines::crashes::a_node_to_be_killed",
                "--nocapture",
                "--ignored",
            ])
            .env(FOLDER, folder)
            .env(SCRIPT, script)
            .env(GRACE_MS, grace_ms.to_string())
            .env("WEIR_TEST_ENGINES_MARK", mark)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let program = timeout(PATIENCE, async {
            loop {
                let line = lines
                    .next_line()
                    .await
                    .unwrap()
                    .expect("it starts an engine");
                if let Some((_, pid)) = line.split_once("program ") {
                    break pid.parse().unwrap();
                }
            }
        });
        let program = program.await.expect("it starts an engine");
        Self { child, program }
    }
}

#[tokio::test]
#[ignore = "what other tests run as a process of its own, and kill"]
async fn a_node_to_be_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let told = |name| std::env::var(name).unwrap();
    let mut settings = settings(Path::new(&folder));
    settings.orphan_grace = Duration::from_millis(told(GRACE_MS).parse().unwrap());
    let driver = ProcessDriver::open(settings).unwrap();
    let spec = shell("one", 7, &told("WEIR_TEST_ENGINES_MARK"), &told(SCRIPT));
    let running = driver.start(spec).await.unwrap();
    println!("program {}", running.pid.unwrap());
    std::future::pending().await
}

#[tokio::test]
async fn a_killed_node_leaves_nothing_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let mark = mark("node");
    let mut node = Node::start(folder.path(), &mark, FAMILY, 300).await;
    family_is_there(&mark).await;
    let guard = guard_of(node.program);
    node.child.kill().await.unwrap();
    nobody_is_left(&mark, SECOND).await;
    super::until("the guard has ended", SECOND, || {
        super::state_and_parent(guard).is_none_or(|(state, _)| "ZX".contains(state))
    })
    .await;
}

#[tokio::test]
async fn a_killed_guard_takes_everything_with_it_within_a_second() {
    let (driver, folder) = driver();
    let mark = mark("guard");
    let mut ends = driver.ends();
    let running = driver.start(shell("one", 1, &mark, FAMILY)).await.unwrap();
    family_is_there(&mark).await;
    kill(guard_of(running.pid.unwrap()), Signal::KILL);
    nobody_is_left(&mark, SECOND).await;
    let ended = timeout(PATIENCE, ends.next()).await.unwrap().unwrap();
    assert_eq!((ended.name.as_str(), ended.code), ("one", Some(137)));
    assert_eq!(driver.list().await.unwrap()[0].state, State::Ended(137));
    assert!(!folder.path().join("one/state").exists());
    driver
        .start(shell("one", 1, &mark, "exec sleep 1000"))
        .await
        .unwrap();
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_guard_that_is_told_to_end_ends_its_engine_first() {
    let (driver, _folder) = driver();
    let mark = mark("told");
    let mut ends = driver.ends();
    let running = driver.start(shell("one", 1, &mark, FAMILY)).await.unwrap();
    family_is_there(&mark).await;
    kill(guard_of(running.pid.unwrap()), Signal::TERM);
    let ended = timeout(PATIENCE, ends.next()).await.unwrap().unwrap();
    assert_eq!(ended.code, Some(143));
    assert_eq!(marked(&mark), NOBODY);
}

#[tokio::test]
async fn a_guard_that_hangs_is_killed_with_its_engine() {
    let (driver, _folder) = driver();
    let mark = mark("hangs");
    let running = driver.start(shell("one", 1, &mark, FAMILY)).await.unwrap();
    family_is_there(&mark).await;
    kill(guard_of(running.pid.unwrap()), Signal::STOP);
    driver.stop("one", u64::MAX, Duration::ZERO).await.unwrap();
    assert_eq!(marked(&mark), NOBODY);
    assert_eq!(driver.list().await.unwrap(), []);
}

#[tokio::test]
async fn what_outlives_node_and_guard_is_ended_before_its_name_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (mark("both"), mark("next"));
    let mut node = Node::start(folder.path(), &old, FAMILY, 60_000).await;
    family_is_there(&old).await;
    // Neither of them gets to clear up after the other.
    let guard = guard_of(node.program);
    kill(guard, Signal::STOP);
    node.child.kill().await.unwrap();
    kill(guard, Signal::KILL);
    assert!(
        !marked(&old).is_empty(),
        "only the program dies with its guard"
    );
    let driver = ProcessDriver::open(settings(folder.path())).unwrap();
    assert_eq!(driver.list().await.unwrap(), []);
    driver
        .start(shell("one", 8, &new, "exec sleep 1000"))
        .await
        .unwrap();
    assert_eq!(marked(&old), NOBODY);
    assert_eq!(marked(&new).len(), 1);
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_guard_in_its_grace_is_waited_for_and_ended_when_it_is_late() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (mark("grace"), mark("after"));
    let deaf = "trap '' TERM; echo deaf; while :; do sleep 0.05; done";
    let mut node = Node::start(folder.path(), &old, deaf, 60_000).await;
    super::wrote(&folder, "deaf").await;
    node.child.kill().await.unwrap();
    let driver = ProcessDriver::open(settings(folder.path())).unwrap();
    assert!(!marked(&old).is_empty(), "its grace is long");
    driver
        .start(shell("one", 8, &new, "exec sleep 1000"))
        .await
        .unwrap();
    assert_eq!(marked(&old), NOBODY);
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
    assert!(!folder.path().join("one").exists());
}

#[tokio::test]
async fn a_process_that_came_to_a_guards_number_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut stranger = Command::new("sleep")
        .arg("1000")
        .process_group(0)
        .spawn()
        .unwrap();
    let pid = stranger.id().unwrap();
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let trace = format!(
        "{{\"name\":\"one\",\"fence\":1,\"boot_id\":\"{}\",\"guard_pid\":{pid},\
         \"guard_start_ticks\":1,\"group\":{pid}}}",
        boot_id.trim()
    );
    std::fs::create_dir(folder.path().join("one")).unwrap();
    std::fs::write(folder.path().join("one/state"), trace).unwrap();
    let driver = ProcessDriver::open(settings(folder.path())).unwrap();
    driver
        .start(shell("one", 2, "x", "exec sleep 1000"))
        .await
        .unwrap();
    assert_eq!(stranger.try_wait().unwrap(), None);
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
    stranger.kill().await.unwrap();
}
