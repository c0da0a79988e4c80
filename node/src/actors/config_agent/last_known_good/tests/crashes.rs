//! Crashes, and what follows from them.

use super::*;
use weir_core::probation::CRASHES_MAX;

/// A run that starts at `now` and is killed at once.
fn crash(folder: &Path, now: u64) -> Boot {
    open(folder, now).1
}

#[test]
fn three_crashes_within_a_minute_send_content_to_quarantine() {
    let folder = folder_with_two();
    for now in [2_000, 2_010, 2_020] {
        let boot = crash(folder.path(), now);
        assert_eq!((started(&boot), boot.rolled_back), (Some(2), None), "{now}");
    }
    let (mut lkg, boot) = open(folder.path(), 2_030);
    assert!(boot.crashed);
    assert_eq!((started(&boot), boot.rolled_back), (Some(1), Some(hash(2))));
    assert_eq!(boot.quarantined.len(), 1);
    let reason = "crashed the node 3 times in a row";
    assert_eq!(lkg.refusal(hash(2)), Some(reason));
    assert_eq!(lkg.in_force(), Some((hash(1), Standing::Good)));
    for refused in [
        lkg.store(payload(2), hash(2), "epoch", secs(2_031)),
        lkg.coming_into_force(Some(hash(2)), secs(2_031)),
    ] {
        assert!(
            matches!(refused, Err(Error::Quarantined { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(lkg.in_force(), Some((hash(1), Standing::Good)));
    assert_eq!(
        lkg.problem(),
        None,
        "a quarantine is no problem of the disk"
    );
    // It holds at the next start too, however this run ends, and other content comes in.
    assert_eq!(started(&crash_of(lkg, folder.path(), 2_040)), Some(1));
    let (mut lkg, boot) = open(folder.path(), 9_000);
    assert_eq!((started(&boot), boot.rolled_back), (Some(1), None));
    assert_eq!(boot.quarantined.len(), 1);
    store(&mut lkg, 3, 9_001);
    assert_eq!(started(&crash_of(lkg, folder.path(), 9_002)), Some(3));
}

fn crash_of(lkg: LastKnownGood, folder: &Path, now: u64) -> Boot {
    drop(lkg);
    crash(folder, now)
}

#[test]
fn two_crashes_do_not() {
    let folder = folder_with_two();
    for now in [2_000, 2_010, 2_020] {
        assert_eq!(started(&crash(folder.path(), now)), Some(2));
    }
    let folder = folder_with_two();
    for start in [3_000, 4_000, 5_000] {
        // Two in a row, an orderly run, two more.
        crash(folder.path(), start);
        crash(folder.path(), start + 1);
        let (mut lkg, boot) = open(folder.path(), start + 2);
        assert_eq!((started(&boot), boot.quarantined.len()), (Some(2), 0));
        lkg.ended_well().unwrap();
    }
}

#[test]
fn crashes_more_than_a_minute_apart_do_not() {
    let folder = folder_with_two();
    for now in [2_000, 2_061, 2_122, 2_183, 2_244] {
        assert_eq!(started(&crash(folder.path(), now)), Some(2), "{now}");
    }
}

#[test]
fn a_clock_that_steps_back_breaks_no_row() {
    let folder = folder_with_two();
    for now in [2_000, 2_010, 20] {
        assert_eq!(started(&crash(folder.path(), now)), Some(2), "{now}");
    }
    let (mut lkg, boot) = open(folder.path(), 0);
    assert_eq!((started(&boot), boot.rolled_back), (Some(1), Some(hash(2))));
    // Probation at an earlier time than ever before runs as well.
    store(&mut lkg, 3, 0);
    lkg.look(secs(30), true).unwrap();
    assert_eq!(lkg.in_force(), Some((hash(3), Standing::Good)));
}

#[test]
fn without_good_content_the_node_starts_from_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lkg, _) = open(folder.path(), 0);
    store(&mut lkg, 1, 0);
    drop(lkg);
    crash(folder.path(), 1);
    assert_eq!(started(&crash(folder.path(), 2)), Some(1));
    for now in 3..20 {
        let boot = crash(folder.path(), now);
        assert_eq!((started(&boot), boot.quarantined.len()), (None, 1), "{now}");
    }
}

#[test]
fn content_in_force_before_is_kept_though_it_never_became_good() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lkg, _) = open(folder.path(), 0);
    store(&mut lkg, 1, 0);
    store(&mut lkg, 2, 1);
    // Other endpoints under the same profile do not push it out.
    let other = Bytes::from_static(b"the same profile, other endpoints");
    lkg.store(other, hash(2), "epoch", secs(2)).unwrap();
    store(&mut lkg, 2, 3);
    drop(lkg);
    assert_eq!(started(&crash(folder.path(), 4)), Some(2));
    assert_eq!(started(&crash(folder.path(), 5)), Some(2));
    let (mut lkg, boot) = open(folder.path(), 6);
    assert_eq!((started(&boot), boot.rolled_back), (Some(1), Some(hash(2))));
    assert_eq!(boot.back_to(), "profile 01010101, in force before");
    // What comes next takes the place of what is in quarantine.
    store(&mut lkg, 3, 7);
    drop(lkg);
    assert_eq!(started(&crash(folder.path(), 8)), Some(3));
    assert_eq!(started(&crash(folder.path(), 9)), Some(3));
    let boot = crash(folder.path(), 10);
    assert_eq!((started(&boot), boot.rolled_back), (Some(1), Some(hash(3))));
}

#[test]
fn content_of_another_control_plane_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lkg, _) = open(folder.path(), 0);
    lkg.store(payload(1), hash(1), "another", secs(0)).unwrap();
    lkg.mark_good().unwrap();
    drop(lkg);
    let (mut lkg, boot) = open(folder.path(), 1);
    assert_eq!(started(&boot), Some(1));
    store(&mut lkg, 2, 2);
    drop(lkg);
    for now in [3, 4] {
        assert_eq!(started(&crash(folder.path(), now)), Some(2));
    }
    let boot = crash(folder.path(), 5);
    assert_eq!((started(&boot), boot.rolled_back), (None, Some(hash(2))));
    assert_eq!(boot.back_to(), "no profile");
}

#[test]
fn good_content_survives_any_number_of_crashes() {
    let folder = folder_with_two();
    let (mut lkg, _) = open(folder.path(), 1_010);
    lkg.mark_good().unwrap();
    drop(lkg);
    for now in 0..50 {
        let boot = crash(folder.path(), 2_000 + now);
        assert_eq!((started(&boot), boot.quarantined.len()), (Some(2), 0));
        assert!(boot.crashed);
    }
}

#[test]
fn content_that_crashes_while_it_is_applied_is_caught_though_it_was_never_stored() {
    let folder = folder_with_two();
    for now in [2_000, 2_010, 2_020] {
        let (mut lkg, boot) = open(folder.path(), now);
        assert_eq!((started(&boot), boot.quarantined.len()), (Some(2), 0));
        lkg.coming_into_force(Some(hash(7)), secs(now + 1)).unwrap();
    }
    let (mut lkg, boot) = open(folder.path(), 2_030);
    assert_eq!((started(&boot), boot.rolled_back), (Some(2), Some(hash(7))));
    assert!(lkg.coming_into_force(Some(hash(7)), secs(2_031)).is_err());
}

#[test]
fn content_that_was_refused_has_no_part_in_a_later_crash() {
    let folder = folder_with_two();
    for now in [2_000, 2_010, 2_020, 2_030] {
        let (mut lkg, boot) = open(folder.path(), now);
        lkg.mark_good().unwrap();
        assert_eq!((started(&boot), boot.quarantined.len()), (Some(2), 0));
        lkg.coming_into_force(Some(hash(7)), secs(now + 1)).unwrap();
        lkg.coming_into_force(Some(hash(2)), secs(now + 2)).unwrap();
    }
}

#[test]
fn becoming_good_ends_a_row() {
    let folder = folder_with_two();
    crash(folder.path(), 2_000);
    crash(folder.path(), 2_010);
    let (mut lkg, _) = open(folder.path(), 2_020);
    lkg.look(secs(2_050), true).unwrap();
    drop(lkg);
    for now in 2_051..2_060 {
        assert_eq!(started(&crash(folder.path(), now)), Some(2));
    }
}

#[test]
fn another_version_of_the_node_tries_again() {
    let folder = folder_with_two();
    for now in [2_000, 2_010, 2_020, 2_030] {
        crash(folder.path(), now);
    }
    let (lkg, boot) = open_version(folder.path(), "1.2.4", 2_040);
    assert_eq!((started(&boot), &boot.quarantined[..]), (Some(2), &[][..]));
    assert_eq!(lkg.refusal(hash(2)), None);
    drop(lkg);
    // Its own three crashes count, those of the other version do not.
    for now in [2_041, 2_042] {
        let (_, boot) = open_version(folder.path(), "1.2.4", now);
        assert_eq!(started(&boot), Some(2), "{now}");
    }
    let (_, boot) = open_version(folder.path(), "1.2.4", 2_043);
    assert_eq!((started(&boot), boot.rolled_back), (Some(1), Some(hash(2))));
}

#[test]
fn crashes_of_another_version_do_not_count() {
    let folder = folder_with_two();
    for version in ["1", "2", "3", "4", "5"] {
        let (_, boot) = open_version(folder.path(), version, 2_000);
        assert_eq!((started(&boot), boot.quarantined.len()), (Some(2), 0));
    }
}

#[test]
fn the_oldest_entry_makes_room_in_the_quarantine() {
    let folder = folder_with_two();
    let mut now = 2_000;
    for n in 10..30 {
        for _ in 0..CRASHES_MAX {
            let (mut lkg, _) = open(folder.path(), now);
            lkg.coming_into_force(Some(hash(n)), secs(now)).unwrap();
            now += 1;
        }
    }
    let (_, boot) = open(folder.path(), now);
    let kept: Vec<u8> = boot.quarantined.iter().map(|q| q.hash.0[0]).collect();
    assert_eq!(kept, (14..30).collect::<Vec<u8>>());
}

#[test]
fn a_quarantine_that_could_not_be_written_holds_nevertheless() {
    use super::faulty::{Fault, Faulty};
    let folder = folder_with_two();
    for now in [2_000, 2_010, 2_020] {
        crash(folder.path(), now);
    }
    for now in [2_030, 2_040] {
        let (files, _) = Faulty::boxed(folder.path(), Fault::Full, 0);
        let (lkg, boot) = LastKnownGood::open_with(files, VERSION, secs(now));
        assert_eq!((started(&boot), boot.rolled_back), (Some(1), Some(hash(2))));
        let told = "quarantine cannot be written: no storage space";
        assert_eq!(
            (lkg.problem(), &boot.notes[..]),
            (Some(told), &[told.to_owned()][..])
        );
        assert!(lkg.refusal(hash(2)).is_some());
    }
    let boot = crash(folder.path(), 2_050);
    assert_eq!((started(&boot), boot.notes.len()), (Some(1), 0));
}

#[test]
fn a_quarantine_that_alone_cannot_be_written_holds_through_crashes() {
    let folder = folder_with_two();
    std::fs::create_dir(folder.path().join("quarantine")).unwrap();
    for now in [2_000, 2_010, 2_020] {
        assert_eq!(started(&crash(folder.path(), now)), Some(2), "{now}");
    }
    for now in [2_030, 2_040, 9_000] {
        let boot = crash(folder.path(), now);
        assert_eq!((started(&boot), boot.rolled_back), (Some(1), Some(hash(2))));
    }
}
