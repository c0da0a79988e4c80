//! What must hold for the health of backends whatever happens and whenever.

#![allow(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_core::health::{
    BackendHealth, Check, EjectionConfig, HealthConfig, SlowStartConfig, Standing, may_eject,
};

#[derive(Clone, Debug)]
enum Event {
    Probed(bool),
    FailureRun(u32),
    Eject,
    EjectByHand(Option<Duration>),
    Restore,
    Drain(Duration),
    Undrain,
    Tick(u64),
    Configure(bool),
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..400_000u64).prop_map(Duration::from_millis),
        Just(Duration::ZERO),
        Just(Duration::MAX),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        any::<bool>().prop_map(Event::Probed),
        prop_oneof![0..10u32, any::<u32>()].prop_map(Event::FailureRun),
        Just(Event::Eject),
        proptest::option::of(durations()).prop_map(Event::EjectByHand),
        Just(Event::Restore),
        durations().prop_map(Event::Drain),
        Just(Event::Undrain),
        (0..3u64).prop_map(Event::Tick),
        any::<bool>().prop_map(Event::Configure),
    ]
}

fn configs() -> impl Strategy<Value = HealthConfig> {
    (
        any::<bool>(),
        0..4u32,
        0..4u32,
        (0..4u32, durations(), durations(), any::<bool>()),
        (durations(), 0..120u32, any::<f64>()),
    )
        .prop_map(|(checked, rise, fall, ejection, ramp)| HealthConfig {
            check: checked.then_some(Check::Tcp),
            rise,
            fall,
            ejection: EjectionConfig {
                consecutive_failures: ejection.0,
                base_ejection: ejection.1,
                max_ejection: ejection.2,
                good_check_restores: ejection.3,
                ..EjectionConfig::default()
            },
            slow_start: SlowStartConfig {
                window: ramp.0,
                min_percent: ramp.1,
                aggression: ramp.2,
            },
            ..HealthConfig::default()
        })
}

fn apply(health: &mut BackendHealth, now: Instant, event: &Event) -> bool {
    match *event {
        Event::Probed(ok) => health.probed(now, ok, "connect refused"),
        Event::FailureRun(run) => {
            let wanted = health.failure_run(now, run);
            wanted && health.eject(now)
        }
        Event::Eject => health.eject(now),
        Event::EjectByHand(duration) => health.eject_by_hand(now, duration),
        Event::Restore => health.restore(now),
        Event::Drain(deadline) => health.drain(now, deadline),
        Event::Undrain => health.undrain(now),
        Event::Tick(in_flight) => health.tick(now, in_flight),
        Event::Configure(checked) => {
            let mut config = HealthConfig::clone(health.config());
            config.check = checked.then_some(Check::Tcp);
            health.configure(now, Arc::new(config))
        }
    }
}

proptest! {
    #[test]
    fn any_events_at_any_times_leave_a_sane_standing(
        config in configs(),
        added in any::<bool>(),
        steps in prop::collection::vec((0..100_000u64, events()), 0..60),
    ) {
        let epoch = Instant::now();
        let config = Arc::new(config);
        let mut health = if added {
            BackendHealth::added(config, epoch)
        } else {
            BackendHealth::at_node_start(config)
        };
        let mut told = health.standing(epoch);
        for (at_ms, event) in &steps {
            // Times are not sorted: a caller may hold an older reading than the last.
            let now = epoch + Duration::from_millis(*at_ms);
            let changed = apply(&mut health, now, event);
            let standing = health.standing(now);
            if !matches!(event, Event::FailureRun(_)) {
                prop_assert_eq!(changed, standing != told);
            }
            if changed {
                told = standing;
            }
            prop_assert!((1..=1_000).contains(&standing.share_permille()));
            prop_assert!(!health.reason(now).is_empty());
        }
    }

    #[test]
    fn a_backend_left_alone_by_the_operator_always_comes_back(
        config in configs(),
        steps in prop::collection::vec((1..100_000u64, any::<bool>(), 0..9u32), 0..60),
    ) {
        let mut now = Instant::now();
        let mut health = BackendHealth::at_node_start(Arc::new(HealthConfig {
            ejection: EjectionConfig {
                max_ejection: config.ejection.max_ejection.min(Duration::from_secs(300)),
                ..config.ejection
            },
            ..config
        }));
        for (wait_ms, ok, run) in steps {
            now += Duration::from_millis(wait_ms);
            health.probed(now, ok, "timeout");
            if health.failure_run(now, run) {
                health.eject(now);
            }
            health.tick(now, 0);
        }
        now += Duration::from_secs(300);
        health.tick(now, 0);
        for _ in 0..4 {
            health.probed(now, true, "");
        }
        prop_assert!(health.standing(now).takes_work(), "{}", health.reason(now));
    }

    #[test]
    fn a_draining_backend_is_drained_by_its_deadline(
        deadline_ms in 0..100_000u64,
        in_flight in 0..3u64,
    ) {
        let now = Instant::now();
        let mut health = BackendHealth::at_node_start(Arc::new(HealthConfig::default()));
        let deadline = Duration::from_millis(deadline_ms);
        health.drain(now, deadline);
        health.tick(now + deadline, in_flight);
        let cut = in_flight > 0;
        prop_assert_eq!(health.standing(now), Standing::Drained { cut });
    }

    #[test]
    fn the_share_of_ejected_backends_is_never_exceeded(
        pool_size in 0..200usize,
        ejected_percent_max in 0..150u32,
        attempts in 0..400usize,
    ) {
        let config = EjectionConfig { ejected_percent_max, ..EjectionConfig::default() };
        let ejected = (0..attempts)
            .fold(0, |ejected, _| ejected + usize::from(may_eject(&config, pool_size, ejected)));
        let share = pool_size * ejected_percent_max.min(100) as usize / 100;
        let most = if pool_size < 2 { 0 } else { share.max(1) };
        prop_assert_eq!(ejected, most.min(attempts));
    }

    #[test]
    fn slow_start_never_falls_and_ends_at_the_full_share(
        window_ms in 1..600_000u64,
        min_percent in 0..150u32,
        aggression in any::<f64>(),
        mut ages_ms in prop::collection::vec(0..700_000u64, 1..50),
    ) {
        let ramp = SlowStartConfig {
            window: Duration::from_millis(window_ms),
            min_percent,
            aggression,
        };
        ages_ms.sort_unstable();
        let shares: Vec<u32> = ages_ms
            .iter()
            .map(|&age_ms| ramp.share_permille(Duration::from_millis(age_ms)))
            .collect();
        prop_assert!(shares.is_sorted(), "{:?}", shares);
        prop_assert!(shares[0] >= min_percent.clamp(1, 100) * 10);
        prop_assert_eq!(ramp.share_permille(ramp.window), 1_000);
    }
}
