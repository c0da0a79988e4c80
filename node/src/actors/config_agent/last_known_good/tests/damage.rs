//! Files that were cut, changed or swapped.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use weir_core::probation::Crashes;

use super::*;
use crate::actors::config_agent::last_known_good::records::{decode_quarantine, encode_quarantine};

/// The slot of content 2, the newest, on probation.
fn newest(folder: &TempDir) -> PathBuf {
    folder.path().join("lkg-b")
}

fn starts(folder: &Path) -> (Option<u8>, Vec<String>) {
    let (mut lkg, boot) = open(folder, 1_100);
    lkg.ended_well().unwrap();
    (started(&boot), boot.notes)
}

#[test]
fn a_slot_cut_anywhere_gives_way_to_the_other() {
    let folder = folder_with_two();
    let whole = std::fs::read(newest(&folder)).unwrap();
    for length in 0..whole.len() {
        std::fs::write(newest(&folder), &whole[..length]).unwrap();
        let notes = vec!["lkg-b: is cut or damaged".to_owned()];
        assert_eq!(starts(folder.path()), (Some(1), notes), "{length} bytes");
    }
    std::fs::write(newest(&folder), whole).unwrap();
    assert_eq!(starts(folder.path()), (Some(2), Vec::new()));
}

#[test]
fn a_slot_with_one_bit_flipped_anywhere_gives_way_to_the_other() {
    let folder = folder_with_two();
    let whole = std::fs::read(newest(&folder)).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(newest(&folder), flipped).unwrap();
        assert_eq!(starts(folder.path()).0, Some(1), "byte {at}");
    }
}

#[test]
fn what_is_longer_than_it_was_is_damaged() {
    let folder = folder_with_two();
    let mut longer = std::fs::read(newest(&folder)).unwrap();
    longer.push(0);
    std::fs::write(newest(&folder), longer).unwrap();
    assert_eq!(starts(folder.path()).0, Some(1));
}

#[test]
fn a_good_slot_that_is_damaged_gives_way_to_one_on_probation() {
    let folder = folder_with_two();
    std::fs::write(folder.path().join("lkg-a"), "no").unwrap();
    let notes = vec!["lkg-a: is cut or damaged".to_owned()];
    assert_eq!(starts(folder.path()), (Some(2), notes));
}

#[test]
fn two_damaged_slots_start_nothing_and_are_written_again() {
    let folder = folder_with_two();
    for name in ["lkg-a", "lkg-b"] {
        std::fs::write(folder.path().join(name), "no").unwrap();
    }
    let (mut lkg, boot) = open(folder.path(), 1_100);
    let notes = ["lkg-a: is cut or damaged", "lkg-b: is cut or damaged"];
    assert_eq!(
        (started(&boot), &boot.notes[..]),
        (None, &notes.map(str::to_owned)[..])
    );
    store(&mut lkg, 3, 1_101);
    store(&mut lkg, 4, 1_102);
    lkg.ended_well().unwrap();
    drop(lkg);
    assert_eq!(starts(folder.path()), (Some(4), Vec::new()));
}

#[test]
fn slots_that_were_swapped_or_copied_start_the_newer_content() {
    let folder = folder_with_two();
    let [a, b] = ["lkg-a", "lkg-b"].map(|name| folder.path().join(name));
    let aside = folder.path().join("aside");
    std::fs::rename(&a, &aside).unwrap();
    std::fs::rename(&b, &a).unwrap();
    std::fs::rename(&aside, &b).unwrap();
    assert_eq!(starts(folder.path()), (Some(2), Vec::new()));
    std::fs::copy(&b, &a).unwrap();
    assert_eq!(starts(folder.path()), (Some(1), Vec::new()));
}

#[test]
fn another_kind_of_file_and_another_format_are_named() {
    let folder = folder_with_two();
    let run = RunRecord {
        node_version: VERSION.to_owned(),
        in_force: None,
        crashes: None,
    };
    std::fs::write(newest(&folder), run.encode()).unwrap();
    let (n, notes) = starts(folder.path());
    assert_eq!((n, &*notes[0]), (Some(1), "lkg-b: is another kind of file"));

    let mut newer = std::fs::read(folder.path().join("lkg-a")).unwrap();
    let body = newer.len() - 32;
    newer[9] = 2;
    let sum = checksum(&newer[..body]);
    newer[body..].copy_from_slice(&sum);
    std::fs::write(newest(&folder), newer).unwrap();
    let (n, notes) = starts(folder.path());
    let told = "lkg-b: has format 2, and this version reads format 1";
    assert_eq!((n, &*notes[0]), (Some(1), told));
}

#[test]
fn a_file_that_grew_without_bound_is_not_read() {
    let folder = folder_with_two();
    let file = std::fs::File::create(newest(&folder)).unwrap();
    file.set_len(1 << 40).unwrap();
    let (n, notes) = starts(folder.path());
    let told = "lkg-b: is larger than 67174400 bytes";
    assert_eq!((n, &*notes[0]), (Some(1), told));
}

#[test]
fn a_damaged_marker_or_quarantine_stops_nothing() {
    let folder = folder_with_two();
    for name in [RUN, QUARANTINE] {
        std::fs::write(folder.path().join(name), "no").unwrap();
    }
    let (mut lkg, boot) = open(folder.path(), 1_100);
    assert_eq!(started(&boot), Some(2));
    assert!(boot.crashed);
    let notes = ["run: is cut or damaged", "quarantine: is cut or damaged"];
    assert_eq!(boot.notes, notes);
    lkg.ended_well().unwrap();
}

#[test]
fn a_slot_that_was_damaged_while_the_node_ran_is_not_made_good() {
    let folder = folder_with_two();
    let (mut lkg, _) = open(folder.path(), 1_100);
    std::fs::write(newest(&folder), "no").unwrap();
    let refused = lkg.mark_good();
    assert!(matches!(refused, Err(Error::Read { .. })), "{refused:?}");
    assert_eq!(
        lkg.problem(),
        Some("lkg-b cannot be read: is cut or damaged")
    );
    store(&mut lkg, 2, 1_101);
    lkg.mark_good().unwrap();
    drop(lkg);
    assert_eq!(starts(folder.path()), (Some(2), Vec::new()));
}

fn any_hash() -> impl Strategy<Value = ContentHash> {
    any::<[u8; 16]>().prop_map(ContentHash)
}

prop_compose! {
    fn any_content()(hash in any_hash(), good in any::<bool>()) -> InForce {
        InForce { hash, good }
    }
}

prop_compose! {
    fn any_crashes()(hash in any_hash(), count in any::<u32>(), ms in any::<u64>()) -> Crashes {
        Crashes { hash, count, last: Duration::from_millis(ms) }
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        epoch in ".{0,16}",
        content in any_content(),
        in_force in proptest::option::of(any_content()),
        crashes in proptest::option::of(any_crashes()),
        (sequence, ms) in any::<(u64, u64)>(),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        hashes in proptest::collection::vec(any_hash(), 0..20),
    ) {
        let time = Duration::from_millis(ms);
        let slot = SlotRecord {
            sequence,
            epoch: epoch.clone(),
            content,
            applied_at: time,
            payload: payload.into(),
        };
        prop_assert_eq!(SlotRecord::decode(slot.encode()), Ok(slot));
        let run = RunRecord { node_version: epoch.clone(), in_force, crashes };
        prop_assert_eq!(RunRecord::decode(run.encode()), Ok(run));
        let entry = |hash| Quarantined {
            hash,
            reason: epoch.clone(),
            node_version: epoch.clone(),
            since: time,
        };
        let entries: Vec<Quarantined> = hashes.into_iter().map(entry).collect();
        prop_assert_eq!(decode_quarantine(encode_quarantine(&entries)), Ok(entries));
    }

    #[test]
    fn bytes_under_a_right_checksum_are_read_or_refused_and_nothing_else(
        kind in 0..5_u8,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = b"WEIR-LKG".to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(&1_u16.to_le_bytes());
        bytes.extend_from_slice(&body);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        let _ = SlotRecord::decode(bytes.clone());
        let _ = RunRecord::decode(bytes.clone());
        let _ = decode_quarantine(bytes);
    }
}
