use std::time::{Duration, Instant};

use super::super::*;
use super::port;

/// Looks five seconds apart.
struct Bench {
    health: Health,
    now: Instant,
    limits: HealthLimits,
}

fn bench() -> Bench {
    Bench {
        health: Health::new(),
        now: Instant::now(),
        limits: HealthLimits {
            rise: 3,
            fall: 2,
            ..HealthLimits::default()
        },
    }
}

impl Bench {
    fn look(&mut self, look: &Look) -> Vec<Event> {
        self.now += Duration::from_secs(5);
        self.health.look(self.now, look, &self.limits)
    }

    fn looks(&mut self, times: usize, look: &Look) -> Vec<Event> {
        (0..times).flat_map(|_| self.look(look)).collect()
    }
}

fn running(ip: &str) -> Look {
    Look {
        control: Some(Control {
            status: Some(TunnelStatus::Running),
            public_ip: ip.parse().ok(),
        }),
        ..Look::default()
    }
}

fn good() -> Look {
    running("198.51.100.7")
}

fn container(id: &str, started_at: &str, is_running: bool) -> ContainerLook {
    ContainerLook::Seen(Container {
        id: id.into(),
        started_unix_ms: started_at.parse().unwrap(),
        is_running,
        health: ContainerHealth::Untold,
    })
}

fn inside(id: &str, started_at: &str) -> Look {
    Look {
        container: container(id, started_at, true),
        ..good()
    }
}

const STABLE: Event = Event::Stable {
    change: Change::None,
};

#[test]
fn coming_back_and_being_stable_are_two_events_and_each_happens_once() {
    let mut bench = bench();
    assert_eq!(bench.looks(3, &good()), []);
    assert_eq!(bench.health.state(), State::Healthy);
    assert_eq!(bench.look(&running("")), [], "one bad look is none");
    assert_eq!(bench.look(&good()), []);
    assert_eq!(bench.looks(5, &running("")), [Event::Lost]);
    assert_eq!(bench.look(&good()), [Event::CameBack]);
    let (good_looks, needed) = (1, 3);
    let recovering = State::Recovering {
        good: good_looks,
        needed,
    };
    assert_eq!(bench.health.state(), recovering);
    assert_eq!(bench.look(&running("")), []);
    assert_eq!(bench.looks(2, &good()), [], "the row began anew");
    assert_eq!(bench.looks(9, &good()), [STABLE]);
    assert_eq!(bench.health.state(), State::Stable);
    assert_eq!(bench.health.outage(bench.now), None);
}

#[test]
fn losing_it_again_while_it_recovers_is_the_same_outage() {
    let mut bench = bench();
    bench.limits.forced_restart_after = Some(Duration::from_secs(20));
    bench.limits.quiet_after_restart = Duration::from_secs(15);
    let mut events = bench.looks(6, &running(""));
    assert_eq!(events, [Event::Lost, Event::ForceRestart]);
    assert!(bench.health.is_quiet(bench.now));
    assert_eq!(bench.looks(2, &good()), [], "it is left alone");
    events = bench.looks(2, &good());
    events.extend(bench.looks(20, &running("")));
    assert_eq!(events, [Event::CameBack, Event::Lost]);
    events = bench.looks(3, &good());
    events.extend(bench.looks(6, &running("")));
    let again = [Event::CameBack, STABLE, Event::Lost, Event::ForceRestart];
    assert_eq!(events, again, "the next outage has its own restart");
}

#[test]
fn a_control_server_that_is_out_says_nothing_of_the_tunnel_for_a_time() {
    let mut bench = bench();
    bench.limits.unreachable_max = Duration::from_secs(60);
    bench.look(&good());
    let silent = Look::default();
    assert_eq!(bench.looks(12, &silent), []);
    assert_eq!(bench.health.state(), State::Healthy);
    assert_eq!(bench.looks(3, &silent), [Event::Lost]);
    assert_eq!(bench.look(&good()), [Event::CameBack]);
}

#[test]
fn what_docker_says_counts_as_far_as_it_says_anything() {
    let limits = HealthLimits::default();
    let seen = |health, is_running| {
        ContainerLook::Seen(Container {
            id: "a".into(),
            started_unix_ms: 1,
            is_running,
            health,
        })
    };
    let not_allowed = Some(Control::default());
    let no_address = running("").control;
    let stopped = Some(Control {
        status: Some(TunnelStatus::Stopped),
        ..Control::default()
    });
    use super::super::look::Verdict::{Bad, Good, Unclear};
    use ContainerHealth::{Healthy, Unhealthy, Untold};
    for (control, container, verdict) in [
        (good().control, ContainerLook::NotSeen, Good),
        (good().control, seen(Untold, true), Good),
        (good().control, seen(Unhealthy, true), Bad),
        (good().control, seen(Healthy, false), Bad),
        (good().control, ContainerLook::Gone, Bad),
        (no_address, ContainerLook::NotSeen, Bad),
        (no_address, seen(Healthy, true), Good),
        (not_allowed, seen(Healthy, true), Good),
        (not_allowed, seen(Untold, true), Unclear),
        (stopped, seen(Healthy, true), Bad),
        (None, seen(Healthy, true), Good),
        (None, seen(Untold, true), Unclear),
    ] {
        let look = Look {
            control,
            container,
            port: None,
        };
        assert_eq!(look.verdict(Duration::ZERO, &limits), verdict, "{look:?}");
    }
}

#[test]
fn another_tunnel_in_the_same_container_is_told_once() {
    for (restarted, what) in [
        (running("203.0.113.9"), "another address"),
        (
            Look {
                port: Some(port(40_648)),
                ..good()
            },
            "another port",
        ),
    ] {
        let mut bench = bench();
        let before = Look {
            port: Some(port(65_290)),
            ..good()
        };
        assert_eq!(bench.looks(3, &before), []);
        assert_eq!(bench.look(&restarted), [Event::RestartedInPlace], "{what}");
        let settled = Look {
            port: Some(port(40_648)),
            ..restarted
        };
        assert_eq!(bench.looks(3, &settled), [], "{what}");
        assert_eq!(bench.health.state(), State::Healthy);
    }
}

#[test]
fn an_outage_ends_with_the_gravest_thing_that_happened_in_it() {
    let crashed = Look {
        control: Some(Control {
            status: Some(TunnelStatus::Crashed),
            public_ip: None,
        }),
        container: container("a", "1", true),
        port: None,
    };
    for (back, told, change) in [
        (inside("a", "1"), Event::RestartedInPlace, Change::InPlace),
        (
            inside("a", "2"),
            Event::ContainerRestarted,
            Change::ContainerRestarted,
        ),
        (
            inside("b", "3"),
            Event::ContainerRecreated,
            Change::ContainerRecreated,
        ),
    ] {
        let mut bench = bench();
        bench.looks(2, &inside("a", "1"));
        assert_eq!(bench.looks(2, &crashed), [Event::Lost]);
        let events = bench.looks(5, &back);
        assert_eq!(events, [told, Event::CameBack, Event::Stable { change }]);
    }
}

#[test]
fn a_container_that_was_replaced_between_two_looks_was_lost() {
    let mut bench = bench();
    bench.looks(2, &inside("a", "1"));
    let gone = Look {
        container: container("a", "1", false),
        ..good()
    };
    assert_eq!(bench.look(&gone), []);
    let back = [Event::ContainerRecreated, Event::Lost, Event::CameBack];
    assert_eq!(bench.look(&inside("b", "2")), back);
    let change = Change::ContainerRecreated;
    assert_eq!(
        bench.looks(4, &inside("b", "2")),
        [Event::Stable { change }]
    );
}

#[test]
fn an_outage_that_another_node_saw_begin_ends_here() {
    let mut taken = bench();
    taken.health = Health::taken_over(State::Unhealthy, None, taken.now);
    assert_eq!(taken.health.outage(taken.now), Some(Duration::ZERO));
    let change = Change::None;
    assert_eq!(
        taken.looks(3, &good()),
        [Event::CameBack, Event::Stable { change }]
    );
    // One that was well is not lost because somebody else looks at it.
    let mut taken = bench();
    taken.health = Health::taken_over(State::Stable, None, taken.now);
    assert_eq!(taken.looks(3, &good()), []);
    assert_eq!(taken.health.state(), State::Stable);
    // What happens to its container meanwhile is seen.
    let mut taken = bench();
    let seen = Some(("a".to_owned(), 1));
    taken.health = Health::taken_over(State::Stable, seen, taken.now);
    let events = taken.look(&inside("b", "2"));
    assert_eq!(events[0], Event::ContainerRecreated);
}

#[test]
fn an_address_alone_says_that_the_tunnel_is_there_and_after_an_outage_that_it_is_another_one() {
    let told = |ip: &str| {
        let mut look = running(ip);
        look.control.as_mut().unwrap().status = None;
        look
    };
    let mut bench = bench();
    assert_eq!(bench.looks(3, &told("198.51.100.7")), []);
    assert_eq!(bench.health.state(), State::Healthy);
    let mut down = running("");
    down.control.as_mut().unwrap().status = Some(TunnelStatus::Starting);
    assert_eq!(bench.look(&down), []);
    assert_eq!(bench.look(&told("198.51.100.7")), [Event::RestartedInPlace]);
}
