//! The disk has what is in force; what crashed the node stays out.

use std::path::Path;

use weir_core::probation::ContentHash;

use super::*;
use crate::actors::config_agent::last_known_good::{Boot, Keeper, LastKnownGood};
use crate::ports::clock::WallClock;

const VERSION: &str = "1.2.3";

fn open(folder: &Path, now: Duration) -> (LastKnownGood, Boot) {
    LastKnownGood::open(folder, VERSION, now)
}

fn taker_on(wired: &Wired, folder: &Path) -> (Taker, Keeper) {
    let (disk, boot) = open(folder, SENT_AT);
    let clock = WallClock::starting_at(SENT_AT);
    let keeper = Keeper::new(disk, clock);
    let ends = Ends {
        keeper: Some(keeper.clone()),
        ..ends(wired)
    };
    (Taker::new(Start::of(&boot, &clock), ends), keeper)
}

/// The sets on a disk that nobody uses.
fn kept(folder: &Path) -> Vec<pb::Push> {
    let (_, boot) = open(folder, SENT_AT);
    let content = boot.start_from.unwrap();
    pb::LastKnownGood::decode(content.payload).unwrap().sets
}

fn payload(sets: &[pb::Push], kind: pb::ResourceType) -> &[u8] {
    let set = sets.iter().find(|set| set.r#type() == kind).unwrap();
    &set.resources[0].payload
}

fn of_push(push: &pb::Push) -> ContentHash {
    ContentHash(hash_of(push).try_into().unwrap())
}

#[tokio::test]
async fn the_disk_keeps_what_is_in_force_and_not_what_was_refused() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let wired = node().await;
        let (mut taker, keeper) = taker_on(&wired, folder.path());
        taker.begin().await;
        // Weights may come before any profile.
        taker.take(&weights_push(4)).await;
        let good = profile_push(&[(TIMEOUT, "7s")]);
        taker.take(&good).await;
        let bad = profile_push(&[(WINDOW, "1MiB")]);
        assert_eq!(taker.take(&bad).await.status(), pb::ApplyStatus::Rejected);
        // What rides along goes on being kept, and a crash would count against what is in force.
        taker.take(&weights_push(6)).await;
        let (in_force, _) = keeper.status().in_force.unwrap();
        assert_eq!(in_force, of_push(&good));
        let orders = push_of(pb::ResourceType::Orders, &[("node", Vec::new())]);
        taker.take(&orders).await;
        drop((taker, keeper));
        let sets = kept(folder.path());
        assert_eq!(sets.len(), 2, "orders are not kept: {sets:?}");
        assert_eq!(
            payload(&sets, pb::ResourceType::Profile),
            &*good.resources[0].payload
        );
        let weights = weights_push(6);
        assert_eq!(
            payload(&sets, pb::ResourceType::Weights),
            &*weights.resources[0].payload
        );
    })
    .await;
}

#[tokio::test]
async fn weights_are_kept_where_no_profile_was_ever_taken() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let wired = node().await;
        let (mut taker, keeper) = taker_on(&wired, folder.path());
        taker.take(&profile_push(&[(WINDOW, "1MiB")])).await;
        taker.take(&weights_push(6)).await;
        drop((taker, keeper));
        let sets = kept(folder.path());
        assert_eq!(sets.len(), 1);
        let (taker, _keeper) = taker_on(&node().await, folder.path());
        assert_eq!(taker.resume().len(), 1);
        assert_eq!(taker.state().origin, "none");
    })
    .await;
}

#[tokio::test]
async fn what_crashed_the_node_time_and_again_is_refused_by_name() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let bad = profile_push(&[(TIMEOUT, "8s")]);
        for crash in 0..3 {
            let (mut disk, _) = open(folder.path(), SENT_AT + secs(crash));
            // It came into force, and the process ended.
            let _ = disk.coming_into_force(Some(of_push(&bad)), SENT_AT + secs(crash));
        }
        let wired = node().await;
        let (mut taker, keeper) = taker_on(&wired, folder.path());
        let state = taker.state().clone();
        assert_eq!(state.quarantined, [hash_of(&bad)]);
        assert_eq!(
            wrong(&state.errors),
            [("profile".to_owned(), Code::Quarantined)]
        );
        assert_eq!(
            (&state.offered_hash, &*state.origin),
            (&hash_of(&bad), "none")
        );

        let ack = taker.take(&bad).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Rejected);
        assert_eq!(
            wrong(&ack.errors),
            [("profile".to_owned(), Code::Quarantined)]
        );
        assert_eq!(header_timeout(&wired), secs(10));
        let good = profile_push(&[(TIMEOUT, "7s")]);
        assert_eq!(taker.take(&good).await.status(), pb::ApplyStatus::Applied);
        assert_eq!(taker.take(&bad).await.status(), pb::ApplyStatus::Rejected);
        assert_eq!(taker.state().quarantined, [hash_of(&bad)]);
        assert_eq!(header_timeout(&wired), secs(7));
        drop((taker, keeper));
        let sets = kept(folder.path());
        assert_eq!(
            payload(&sets, pb::ResourceType::Profile),
            &*good.resources[0].payload
        );
    })
    .await;
}

#[tokio::test]
async fn a_profile_that_the_start_left_out_is_not_blamed_for_crashes() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let wired = node().await;
        let (mut taker, keeper) = taker_on(&wired, folder.path());
        let push = profile_push(&[(TIMEOUT, "7s")]);
        taker.take(&push).await;
        drop((taker, keeper));
        let (disk, boot) = open(folder.path(), SENT_AT);
        let clock = WallClock::starting_at(SENT_AT);
        let keeper = Keeper::new(disk, clock);
        assert!(keeper.status().in_force.is_some());
        let start = Start::of(&boot, &clock);
        assert!(!start.given().is_empty());
        // The agent of this node was started without what was given: it did not go with the file.
        let refused = Taker::new(
            Start::default(),
            Ends {
                keeper: Some(keeper.clone()),
                ..ends(&wired)
            },
        );
        let mut refused = refused;
        refused.begin().await;
        assert_eq!(keeper.status().in_force, None);
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_takes_nothing_keeps_no_profile_out() {
    run(async {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("folder");
        std::fs::write(&folder, "a file in its place").unwrap();
        let wired = node().await;
        let (mut taker, keeper) = taker_on(&wired, &folder);
        let ack = taker.take(&profile_push(&[(TIMEOUT, "7s")])).await;
        assert_eq!(ack.status(), pb::ApplyStatus::Applied);
        assert_eq!(header_timeout(&wired), secs(7));
        assert!(keeper.status().problem.is_some());
    })
    .await;
}
