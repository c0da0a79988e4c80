//! The way to the disk for callers that must not block.

use tokio::time::Instant;

use super::*;
use crate::ports::clock::WallClock;

#[tokio::test]
async fn a_keeper_stores_marks_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let clock = WallClock::starting_at(secs(1_000));
    let (lkg, _) = LastKnownGood::open(folder.path(), VERSION, clock.unix_now());
    let keeper = Keeper::new(lkg, clock);
    assert_eq!(*keeper.status(), Status::default());
    keeper.coming_into_force(Some(hash(1))).await.unwrap();
    keeper
        .store(payload(1), hash(1), "epoch".to_owned())
        .await
        .unwrap();
    keeper.look(true).await.unwrap();
    assert_eq!(
        keeper.status().in_force,
        Some((hash(1), Standing::Probation))
    );
    tokio::time::pause();
    tokio::time::advance(secs(30)).await;
    keeper.look(true).await.unwrap();
    assert_eq!(keeper.status().in_force, Some((hash(1), Standing::Good)));
    keeper.ended_well().await.unwrap();
    drop(keeper);
    let (_, boot) = open(folder.path(), 2_000);
    assert_eq!((started(&boot), boot.crashed), (Some(1), false));
}

#[tokio::test]
async fn what_a_dead_disk_refuses_shows_in_the_status() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("folder");
    std::fs::write(&folder, "a file in its place").unwrap();
    let (lkg, _) = open(&folder, 0);
    let keeper = Keeper::new(lkg, WallClock::starting_at(secs(0)));
    let refused = keeper.store(payload(1), hash(1), "epoch".to_owned()).await;
    assert!(matches!(refused, Err(Error::Folder(_))), "{refused:?}");
    let status = keeper.status();
    let problem = status.problem.as_deref().unwrap_or_default();
    assert!(
        problem.starts_with("the folder cannot be used: "),
        "{problem}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_holds_its_callers_up_for_five_seconds_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let (lkg, _) = open(folder.path(), 0);
    let keeper = Keeper::new(lkg, WallClock::starting_at(secs(0)));
    // Whoever works on the disk holds it until the disk answers.
    let hanging = keeper.hold().await;
    let before = Instant::now();
    let late = keeper.store(payload(1), hash(1), "epoch".to_owned()).await;
    assert!(matches!(late, Err(Error::Late)), "{late:?}");
    assert_eq!(before.elapsed(), secs(5));
    keeper.look(true).await.unwrap();
    drop(hanging);
    keeper.ended_well().await.unwrap();
}
