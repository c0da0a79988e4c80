//! How engines end, and who hears of it.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Instant, timeout};
use weir_engines::driver::{Driver as _, Ended, State};

use super::{FAMILY, NOBODY, driver, family_is_there, mark, marked, nobody_is_left, shell, wrote};
use crate::common::PATIENCE;

/// Waits for a file beside the engine, then does `then`.
fn when_told(folder: &tempfile::TempDir, then: &str) -> (std::path::PathBuf, String) {
    let told = folder.path().join("told");
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.01; done; {then}",
        told.display()
    );
    (told, script)
}

#[tokio::test]
async fn an_end_is_told_with_its_code_or_signal_and_found_in_the_list() {
    for (then, code) in [
        ("exit 3", 3),
        ("echo last; kill -9 $$", 137),
        ("kill -15 $$", 143),
    ] {
        let (driver, _folder) = driver();
        let beside = tempfile::tempdir().unwrap();
        let (told, script) = when_told(&beside, then);
        let mut ends = driver.ends();
        driver.start(shell("one", 9, "x", &script)).await.unwrap();
        std::fs::write(told, "").unwrap();
        let ended = timeout(PATIENCE, ends.next()).await.unwrap().unwrap();
        let expected = Ended {
            name: "one".to_owned(),
            fence: 9,
            code: Some(code),
        };
        assert_eq!(ended, expected);
        let listed = driver.list().await.unwrap();
        assert_eq!((listed[0].state, listed[0].pid), (State::Ended(code), None));
        if code == 137 {
            assert_eq!(driver.logs("one", 9).await.unwrap(), ["last"]);
        }
        driver
            .start(shell("one", 9, "x", "exec sleep 1000"))
            .await
            .unwrap();
        assert_eq!(driver.list().await.unwrap()[0].state, State::Running);
        driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn a_stop_ends_everything_that_the_program_started() {
    let (driver, folder) = driver();
    let mark = mark("family");
    // One more leaves the session as well.
    let script = format!("(setsid sleep 1000 &); {FAMILY}");
    driver.start(shell("one", 1, &mark, &script)).await.unwrap();
    super::until("all run", PATIENCE, || {
        marked(&mark).len() == super::FAMILY_SIZE + 1
    })
    .await;
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
    assert_eq!(marked(&mark), NOBODY);
    assert!(!folder.path().join("one").exists());
    driver
        .stop("one", u64::MAX, PATIENCE)
        .await
        .expect("there is nothing to stop");
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let (driver, _folder) = driver();
    let mark = mark("left");
    let beside = tempfile::tempdir().unwrap();
    let (told, script) = when_told(&beside, "exit 4");
    let script =
        format!("(trap '' TERM; sleep 1000 & sleep 1000 &); (setsid sleep 1000 &); {script}");
    let mut ends = driver.ends();
    driver.start(shell("one", 1, &mark, &script)).await.unwrap();
    super::until("all run", PATIENCE, || marked(&mark).len() >= 4).await;
    std::fs::write(told, "").unwrap();
    let ended = timeout(PATIENCE, ends.next()).await.unwrap().unwrap();
    assert_eq!(ended.code, Some(4));
    assert_eq!(marked(&mark), NOBODY, "an end is told when nothing is left");
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed_after_the_grace() {
    let (driver, folder) = driver();
    let mark = mark("deaf");
    let script = "trap '' TERM; echo deaf; while :; do sleep 0.05; done";
    let mut ends = driver.ends();
    driver.start(shell("one", 1, &mark, script)).await.unwrap();
    wrote(&folder, "deaf").await;
    let grace = Duration::from_millis(400);
    let began = Instant::now();
    driver.stop("one", u64::MAX, grace).await.unwrap();
    let took = began.elapsed();
    assert!(
        took >= grace && took < grace + Duration::from_secs(3),
        "{took:?}"
    );
    assert_eq!(marked(&mark), NOBODY);
    let ended = timeout(PATIENCE, ends.next()).await.unwrap().unwrap();
    assert_eq!(ended.code, Some(137));
}

#[tokio::test]
async fn who_finishes_within_the_grace_is_let_finish() {
    let (driver, folder) = driver();
    let script = "trap 'sleep 0.3; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut ends = driver.ends();
    driver.start(shell("one", 1, "x", script)).await.unwrap();
    wrote(&folder, "ready").await;
    driver.stop("one", u64::MAX, PATIENCE).await.unwrap();
    let ended = timeout(PATIENCE, ends.next()).await.unwrap().unwrap();
    assert_eq!(ended.code, Some(5));
}

#[tokio::test]
async fn a_shorter_stop_overtakes_a_longer_one() {
    let (driver, folder) = driver();
    let script = "trap '' TERM; echo deaf; while :; do sleep 0.05; done";
    driver.start(shell("one", 1, "x", script)).await.unwrap();
    wrote(&folder, "deaf").await;
    let began = Instant::now();
    // The first caller goes away; what it began goes on.
    assert!(
        timeout(Duration::ZERO, driver.stop("one", u64::MAX, PATIENCE))
            .await
            .is_err()
    );
    driver.stop("one", u64::MAX, Duration::ZERO).await.unwrap();
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert_eq!(driver.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_dropped_driver_ends_its_engines() {
    let (driver, _folder) = driver();
    let mark = mark("dropped");
    driver.start(shell("one", 1, &mark, FAMILY)).await.unwrap();
    family_is_there(&mark).await;
    drop(driver);
    nobody_is_left(&mark, PATIENCE).await;
}
