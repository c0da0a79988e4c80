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
    Some(Slot { content, sequence })
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
fn without_good_content_the_node_goes_back_to_nothing() {
    for other in [None, slot(OLD, false, 1)] {
        let three = after_crashes([other, slot(NEW, false, 2)], &[1, 2, 3]);
        assert_eq!((three.start_from, three.quarantine), (None, Some(NEW)));
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
    let parts = (0..3_u8, any::<bool>(), 0..4_u64);
    proptest::option::of(parts.prop_map(|(hash, good, sequence)| Slot {
        content: InForce {
            hash: ContentHash([hash; 16]),
            good,
        },
        sequence,
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
        for good in slots.iter().flatten().filter(|slot| slot.content.good) {
            prop_assert!(chosen.is_some_and(|chosen| chosen.sequence >= good.sequence));
            prop_assert_ne!(decision.quarantine, Some(good.content.hash));
        }
        if let Some(chosen) = chosen {
            let hash = chosen.content.hash;
            let refused = quarantined.contains(&hash) || decision.quarantine == Some(hash);
            prop_assert!(chosen.content.good || !refused);
        }
        if decision.quarantine.is_none() && quarantined.is_empty() {
            prop_assert_eq!(chosen.is_some(), slots.iter().any(Option::is_some));
        }
    }
}
