//! What a node finds on its disk after whatever happened to it.

mod any_sequence;
mod crashes;
mod damage;
mod faulty;
mod keeper;
mod kills;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::files::Disk;
use super::*;

const VERSION: &str = "1.2.3";

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn hash(n: u8) -> ContentHash {
    ContentHash([n; 16])
}

fn payload(n: u8) -> Bytes {
    Bytes::from(vec![n; 100 + usize::from(n)])
}

fn open(dir: &Path, now: u64) -> (LastKnownGood, Boot) {
    open_version(dir, VERSION, now)
}

fn open_version(dir: &Path, version: &str, now: u64) -> (LastKnownGood, Boot) {
    LastKnownGood::open_with(Box::new(Disk::without_sync(dir)), version, secs(now))
}

fn store(lkg: &mut LastKnownGood, n: u8, now: u64) {
    lkg.store(payload(n), hash(n), "epoch", secs(now)).unwrap();
}

/// The number of the content that a boot starts from.
fn started(boot: &Boot) -> Option<u8> {
    let content = boot.start_from.as_ref()?;
    let n = content.hash.0[0];
    assert_eq!(
        content.payload,
        payload(n),
        "the payload belongs to the hash"
    );
    Some(n)
}

/// A folder with content 1, good, and content 2, on probation; the run ended in order.
fn folder_with_two() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut lkg, _) = open(folder.path(), 1_000);
    store(&mut lkg, 1, 1_000);
    lkg.mark_good().unwrap();
    store(&mut lkg, 2, 1_001);
    lkg.ended_well().unwrap();
    folder
}

#[test]
fn an_empty_folder_starts_nothing_and_has_no_complaints() {
    let folder = tempfile::tempdir().unwrap();
    let (lkg, boot) = open(folder.path(), 0);
    let nothing = Boot {
        start_from: None,
        crashed: false,
        rolled_back: None,
        quarantined: Vec::new(),
        notes: Vec::new(),
    };
    assert_eq!((boot, lkg.problem()), (nothing, None));
}

#[test]
fn what_was_stored_is_there_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lkg, _) = open(folder.path(), 50);
    store(&mut lkg, 1, 60);
    lkg.ended_well().unwrap();
    drop(lkg);
    let (lkg, boot) = open(folder.path(), 70);
    let content = boot.start_from.clone().unwrap();
    assert_eq!(started(&boot), Some(1));
    assert_eq!(content.epoch, "epoch");
    assert_eq!(content.standing, Standing::Probation);
    assert_eq!(content.applied_at, secs(60));
    assert!(!boot.crashed);
    assert_eq!(lkg.in_force(), Some((hash(1), Standing::Probation)));
}

#[test]
fn the_folder_is_made_for_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    let (mut lkg, _) = LastKnownGood::open(&folder, VERSION, secs(0));
    store(&mut lkg, 1, 0);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["lkg-a", "lock", "run"]);
}

#[test]
fn the_newest_good_slot_is_never_written_over() {
    let folder = folder_with_two();
    let (mut lkg, boot) = open(folder.path(), 1_010);
    assert_eq!(started(&boot), Some(2));
    let good = std::fs::read(folder.path().join("lkg-a")).unwrap();
    for n in 3..9 {
        store(&mut lkg, n, 1_010 + u64::from(n));
        assert_eq!(std::fs::read(folder.path().join("lkg-a")).unwrap(), good);
    }
    lkg.mark_good().unwrap();
    store(&mut lkg, 9, 1_020);
    assert_ne!(std::fs::read(folder.path().join("lkg-a")).unwrap(), good);
}

#[test]
fn content_becomes_good_by_looks_at_a_healthy_node() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lkg, _) = open(folder.path(), 0);
    store(&mut lkg, 1, 100);
    for (now, healthy) in [(100, true), (129, false), (158, true)] {
        lkg.look(secs(now), healthy).unwrap();
        assert_eq!(
            lkg.in_force(),
            Some((hash(1), Standing::Probation)),
            "{now}"
        );
    }
    lkg.look(secs(159), true).unwrap();
    assert_eq!(lkg.in_force(), Some((hash(1), Standing::Good)));
    drop(lkg);
    let (_, boot) = open(folder.path(), 160);
    assert_eq!(boot.start_from.unwrap().standing, Standing::Good);
}

#[test]
fn the_same_content_stored_again_writes_nothing() {
    let folder = folder_with_two();
    let (mut lkg, _) = open(folder.path(), 1_010);
    let before = std::fs::metadata(folder.path().join("lkg-b")).unwrap();
    store(&mut lkg, 2, 1_011);
    let after = std::fs::metadata(folder.path().join("lkg-b")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert!(!folder.path().join("lkg-a.tmp").exists());
}

#[test]
fn a_payload_that_changes_under_its_hash_keeps_the_standing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lkg, _) = open(folder.path(), 0);
    store(&mut lkg, 1, 0);
    lkg.mark_good().unwrap();
    let other = Bytes::from_static(b"the same profile, other endpoints");
    lkg.store(other.clone(), hash(1), "epoch", secs(9)).unwrap();
    drop(lkg);
    let (_, boot) = open(folder.path(), 10);
    let content = boot.start_from.unwrap();
    assert_eq!((content.payload, content.standing), (other, Standing::Good));
    assert_eq!(content.applied_at, secs(0));
}

#[test]
fn content_that_came_back_keeps_what_it_was() {
    let folder = folder_with_two();
    let (mut lkg, _) = open(folder.path(), 1_010);
    lkg.coming_into_force(Some(hash(3)), secs(1_011)).unwrap();
    assert_eq!(lkg.in_force(), Some((hash(3), Standing::Probation)));
    lkg.coming_into_force(Some(hash(1)), secs(1_012)).unwrap();
    assert_eq!(lkg.in_force(), Some((hash(1), Standing::Good)));
    lkg.coming_into_force(None, secs(1_013)).unwrap();
    assert_eq!(lkg.in_force(), None);
}

#[test]
fn what_is_too_large_is_refused_with_its_bound() {
    let folder = folder_with_two();
    let (mut lkg, _) = open(folder.path(), 1_010);
    let large = Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]);
    let refused = lkg.store(large, hash(9), "epoch", secs(1_011)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the payload has 67108865 bytes, more than 67108864"
    );
    let epoch = "e".repeat(TEXT_BYTES_MAX + 1);
    let refused = lkg.store(payload(9), hash(9), &epoch, secs(1_011));
    let refused = refused.unwrap_err();
    assert_eq!(refused.to_string(), "the epoch has 65 bytes, more than 64");
    assert_eq!(lkg.problem(), Some(&*refused.to_string()));
    assert_eq!(lkg.in_force(), Some((hash(2), Standing::Probation)));
}

#[test]
fn the_largest_payload_fits() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lkg, _) = open(folder.path(), 0);
    let large = Bytes::from(vec![7; PAYLOAD_BYTES_MAX]);
    lkg.store(large.clone(), hash(7), "epoch", secs(0)).unwrap();
    drop(lkg);
    let (_, boot) = open(folder.path(), 1);
    assert!(boot.start_from.unwrap().payload == large);
}

#[test]
fn two_nodes_in_one_folder_do_not_mix() {
    let folder = folder_with_two();
    let (first, _) = open(folder.path(), 1_010);
    let (mut second, boot) = open(folder.path(), 1_011);
    assert_eq!(boot.start_from, None);
    let in_use = "data_dir is used by another process";
    assert_eq!(boot.notes, [in_use]);
    let refused = second.store(payload(9), hash(9), "epoch", secs(1_012));
    assert!(matches!(refused, Err(Error::InUse)), "{refused:?}");
    assert_eq!(second.problem(), Some(in_use));
    drop(first);
    // The first is gone: what it left is respected, and what was refused is stored after all.
    second.look(secs(1_042), true).unwrap();
    assert_eq!(second.problem(), None);
    drop(second);
    std::fs::remove_file(folder.path().join("lkg-b")).unwrap();
    let (_, boot) = open(folder.path(), 1_050);
    assert_eq!(started(&boot), Some(1));
}
