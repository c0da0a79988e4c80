//! What must hold of VPNs whatever happens and whenever.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests need some instant to start from, and may panic"
)]
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_core::port_cache::Port;
use weir_core::vpn::{
    Container, ContainerHealth, ContainerLook, Control, Event, Health, HealthLimits, Look,
    PortEvent, PortWatch, State, TunnelStatus, WatchLimits,
};

fn controls() -> impl Strategy<Value = Option<Control>> {
    let status = prop::sample::select(vec![
        None,
        Some(TunnelStatus::Running),
        Some(TunnelStatus::Running),
        Some(TunnelStatus::Stopped),
        Some(TunnelStatus::Starting),
    ]);
    let control = (status, 0..3u8).prop_map(|(status, ip)| Control {
        status,
        public_ip: (ip > 0).then(|| [198, 51, 100, ip].into()),
    });
    prop::option::weighted(0.8, control)
}

fn containers() -> impl Strategy<Value = ContainerLook> {
    let health = prop::sample::select(vec![
        ContainerHealth::Healthy,
        ContainerHealth::Untold,
        ContainerHealth::Unhealthy,
    ]);
    let seen =
        (0..2u8, 0..2u8, any::<bool>(), health).prop_map(|(id, started, is_running, health)| {
            ContainerLook::Seen(Container {
                id: id.to_string(),
                started_unix_ms: started.into(),
                is_running,
                health,
            })
        });
    prop_oneof![
        Just(ContainerLook::NotSeen),
        Just(ContainerLook::Gone),
        seen
    ]
}

fn looks() -> impl Strategy<Value = Look> {
    let mostly_no_docker = prop_oneof![3 => Just(ContainerLook::NotSeen), 1 => containers()];
    (controls(), mostly_no_docker, 0..3u16).prop_map(|(control, container, port)| Look {
        control,
        container,
        port: Port::new(port),
    })
}

proptest! {
    #[test]
    fn a_vpn_is_lost_comes_back_and_is_stable_in_that_order_whatever_is_seen(
        rise in 0..5u32,
        fall in 0..5u32,
        forced_after in prop::option::of(0..100u64),
        steps in prop::collection::vec((0..30u64, looks(), 1..6usize), 0..60),
    ) {
        let limits = HealthLimits {
            rise,
            fall,
            forced_restart_after: forced_after.map(Duration::from_secs),
            ..HealthLimits::default()
        };
        let (mut health, mut now) = (Health::new(), Instant::now());
        let (mut is_lost, mut in_outage, mut forced) = (false, false, 0);
        let many = steps
            .iter()
            .flat_map(|(wait, look, times)| std::iter::repeat_n((wait, look), *times));
        for (wait, look) in many {
            now += Duration::from_secs(*wait);
            for event in health.look(now, look, &limits) {
                match event {
                    Event::Lost => {
                        prop_assert!(!is_lost, "lost twice");
                        forced = if in_outage { forced } else { 0 };
                        (is_lost, in_outage) = (true, true);
                    }
                    Event::CameBack => {
                        prop_assert!(is_lost, "came back, and was not lost");
                        is_lost = false;
                    }
                    Event::Stable { .. } => {
                        prop_assert!(in_outage && !is_lost, "stable out of order");
                        in_outage = false;
                    }
                    Event::ForceRestart => {
                        prop_assert!(is_lost);
                        forced += 1;
                        prop_assert_eq!(forced, 1, "forced twice in an outage");
                    }
                    Event::RestartedInPlace
                    | Event::ContainerRestarted
                    | Event::ContainerRecreated => {}
                }
            }
            prop_assert_eq!(health.state() == State::Unhealthy, is_lost);
            prop_assert_eq!(health.outage(now).is_some(), in_outage);
            if let State::Recovering { good, needed } = health.state() {
                prop_assert!(good < needed);
            }
        }
    }

    #[test]
    fn a_port_is_only_left_for_one_that_was_read_twice(
        in_use in 0..4u16,
        reads in prop::collection::vec((0..120u64, 0..4u16, prop::bool::weighted(0.9)), 0..80),
    ) {
        let (mut watch, mut now) = (PortWatch::new(Port::new(in_use)), Instant::now());
        let limits = WatchLimits::default();
        let mut used = Vec::new();
        for (wait, number, is_up) in reads {
            now += Duration::from_secs(wait);
            let before = watch.settled();
            let port = Port::new(number).filter(|_| is_up);
            used.extend(port);
            for event in watch.read(now, Port::new(number), is_up, &limits) {
                if let PortEvent::Changed { from, to } = event {
                    prop_assert_eq!(Some(from), before);
                    prop_assert_eq!(Some(to), port);
                    prop_assert!(used.ends_with(&[to, to]), "acted on one read");
                    prop_assert!(!watch.is_flapping());
                }
            }
            if before.is_some() && before != watch.settled() {
                prop_assert_eq!(watch.settled(), port);
            }
        }
    }
}
