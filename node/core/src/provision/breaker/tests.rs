use super::*;

const CONFIG: BreakerConfig = BreakerConfig {
    failures_max: 3,
    window: Duration::from_secs(180),
    open_for: Duration::from_secs(60),
    probe_timeout: Duration::from_secs(30),
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A breaker that opened at that time.
fn open(at: Instant) -> Breaker {
    let mut breaker = Breaker::new(CONFIG);
    for _ in 0..3 {
        let ticket = breaker.acquire(at).unwrap();
        breaker.failed(ticket, at);
    }
    assert_eq!(
        breaker.state(at),
        BreakerState::Open {
            until: at + seconds(60)
        }
    );
    breaker
}

const HALF_OPEN: BreakerState = BreakerState::HalfOpen {
    probing_until: None,
};

#[test]
fn only_failures_within_the_window_open_it_and_successes_do_not_excuse_them() {
    let epoch = Instant::now();
    let mut breaker = Breaker::new(CONFIG);
    for at in [0, 100, 181, 282] {
        let now = epoch + seconds(at);
        let (bad, good) = (breaker.acquire(now).unwrap(), breaker.acquire(now).unwrap());
        breaker.failed(bad, now);
        breaker.succeeded(good);
        assert_eq!(breaker.state(now), BreakerState::Closed, "at {at} s");
    }
    let now = epoch + seconds(283);
    let ticket = breaker.acquire(now).unwrap();
    breaker.failed(ticket, now);
    assert!(matches!(breaker.state(now), BreakerState::Open { .. }));
    assert_eq!(breaker.last_failure(), Some(now));
}

#[test]
fn failures_age_without_anybody_asking() {
    let epoch = Instant::now();
    let mut breaker = Breaker::new(CONFIG);
    let ticket = breaker.acquire(epoch).unwrap();
    breaker.failed(ticket, epoch);
    assert_eq!(breaker.failures(epoch), 1);
    assert_eq!(breaker.failures(epoch + seconds(180)), 0);
}

#[test]
fn an_open_breaker_refuses_with_the_time_until_a_probe() {
    let epoch = Instant::now();
    let mut breaker = open(epoch);
    let now = epoch + seconds(20);
    let refusal = breaker.acquire(now).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::CircuitBreaker);
    assert_eq!(refusal.recovery_eta, Some(seconds(40)));
    assert_eq!(breaker.recovery_eta(now), Some(seconds(40)));
    let later = epoch + seconds(60);
    assert_eq!(breaker.changes_at(now), Some(later));
    assert_eq!(breaker.state(later), HALF_OPEN);
    assert_eq!(breaker.recovery_eta(later), None);
}

#[test]
fn half_open_lets_exactly_one_probe_through() {
    let epoch = Instant::now();
    let mut breaker = open(epoch);
    let now = epoch + seconds(60);
    let probe = breaker.acquire(now).unwrap();
    for _ in 0..10 {
        let refusal = breaker.acquire(now).unwrap_err();
        assert_eq!(refusal.recovery_eta, Some(seconds(30)));
    }
    breaker.succeeded(probe);
    assert_eq!(breaker.state(now), BreakerState::Closed);
    assert!(breaker.acquire(now).is_ok() && breaker.acquire(now).is_ok());
}

#[test]
fn a_failed_probe_opens_it_for_the_whole_time_again() {
    let epoch = Instant::now();
    let mut breaker = open(epoch);
    let now = epoch + seconds(70);
    let probe = breaker.acquire(now).unwrap();
    let until = now + seconds(65);
    breaker.failed(probe, now + seconds(5));
    assert_eq!(
        breaker.state(now + seconds(5)),
        BreakerState::Open { until }
    );
}

#[test]
fn late_results_neither_extend_nor_close_it() {
    let epoch = Instant::now();
    let mut breaker = Breaker::new(CONFIG);
    let late: Vec<Ticket> = (0..10).map(|_| breaker.acquire(epoch).unwrap()).collect();
    late[..3].iter().for_each(|bad| breaker.failed(*bad, epoch));
    let opened = breaker.state(epoch);
    breaker.failed(late[3], epoch + seconds(50));
    breaker.succeeded(late[4]);
    assert_eq!(
        breaker.state(epoch + seconds(50)),
        BreakerState::Open {
            until: epoch + seconds(60)
        }
    );
    assert_eq!(breaker.state(epoch), opened);
    let now = epoch + seconds(60);
    let probe = breaker.acquire(now).unwrap();
    breaker.failed(late[5], now);
    breaker.succeeded(late[6]);
    breaker.abandoned(late[7], now);
    assert!(breaker.acquire(now).is_err(), "the probe is still out");
    breaker.succeeded(probe);
    late[8..].iter().for_each(|bad| breaker.failed(*bad, now));
    assert_eq!(breaker.failures(now), 0);
}

#[test]
fn a_probe_that_is_given_up_or_lost_makes_room_for_the_next() {
    let epoch = Instant::now();
    let mut breaker = open(epoch);
    let now = epoch + seconds(60);
    let probe = breaker.acquire(now).unwrap();
    breaker.abandoned(probe, now);
    assert_eq!(breaker.state(now), HALF_OPEN);
    let lost = breaker.acquire(now).unwrap();
    let later = now + seconds(30);
    assert_eq!(breaker.state(later), HALF_OPEN);
    let probe = breaker.acquire(later).unwrap();
    breaker.succeeded(lost);
    assert!(
        breaker.acquire(later).is_err(),
        "the lost one came too late"
    );
    breaker.succeeded(probe);
    assert_eq!(breaker.state(later), BreakerState::Closed);
}

#[test]
fn a_reset_closes_it_and_forgets_what_is_under_way() {
    let epoch = Instant::now();
    let mut breaker = open(epoch);
    breaker.reset();
    assert_eq!(breaker.state(epoch), BreakerState::Closed);
    let before: Vec<Ticket> = (0..3).map(|_| breaker.acquire(epoch).unwrap()).collect();
    breaker.reset();
    before.iter().for_each(|bad| breaker.failed(*bad, epoch));
    assert_eq!(breaker.state(epoch), BreakerState::Closed);
}

#[test]
fn a_breaker_that_is_off_lets_everything_through() {
    let epoch = Instant::now();
    let mut breaker = open(epoch);
    breaker.set_config(BreakerConfig {
        failures_max: 0,
        ..CONFIG
    });
    for _ in 0..100 {
        let ticket = breaker.acquire(epoch).unwrap();
        breaker.failed(ticket, epoch);
    }
    assert_eq!(breaker.state(epoch), BreakerState::Closed);
    assert!(
        breaker.failures.len() <= 1,
        "what cannot matter is not kept"
    );
}

#[test]
fn what_was_let_through_before_it_opened_may_not_begin_until_it_is_closed_again() {
    let epoch = Instant::now();
    let mut breaker = Breaker::new(CONFIG);
    let early = breaker.acquire(epoch).unwrap();
    assert_eq!(breaker.allows(early, epoch), Ok(()));
    for _ in 0..3 {
        let ticket = breaker.acquire(epoch).unwrap();
        breaker.failed(ticket, epoch);
    }
    let refusal = breaker.allows(early, epoch + seconds(10)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::CircuitBreaker);
    assert_eq!(refusal.recovery_eta, Some(seconds(50)));
    let recovered = epoch + seconds(60);
    let probe = breaker.acquire(recovered).unwrap();
    assert_eq!(breaker.allows(probe, recovered), Ok(()));
    assert!(breaker.allows(early, recovered).is_err());
    breaker.succeeded(probe);
    assert_eq!(breaker.allows(early, recovered), Ok(()));
}
