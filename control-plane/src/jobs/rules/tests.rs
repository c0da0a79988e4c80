use proptest::prelude::*;

use super::*;

fn limits(delay_s: u64, max_s: u64) -> Limits {
    Limits {
        attempts_max: 3,
        retry_delay: Duration::from_secs(delay_s),
        retry_delay_max: Duration::from_secs(max_s),
    }
}

#[test]
fn waits_double_up_to_their_bound_within_a_tenth() {
    let standard = Limits::default();
    let seconds = |attempt, draw| retry_delay(&standard, attempt, draw).as_secs();
    assert_eq!(
        [1, 2, 3, 4, 5].map(|n| seconds(n, 0.5)),
        [60, 120, 240, 480, 600]
    );
    assert_eq!((seconds(1, 0.0), seconds(1, 1.0)), (54, 66));
    assert_eq!(seconds(u32::MAX, 0.5), 600);
    assert_eq!(retry_delay(&limits(0, 9), 7, 1.0), Duration::ZERO);
}

proptest! {
    #[test]
    fn no_wait_is_longer_than_its_bound_and_a_tenth(
        attempt: u32, delay_s in 0_u64..86_400, max_s in 0_u64..86_400, draw in 0.0..=1.0,
    ) {
        let delay = retry_delay(&limits(delay_s, max_s), attempt, draw);
        prop_assert!(delay <= Duration::from_secs(max_s).mul_f64(1.1001));
    }

    #[test]
    fn a_place_is_free_and_within_the_bound(
        taken in proptest::collection::btree_set(0_u32..20, 0..20), max in 0_u32..12, draw: u64,
    ) {
        match free_slot(&taken, max, draw) {
            Some(slot) => prop_assert!(slot < max && !taken.contains(&slot)),
            None => prop_assert!(taken.len() >= max as usize),
        }
    }
}

#[test]
fn starts_are_spaced_and_a_wrong_clock_holds_nobody_up() {
    let may = |now, last| may_start(now, last, Duration::from_millis(500));
    assert!(!may(1_499, 1_000) && may(1_500, 1_000));
    assert!(!may(1_000, 1_400), "a clock that is a little ahead counts");
    assert!(may(1_000, 1_501), "one that was set to next year does not");
    assert!(may_start(5, 5, Duration::ZERO));
}

#[test]
fn a_job_that_has_to_wait_much_longer_than_it_was_told_to_waits_for_a_wrong_clock() {
    assert!(!was_told_wrong(1_000, 900, 0));
    assert!(!was_told_wrong(1_000, 601_000, 600_000));
    // One clock may be a little ahead of the other.
    assert!(!was_told_wrong(1_000, 61_000, 0) && was_told_wrong(1_000, 61_001, 0));
    assert!(!was_told_wrong(0, 180_000, 60_000) && was_told_wrong(0, 180_001, 60_000));
    assert!(!was_told_wrong(0, u64::MAX, u64::MAX));
}

#[test]
fn a_job_waits_until_its_time_and_is_ready_from_then_on() {
    let job = Job {
        state: State::Ready.into(),
        not_before_unix_ms: 10,
        ..Job::default()
    };
    assert_eq!(
        [9, 10].map(|now| state_at(&job, now)),
        [State::Waiting, State::Ready]
    );
    let claimed = Job {
        state: State::Claimed.into(),
        ..job
    };
    assert_eq!(state_at(&claimed, 9), State::Claimed);
}

#[test]
fn ids_sort_by_time() {
    assert!(job_id(1, u64::MAX) < job_id(2, 0));
    assert!(check_job_id(&job_id(u64::MAX, u64::MAX)).is_ok());
}

#[test]
fn a_text_is_cut_between_characters() {
    let kept = bounded(&"ä".repeat(TEXT_BYTES_MAX));
    assert_eq!(kept.len(), TEXT_BYTES_MAX);
    let kept = bounded(&format!("a{}", "ä".repeat(TEXT_BYTES_MAX)));
    assert_eq!(kept.len(), TEXT_BYTES_MAX - 1);
    assert_eq!(bounded("short"), "short");
}

#[test]
fn all_that_is_wrong_with_a_job_is_told_at_once() {
    let mut job = NewJob {
        queue: "a/b".to_owned(),
        job_id: Some("1".to_owned()),
        priority: PRIORITY_MAX + 1,
        ..NewJob::default()
    };
    job.spec.slot = "ä".to_owned();
    job.spec.payload = vec![0; PAYLOAD_BYTES_MAX + 1];
    job.spec.trace_context = "0".repeat(TRACE_BYTES_MAX + 1);
    job.spec.reason = "r".repeat(REASON_BYTES_MAX + 1);
    job.limits = Limits {
        attempts_max: 0,
        retry_delay: DELAY_MAX * 2,
        ..Limits::default()
    };
    let problems = check_new(&job).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|p| &*p.path).collect();
    let expected = [
        "queue",
        "spec.service",
        "spec.slot",
        "spec.reason",
        "spec.payload",
        "spec.trace_context",
        "priority",
        "limits.attempts_max",
        "limits.retry_delay",
        "idempotency_key",
        "job_id",
    ];
    assert_eq!(paths, expected);
    let told = problems[4].to_string();
    assert_eq!(
        told,
        "spec.payload: `16385` is out of bounds (allowed: 0 to 16384 bytes)"
    );
}

#[test]
fn all_that_is_wrong_with_a_want_is_told_at_once() {
    let want = Want {
        fleet_concurrent_max: FLEET_CONCURRENT_MAX + 1,
        fleet_interval_min: DELAY_MAX * 2,
        services: vec![String::new(); SERVICES_MAX + 1],
        ..Want::default()
    };
    let problems = check_want(&want).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|p| &*p.path).collect();
    let expected = [
        "node_id",
        "boot_id",
        "services",
        "fleet_concurrent_max",
        "fleet_interval_min",
    ];
    assert_eq!(paths, expected);
}
