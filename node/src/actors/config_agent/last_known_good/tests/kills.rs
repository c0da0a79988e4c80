//! The process is killed between any two steps, or the disk takes nothing more.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::faulty::{Fault, Faulty};
use super::{VERSION, folder_with_two, hash, open, payload, secs, started, store};
use crate::actors::config_agent::last_known_good::{Error, LastKnownGood};
use weir_core::probation::Standing;

/// What the disk has confirmed.
#[derive(Debug, Default)]
struct Confirmed {
    stored: u8,
    good: u8,
}

/// A run from start to orderly end on a disk that fails after `left` changes; whether it got to its end.
fn run(folder: &Path, fault: Fault, left: usize) -> (Confirmed, bool) {
    let (files, _) = Faulty::boxed(folder, fault, left);
    let (mut lkg, _) = LastKnownGood::open_with(files, VERSION, secs(1_010));
    let mut confirmed = Confirmed { stored: 2, good: 1 };
    for n in 3..=6 {
        let _ = lkg.coming_into_force(Some(hash(n)), secs(1_011));
        if lkg.store(payload(n), hash(n), "epoch", secs(1_011)).is_ok() {
            confirmed.stored = n;
        }
        if n % 2 == 0 && confirmed.stored == n && lkg.mark_good().is_ok() {
            confirmed.good = n;
        }
    }
    let ended = lkg.ended_well().is_ok();
    (confirmed, ended)
}

/// What is confirmed starts, and behind it is good content to flee to.
fn assert_kept(folder: &Path, confirmed: &Confirmed, when: &str) {
    let (mut lkg, boot) = open(folder, 1_020);
    let n = started(&boot).unwrap();
    assert!(n >= confirmed.stored, "{when}: {n} and {confirmed:?}");
    let good = lkg.slots.newest(|held| held.slot.content.good).unwrap().1;
    let good = good.slot.content.hash.0[0];
    assert!(good >= confirmed.good, "{when}: {good} and {confirmed:?}");
    assert_eq!(boot.notes, [""; 0], "{when}: nothing is half written");
    for temporary in ["lkg-a.tmp", "lkg-b.tmp", "run.tmp"] {
        assert!(!folder.join(temporary).exists(), "{when}: {temporary}");
    }
    // Whatever was left behind, the next run goes its way.
    store(&mut lkg, 9, 1_021);
    lkg.mark_good().unwrap();
    lkg.ended_well().unwrap();
    drop(lkg);
    let (_, boot) = open(folder, 1_022);
    assert_eq!((started(&boot), boot.crashed), (Some(9), false), "{when}");
}

#[test]
fn a_kill_or_a_power_cut_at_any_step_loses_nothing_that_was_confirmed() {
    for fault in [Fault::Dead, Fault::PowerLost] {
        let mut steps = 0;
        loop {
            let folder = folder_with_two();
            let (confirmed, ended) = run(folder.path(), fault, steps);
            assert_kept(
                folder.path(),
                &confirmed,
                &format!("{fault:?} at step {steps}"),
            );
            if ended {
                break;
            }
            steps += 1;
        }
        assert!(steps > 40, "a run has many steps, not {steps}");
    }
}

#[test]
fn an_orderly_end_that_was_confirmed_survives_a_power_cut() {
    let folder = folder_with_two();
    let (files, left) = Faulty::boxed(folder.path(), Fault::PowerLost, usize::MAX);
    let (mut lkg, _) = LastKnownGood::open_with(files, VERSION, secs(1_010));
    lkg.ended_well().unwrap();
    left.store(0, Ordering::Relaxed);
    lkg.ended_well().unwrap_err();
    drop(lkg);
    assert!(!open(folder.path(), 1_020).1.crashed);
}

#[test]
fn a_disk_that_is_full_or_read_only_stops_nothing() {
    for fault in [Fault::Full, Fault::ReadOnly] {
        for left in 0..60 {
            let folder = folder_with_two();
            let (confirmed, _) = run(folder.path(), fault, left);
            let when = format!("{fault:?} after {left} changes");
            if fault == Fault::Full {
                assert_kept(folder.path(), &confirmed, &when);
            } else {
                let n = started(&open(folder.path(), 1_020).1).unwrap();
                assert!(n >= confirmed.stored, "{when}: {n} and {confirmed:?}");
            }
        }
    }
}

#[test]
fn what_a_full_disk_refused_is_told_and_stored_when_there_is_room() {
    let folder = folder_with_two();
    let (files, left) = Faulty::boxed(folder.path(), Fault::Full, 0);
    let (mut lkg, boot) = LastKnownGood::open_with(files, VERSION, secs(1_010));
    assert_eq!(started(&boot), Some(2));
    assert_eq!(boot.notes, ["run cannot be written: no storage space"]);
    let refused = lkg.store(payload(3), hash(3), "epoch", secs(1_020));
    let Err(Error::Write { file, source }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((file, source.kind()), ("lkg-b", io::ErrorKind::StorageFull));
    assert_eq!(
        lkg.problem(),
        Some("lkg-b cannot be written: no storage space")
    );
    assert_eq!(lkg.in_force(), Some((hash(3), Standing::Probation)));
    assert!(
        !folder.path().join("lkg-b.tmp").exists(),
        "no room is wasted"
    );
    left.store(usize::MAX, Ordering::Relaxed);
    assert!(!lkg.is_due(secs(1_049), false));
    assert!(lkg.is_due(secs(1_050), false));
    lkg.look(secs(1_050), false).unwrap();
    assert_eq!(lkg.problem(), None);
    drop(lkg);
    assert_eq!(started(&open(folder.path(), 1_060).1), Some(3));
}

#[test]
fn content_that_was_replaced_is_not_stored_later() {
    let folder = folder_with_two();
    let (files, left) = Faulty::boxed(folder.path(), Fault::Full, 0);
    let (mut lkg, _) = LastKnownGood::open_with(files, VERSION, secs(1_010));
    lkg.store(payload(3), hash(3), "epoch", secs(1_020))
        .unwrap_err();
    left.store(usize::MAX, Ordering::Relaxed);
    lkg.coming_into_force(Some(hash(4)), secs(1_021)).unwrap();
    lkg.look(secs(1_060), false).unwrap();
    assert_eq!(lkg.in_force(), Some((hash(4), Standing::Probation)));
    assert_eq!(lkg.slots.newest(|_| true).unwrap().1.slot.sequence, 2);
    lkg.coming_into_force(Some(hash(3)), secs(1_061)).unwrap();
    lkg.look(secs(1_091), false).unwrap();
    drop(lkg);
    assert_eq!(started(&open(folder.path(), 1_100).1), Some(3));
}

#[test]
fn a_slot_that_may_hold_something_else_is_written_again() {
    let folder = folder_with_two();
    // A fault when the folder is made safe: the new slot is in its place already.
    let (files, left) = Faulty::boxed(folder.path(), Fault::ReadOnly, usize::MAX);
    let (mut lkg, _) = LastKnownGood::open_with(files, VERSION, secs(1_010));
    let (marker, slot_but_last) = (4, 3);
    left.store(marker + slot_but_last, Ordering::Relaxed);
    let refused = lkg.store(payload(3), hash(3), "epoch", secs(1_020));
    assert!(
        matches!(refused, Err(Error::Write { file: "lkg-b", .. })),
        "{refused:?}"
    );
    left.store(usize::MAX, Ordering::Relaxed);
    store(&mut lkg, 2, 1_021);
    assert_eq!(lkg.problem(), None);
    drop(lkg);
    assert_eq!(started(&open(folder.path(), 1_030).1), Some(2));
}

#[test]
fn a_marker_that_a_full_disk_refused_is_written_when_there_is_room() {
    let folder = folder_with_two();
    let (files, left) = Faulty::boxed(folder.path(), Fault::Full, 0);
    let (mut lkg, _) = LastKnownGood::open_with(files, VERSION, secs(1_010));
    assert!(!folder.path().join("run").exists());
    left.store(usize::MAX, Ordering::Relaxed);
    lkg.look(secs(1_039), false).unwrap();
    assert!(!folder.path().join("run").exists());
    lkg.look(secs(1_040), false).unwrap();
    assert_eq!(lkg.problem(), None);
    drop(lkg);
    assert!(open(folder.path(), 1_050).1.crashed);
}

#[test]
fn content_whose_standing_the_disk_refuses_stays_on_probation() {
    let folder = folder_with_two();
    let (files, left) = Faulty::boxed(folder.path(), Fault::Full, usize::MAX);
    let (mut lkg, _) = LastKnownGood::open_with(files, VERSION, secs(1_010));
    left.store(0, Ordering::Relaxed);
    lkg.look(secs(1_040), true).unwrap_err();
    assert_eq!(lkg.in_force(), Some((hash(2), Standing::Probation)));
    assert!(!lkg.is_due(secs(1_069), true), "not at every look");
    left.store(usize::MAX, Ordering::Relaxed);
    lkg.look(secs(1_070), true).unwrap();
    assert_eq!(lkg.in_force(), Some((hash(2), Standing::Good)));
    assert_eq!(lkg.problem(), None);
}

#[test]
fn a_folder_that_cannot_be_made_stops_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("folder");
    std::fs::write(&folder, "a file in its place").unwrap();
    let (mut lkg, boot) = open(&folder, 0);
    assert_eq!(boot.start_from, None);
    assert_eq!(boot.notes.len(), 1, "{boot:?}");
    let refused = lkg.store(payload(1), hash(1), "epoch", secs(1));
    assert!(matches!(refused, Err(Error::Folder(_))), "{refused:?}");
    assert!(lkg.problem().is_some());
    std::fs::remove_file(&folder).unwrap();
    lkg.look(secs(31), false).unwrap();
    drop(lkg);
    assert_eq!(started(&open(&folder, 40).1), Some(1));
}
