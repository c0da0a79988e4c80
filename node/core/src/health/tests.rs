use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::balance::Fitness;

const WINDOW: Duration = Duration::from_secs(10);

fn config() -> HealthConfig {
    HealthConfig {
        check: Some(Check::Tcp),
        slow_start: SlowStartConfig {
            window: WINDOW,
            ..SlowStartConfig::default()
        },
        ..HealthConfig::default()
    }
}

fn present(config: HealthConfig) -> BackendHealth {
    BackendHealth::at_node_start(Arc::new(config))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The start of a ramp with the default minimum.
const RAMP_START: Standing = Standing::SlowStart {
    share_permille: 100,
};

#[test]
fn a_backend_present_at_node_start_is_in_until_three_checks_fail() {
    let now = Instant::now();
    let mut health = present(config());
    assert_eq!(health.standing(now), Standing::In);
    assert!(!health.probed(now, false, "connect refused"));
    assert!(!health.probed(now, false, "connect refused"));
    assert!(health.probed(now, false, "connect refused"));
    assert_eq!(health.standing(now), Standing::Unhealthy);
    assert_eq!(
        health.reason(now),
        "3 checks failed in a row: connect refused"
    );
}

#[test]
fn a_good_check_between_failures_starts_the_count_again() {
    let now = Instant::now();
    let mut health = present(config());
    for ok in [false, false, true, false, false] {
        assert!(!health.probed(now, ok, "timeout"));
    }
    assert_eq!(health.standing(now), Standing::In);
}

#[test]
fn an_unhealthy_backend_needs_two_good_checks_and_then_ramps_up() {
    let now = Instant::now();
    let mut health = present(config());
    for _ in 0..3 {
        health.probed(now, false, "timeout");
    }
    assert!(!health.probed(now, true, ""));
    assert_eq!(
        health.reason(now),
        "1 of 2 good checks since the last failure: timeout"
    );
    assert!(health.probed(now, true, ""));
    assert_eq!(health.standing(now), RAMP_START);
    assert!(health.tick(now + seconds(5), 0));
    assert_eq!(health.reason(now + seconds(5)), "slow start at 50 %");
    assert!(health.tick(now + WINDOW, 0));
    assert_eq!(health.standing(now + WINDOW), Standing::In);
    assert!(!health.tick(now + WINDOW, 0));
}

#[test]
fn an_added_backend_waits_for_one_good_check() {
    let now = Instant::now();
    let mut health = BackendHealth::added(Arc::new(config()), now);
    assert_eq!(health.reason(now), "waiting for the first check");
    assert!(!health.probed(now, false, "connect refused"));
    assert_eq!(
        health.reason(now),
        "waiting for the first good check: connect refused"
    );
    assert!(health.probed(now, true, ""));
    assert_eq!(health.standing(now), RAMP_START);
}

#[test]
fn an_added_backend_without_checks_ramps_up_at_once() {
    let now = Instant::now();
    let config = HealthConfig {
        check: None,
        ..config()
    };
    let mut health = BackendHealth::added(Arc::new(config), now);
    assert_eq!(health.standing(now), RAMP_START);
    assert!(!health.probed(now, false, "nobody asked"));
}

#[test]
fn three_failures_in_traffic_eject_for_thirty_seconds() {
    let now = Instant::now();
    let mut health = present(config());
    assert!(!health.failure_run(now, 2));
    assert!(health.failure_run(now, 5));
    assert!(health.eject(now));
    assert_eq!(
        health.reason(now + seconds(18)),
        "5 failures in a row, back in 12s"
    );
    assert!(!health.failure_run(now, 6), "it is out already");
    assert!(!health.eject(now), "it is out already");
    assert!(!health.tick(now + seconds(29), 0));
    assert!(health.tick(now + seconds(30), 0));
    assert_eq!(health.standing(now + seconds(30)), RAMP_START);
    assert!(!health.failure_run(now + seconds(30), 6), "old failures");
}

#[test]
fn a_good_check_ends_an_ejection_early_only_if_configured() {
    let now = Instant::now();
    let mut eager_config = config();
    eager_config.ejection.good_check_restores = true;
    let (mut patient, mut eager) = (present(config()), present(eager_config));
    for health in [&mut patient, &mut eager] {
        health.eject(now);
        health.probed(now, true, "");
    }
    assert!(!patient.standing(now).takes_work());
    assert!(eager.standing(now).takes_work());
    assert!(patient.probed(now + seconds(30), true, ""));
    assert!(patient.standing(now + seconds(30)).takes_work());
}

#[test]
fn no_check_overrules_the_operator() {
    let now = Instant::now();
    let mut config = config();
    config.ejection.good_check_restores = true;
    let mut health = present(config);
    assert!(health.eject_by_hand(now, None));
    assert!(!health.probed(now, true, ""));
    assert!(!health.tick(now + seconds(86_400), 0));
    assert_eq!(health.reason(now), "ejected by operator");
    assert!(health.restore(now));
    assert_eq!(health.standing(now), RAMP_START);
}

#[test]
fn an_ejection_by_hand_may_have_an_end() {
    let now = Instant::now();
    let mut health = present(config());
    health.eject_by_hand(now, Some(seconds(60)));
    assert_eq!(health.reason(now), "ejected by operator, back in 1m");
    assert!(health.tick(now + seconds(60), 0));
}

#[test]
fn a_drain_is_done_when_nothing_is_in_flight() {
    let now = Instant::now();
    let mut health = present(config());
    assert!(health.drain(now, seconds(30)));
    assert_eq!(health.reason(now), "draining by operator, cut in 30s");
    assert!(!health.tick(now + seconds(1), 1));
    assert!(health.tick(now + seconds(2), 0));
    assert_eq!(health.standing(now), Standing::Drained { cut: false });
    assert!(!health.drain(now, seconds(30)), "done stays done");
    assert!(health.undrain(now));
    assert_eq!(health.standing(now), RAMP_START);
}

#[test]
fn a_drain_past_its_deadline_tells_the_caller_to_cut() {
    let now = Instant::now();
    let mut health = present(config());
    health.drain(now, seconds(30));
    assert!(!health.tick(now + seconds(29), 7));
    assert!(health.tick(now + seconds(30), 7));
    assert_eq!(health.standing(now), Standing::Drained { cut: true });
}

#[test]
fn a_backend_called_back_while_it_drains_is_still_warm() {
    let now = Instant::now();
    let mut health = present(config());
    health.drain(now, seconds(30));
    health.undrain(now);
    assert_eq!(health.standing(now), Standing::In);
}

#[test]
fn a_backend_that_was_out_before_its_drain_is_cold() {
    let now = Instant::now();
    let mut health = BackendHealth::added(Arc::new(config()), now);
    health.drain(now, seconds(30));
    health.probed(now, true, "");
    health.undrain(now);
    assert_eq!(health.standing(now), RAMP_START);
}

#[test]
fn a_drain_without_end_does_not_overflow_the_clock() {
    let now = Instant::now();
    let mut health = present(config());
    health.drain(now, Duration::MAX);
    assert!(!health.tick(now + seconds(86_400), 1));
}

#[test]
fn dropping_the_checks_drops_their_verdict() {
    let now = Instant::now();
    let mut health = present(config());
    for _ in 0..3 {
        health.probed(now, false, "timeout");
    }
    assert!(health.configure(now, Arc::new(HealthConfig::default())));
    assert_eq!(health.standing(now), Standing::In);
}

#[test]
fn only_the_operators_wishes_withdraw_a_backend() {
    let now = Instant::now();
    let until = Some(now);
    let by_hand = true;
    for (standing, fitness) in [
        (Standing::In, Fitness::Healthy),
        (RAMP_START, Fitness::Healthy),
        (Standing::Pending, Fitness::Untested),
        (Standing::Unhealthy, Fitness::Unhealthy),
        (
            Standing::Ejected {
                until,
                by_hand: false,
            },
            Fitness::Unhealthy,
        ),
        (Standing::Ejected { until, by_hand }, Fitness::Withdrawn),
        (Standing::Draining { deadline: now }, Fitness::Withdrawn),
        (Standing::Drained { cut: false }, Fitness::Withdrawn),
    ] {
        assert_eq!(standing.fitness(), fitness, "{standing:?}");
        assert_eq!(standing.takes_work(), fitness == Fitness::Healthy);
    }
}
