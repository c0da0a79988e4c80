//! Rules of probation, each with its counterexample.

use proptest::prelude::*;

use super::*;

const OLD: ContentHash = ContentHash([1; 16]);
const NEW: ContentHash = ContentHash([2; 16]);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn slot(hash: ContentHash, good: bool, sequence: u64) -> Option<Slot> {
    let content = InForce { hash, good };
    Some(Slot {
        content,
        sequence,
        epoch: 7,
    })
}

fn of_another_store(slot: Option<Slot>) -> Option<Slot> {
    slot.map(|slot| Slot { epoch: 8, ..slot })
}

/// Starts after one crash at each of `times` with the slots' newest content in force.
fn after_crashes(slots: [Option<Slot>; 2], times: &[u64]) -> BootDecision {
    let newest = slots.iter().flatten().max_by_key(|slot| slot.sequence);
    let mut last_run = LastRun::EndedWell;
    let mut decision = None;
    for now in times {
        let facts = BootFacts {
            now: secs(*now),
            slots,
            last_run: LastRun::Crashed {
                in_force: newest.map(|slot| slot.content),
                before: match last_run {
                    LastRun::EndedWell => None,
                    LastRun::Crashed { before, .. } => before,
                },
            },
            quarantined: &[],
        };
        let decided = facts.decide();
        last_run = LastRun::Crashed {
            in_force: None,
            before: decided.crashes,
        };
        decision = Some(decided);
    }
    decision.unwrap()
}

#[test]
fn a_hash_is_written_in_hexadecimal() {
    assert_eq!(OLD.to_string(), "01".repeat(16));
    assert_eq!(format!("{NEW:?}"), "02".repeat(16));
}

#[test]
fn a_node_without_content_starts_from_nothing() {
    let facts = BootFacts {
        now: secs(0),
        slots: [None, None],
        last_run: LastRun::EndedWell,
        quarantined: &[],
    };
    let nothing = BootDecision {
        start_from: None,
        crashes: None,
        quarantine: None,
    };
    assert_eq!(facts.decide(), nothing);
    assert_eq!(after_crashes([None, None], &[1, 2, 3, 4]), nothing);
}

#[test]
fn three_crashes_in_a_row_send_the_node_back_to_good_content() {
    let slots = [slot(OLD, true, 1), slot(NEW, false, 2)];
    let two = after_crashes(slots, &[100, 160]);
    assert_eq!((two.start_from, two.quarantine), (Some(1), None));
    let three = after_crashes(slots, &[100, 160, 220]);
    assert_eq!((three.start_from, three.quarantine), (Some(0), Some(NEW)));
}

#[test]
fn without_good_content_the_node_goes_back_to_what_was_in_force_before() {
    let three = after_crashes([slot(OLD, false, 1), slot(NEW, false, 2)], &[1, 2, 3]);
    assert_eq!((three.start_from, three.quarantine), (Some(0), Some(NEW)));
}

#[test]
fn with_no_other_content_the_node_goes_back_to_nothing() {
    let three = after_crashes([None, slot(NEW, false, 2)], &[1, 2, 3]);
    assert_eq!((three.start_from, three.quarantine), (None, Some(NEW)));
    let facts = BootFacts {
        now: secs(4),
        slots: [slot(OLD, false, 1), slot(NEW, false, 2)],
        last_run: LastRun::EndedWell,
        quarantined: &[OLD, NEW],
    };
    assert_eq!(facts.decide().start_from, None);
}

#[test]
fn content_of_another_store_is_started_from_but_not_gone_back_to() {
    for good in [false, true] {
        let old = of_another_store(slot(OLD, good, 1));
        let three = after_crashes([old, slot(NEW, false, 2)], &[1, 2, 3]);
        assert_eq!((three.start_from, three.quarantine), (None, Some(NEW)));
        let start = after_crashes([old, None], &[1]);
        assert_eq!(start.start_from, Some(0));
    }
}

#[test]
fn crashes_further_apart_are_no_row() {
    let slots = [slot(OLD, true, 1), slot(NEW, false, 2)];
    let three = after_crashes(slots, &[100, 161, 222]);
    assert_eq!((three.start_from, three.quarantine), (Some(1), None));
    assert_eq!(three.crashes.map(|crashes| crashes.count), Some(1));
}

#[test]
fn a_clock_that_steps_back_does_not_break_a_row() {
    let slots = [slot(OLD, true, 1), slot(NEW, false, 2)];
    let three = after_crashes(slots, &[1_000_000, 10, 20]);
    assert_eq!((three.start_from, three.quarantine), (Some(0), Some(NEW)));
}

#[test]
fn good_content_survives_any_crashes() {
    let times: Vec<u64> = (0..200).collect();
    let decision = after_crashes([slot(OLD, false, 1), slot(NEW, true, 2)], &times);
    assert_eq!((decision.start_from, decision.quarantine), (Some(1), None));
}

#[test]
fn crashes_with_other_content_do_not_clear_what_was_counted() {
    let row = Crashes {
        hash: NEW,
        count: 2,
        last: secs(10),
    };
    for (hash, good, kept) in [
        (Some(OLD), true, true),
        (None, false, true),
        (Some(OLD), false, false),
    ] {
        let facts = BootFacts {
            now: secs(20),
            slots: [None, None],
            last_run: LastRun::Crashed {
                in_force: hash.map(|hash| InForce { hash, good }),
                before: Some(row),
            },
            quarantined: &[],
        };
        assert_eq!(facts.decide().crashes == Some(row), kept, "{hash:?} {good}");
    }
}

#[test]
fn an_orderly_end_ends_a_row() {
    let facts = BootFacts {
        now: secs(20),
        slots: [slot(NEW, false, 1), None],
        last_run: LastRun::EndedWell,
        quarantined: &[],
    };
    let decision = facts.decide();
    assert_eq!((decision.start_from, decision.crashes), (Some(0), None));
}

#[test]
fn a_row_that_never_reached_the_quarantine_still_counts() {
    let row = Crashes {
        hash: NEW,
        count: CRASHES_MAX,
        last: secs(10),
    };
    let facts = BootFacts {
        now: secs(20),
        slots: [slot(OLD, true, 1), slot(NEW, false, 2)],
        last_run: LastRun::Crashed {
            in_force: None,
            before: Some(row),
        },
        quarantined: &[],
    };
    let decision = facts.decide();
    assert_eq!(
        (decision.start_from, decision.quarantine),
        (Some(0), Some(NEW))
    );
}

#[test]
fn quarantined_content_is_passed_over() {
    let facts = BootFacts {
        now: secs(0),
        slots: [slot(NEW, false, 5), slot(OLD, true, 4)],
        last_run: LastRun::EndedWell,
        quarantined: &[NEW],
    };
    assert_eq!(facts.decide().start_from, Some(1));
}

#[test]
fn content_is_good_after_half_a_minute_of_health() {
    let mut probation = Probation::starting_at(secs(100));
    assert!(!probation.passed(secs(129), true));
    assert!(probation.passed(secs(130), true));
    assert!(!probation.passed(secs(131), false));
    assert!(!probation.passed(secs(160), true));
    assert!(probation.passed(secs(161), true));
}

#[test]
fn a_clock_that_steps_back_starts_probation_anew_and_does_not_stop_it() {
    let mut probation = Probation::starting_at(secs(1_000_000));
    assert!(!probation.passed(secs(10), true));
    assert!(!probation.passed(secs(39), true));
    assert!(probation.passed(secs(40), true));
}

fn any_slot() -> impl Strategy<Value = Option<Slot>> {
    let parts = (0..3_u8, any::<bool>(), 0..4_u64, 0..2_u64);
    proptest::option::of(parts.prop_map(|(hash, good, sequence, epoch)| Slot {
        content: InForce {
            hash: ContentHash([hash; 16]),
            good,
        },
        sequence,
        epoch,
    }))
}

fn any_last_run() -> impl Strategy<Value = LastRun> {
    let in_force = proptest::option::of((0..3_u8, any::<bool>()));
    let before = proptest::option::of((0..3_u8, any::<u32>(), 0..200_u64));
    let crashed = (in_force, before).prop_map(|(in_force, before)| LastRun::Crashed {
        in_force: in_force.map(|(hash, good)| InForce {
            hash: ContentHash([hash; 16]),
            good,
        }),
        before: before.map(|(hash, count, last)| Crashes {
            hash: ContentHash([hash; 16]),
            count,
            last: secs(last),
        }),
    });
    prop_oneof![Just(LastRun::EndedWell), crashed]
}

proptest! {
    #[test]
    fn a_node_with_a_good_slot_starts_from_it_or_from_something_newer(
        slots in [any_slot(), any_slot()],
        last_run in any_last_run(),
        refused in proptest::collection::vec(0..3_u8, 0..3),
        now in 0..200_u64,
    ) {
        let quarantined: Vec<_> = refused.iter().map(|hash| ContentHash([*hash; 16])).collect();
        let facts = BootFacts { now: secs(now), slots, last_run, quarantined: &quarantined };
        let decision = facts.decide();
        let chosen = decision.start_from.map(|at| slots[at].unwrap());
        let one_store = slots.iter().flatten().all(|slot| slot.epoch == 0);
        for good in slots.iter().flatten().filter(|slot| slot.content.good) {
            let kept = chosen.is_some_and(|chosen| chosen.sequence >= good.sequence);
            prop_assert!(kept || !one_store);
            prop_assert_ne!(decision.quarantine, Some(good.content.hash));
        }
        if let Some(chosen) = chosen {
            let hash = chosen.content.hash;
            let refused = quarantined.contains(&hash) || decision.quarantine == Some(hash);
            prop_assert!(chosen.content.good || !refused);
        }
        let usable = |slot: &&Slot| {
            let hash = slot.content.hash;
            let refused = quarantined.contains(&hash) || decision.quarantine == Some(hash);
            slot.content.good || !refused
        };
        let newest = slots.iter().flatten().filter(usable).map(|slot| slot.sequence).max();
        if one_store {
            prop_assert_eq!(chosen.map(|chosen| chosen.sequence), newest);
        }
        if slots.iter().flatten().all(|slot| usable(&slot)) {
            prop_assert_eq!(chosen.is_some(), newest.is_some());
        }
    }
}
