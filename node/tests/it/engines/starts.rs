//! What it takes to start an engine, and who may.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;
use weir_engines::driver::{Driver as _, Error, State};
use weir_engines::process::{ProcessDriver, Settings};

use super::{driver, guard_of, mark, marked, settings, shell, state_and_parent};
use crate::common::{PATIENCE, free_ports};

const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test]
async fn an_engine_gets_what_its_specification_says_and_nothing_else_of_the_node() {
    let (driver, folder) = driver();
    let mark = mark("environment");
    let script = "tr '\\0' '\\n' < /proc/$$/environ; readlink /proc/$$/fd/0; exec sleep 1000";
    let running = driver.start(shell("one", 1, &mark, script)).await.unwrap();
    assert_eq!((running.name.as_str(), running.fence), ("one", 1));
    assert_eq!(running.labels["service"], "tv");
    assert_eq!(running.state, State::Running);
    assert_eq!(running.started_unix_ms, 1_700_000_000_000);
    let pid = i32::try_from(running.pid.unwrap()).unwrap();
    assert_eq!(marked(&mark), [pid]);
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    let expected = BTreeSet::from([
        path,
        format!("{}={mark}", super::MARK),
        "/dev/null".to_owned(),
    ]);
    super::wrote(&folder, "/dev/null").await;
    let lines: BTreeSet<String> = driver.logs("one", 10).await.unwrap().into_iter().collect();
    assert_eq!(lines, expected);
    assert_eq!(driver.list().await.unwrap(), [running]);
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn an_engine_leads_a_group_of_its_own_away_from_the_nodes_terminal() {
    let (driver, _folder) = driver();
    let running = driver
        .start(shell("one", 1, "x", "exec sleep 1000"))
        .await
        .unwrap();
    let pid = running.pid.unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(fields[2], pid.to_string(), "it leads its group");
    assert_eq!(
        fields[3],
        guard_of(pid).to_string(),
        "its guard leads its session"
    );
    assert_eq!(fields[4], "0", "it has no terminal");
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn an_engine_may_have_as_many_files_open_as_the_node_could_when_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        open_files: Some(512),
        ..settings(folder.path())
    };
    let driver = ProcessDriver::open(settings).unwrap();
    let script = "ulimit -Sn; exec sleep 1000";
    driver.start(shell("one", 1, "x", script)).await.unwrap();
    super::wrote(&folder, "512").await;
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn of_one_name_the_highest_fence_runs_and_only_once() {
    let (driver, _folder) = driver();
    let mark = mark("fence");
    let start = |fence| driver.start(shell("one", fence, &mark, "exec sleep 1000"));
    let mut starts = JoinSet::new();
    for _ in 0..4 {
        let (driver, spec) = (driver.clone(), shell("one", 5, &mark, "exec sleep 1000"));
        starts.spawn(async move { driver.start(spec).await.unwrap().pid.unwrap() });
    }
    let pids = BTreeSet::from_iter(starts.join_all().await);
    assert_eq!(pids.len(), 1, "{pids:?}");
    let late = start(4).await.unwrap_err();
    assert!(
        matches!(
            late,
            Error::Fenced {
                ours: 4,
                theirs: 5,
                ..
            }
        ),
        "{late}"
    );
    let next = start(6).await.unwrap();
    assert!(!pids.contains(&next.pid.unwrap()));
    assert_eq!(marked(&mark).len(), 1, "the one before was ended");
    assert_eq!(driver.list().await.unwrap(), [next]);
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_program_that_cannot_run_says_why_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    // They end sooner, however busy the machine is.
    settings.settle = PATIENCE;
    let driver = ProcessDriver::open(settings).unwrap();
    let mut missing = shell("one", 1, "x", "");
    missing.command = vec!["/no/such/program".to_owned()];
    let error = driver.start(missing).await.unwrap_err();
    assert_eq!(error.to_string(), "program `/no/such/program` is not there");
    let mut forbidden = shell("one", 1, "x", "");
    forbidden.command = vec![folder.path().to_str().unwrap().to_owned()];
    let error = driver.start(forbidden).await.unwrap_err();
    assert!(error.to_string().contains("ermission denied"), "{error}");
    for (script, code, line) in [
        ("echo one; echo why >&2; echo; exit 7", 7, "why"),
        ("echo killed; kill -9 $$", 137, "killed"),
        ("exit 0", 0, ""),
    ] {
        let error = driver
            .start(shell("one", 1, "x", script))
            .await
            .unwrap_err();
        match error {
            Error::EndedAtOnce {
                code: is,
                last_line,
            } => assert_eq!((is, last_line.as_str()), (code, line)),
            error => panic!("{script}: {error}"),
        }
    }
    assert_eq!(driver.list().await.unwrap(), []);
    let unknown = driver.logs("one", 5).await.unwrap_err();
    assert!(matches!(unknown, Error::Unknown(_)), "{unknown}");
    assert_eq!(left_in(&folder), [".lock"]);
}

#[tokio::test]
async fn two_nodes_do_not_share_a_folder() {
    let (driver, folder) = driver();
    let again = ProcessDriver::open(settings(folder.path())).err().unwrap();
    assert!(matches!(again, Error::Refused { .. }), "{again}");
    drop(driver);
    ProcessDriver::open(settings(folder.path())).unwrap();
}

#[tokio::test]
async fn a_demo_backend_is_an_engine() {
    let (driver, folder) = driver();
    let [address] = free_ports();
    let listen = format!("127.0.0.1:{}", address.port());
    let mut spec = shell("one", 1, "x", "");
    spec.command = [
        env!("CARGO_BIN_EXE_weir"),
        "demo-backend",
        "--name",
        "demo",
        "--listen",
        &listen,
    ]
    .map(str::to_owned)
    .into();
    driver.start(spec).await.unwrap();
    super::until("it listens", PATIENCE, || {
        std::net::TcpStream::connect(address).is_ok()
    })
    .await;
    super::wrote(&folder, &listen).await;
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn two_hundred_starts_and_stops_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.settle = AT_ONCE;
    let driver = ProcessDriver::open(settings).unwrap();
    let round = || async {
        let mut engines = JoinSet::new();
        for at in 0..8 {
            let driver = driver.clone();
            engines.spawn(async move {
                let name = format!("tv-{at}");
                driver
                    .start(shell(&name, 1, "x", "sleep 1000 & wait"))
                    .await
                    .unwrap();
                driver.stop(&name, u64::MAX, PATIENCE).await.unwrap();
            });
        }
        engines.join_all().await;
    };
    round().await;
    let descriptors = open_descriptors();
    for _ in 0..24 {
        round().await;
    }
    super::until("descriptors are closed", PATIENCE, || {
        open_descriptors() <= descriptors
    })
    .await;
    let me = i32::try_from(std::process::id()).unwrap();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children: Vec<i32> = pids
        .filter(|pid| state_and_parent(*pid).is_some_and(|(_, parent)| parent == me))
        .collect();
    assert!(children.is_empty(), "{children:?}");
    assert_eq!(left_in(&folder), [".lock"]);
    assert_eq!(driver.list().await.unwrap(), []);
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn left_in(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
