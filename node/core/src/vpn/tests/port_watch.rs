use std::time::{Duration, Instant};

use super::super::*;
use super::port;

/// Reads thirty seconds apart.
struct Bench {
    watch: PortWatch,
    now: Instant,
}

fn bench(in_use: u16) -> Bench {
    Bench {
        watch: PortWatch::new(crate::port_cache::Port::new(in_use)),
        now: Instant::now(),
    }
}

impl Bench {
    fn read(&mut self, number: u16) -> Vec<PortEvent> {
        self.read_while(number, true)
    }

    fn read_while(&mut self, number: u16, is_up: bool) -> Vec<PortEvent> {
        self.now += Duration::from_secs(30);
        let port = crate::port_cache::Port::new(number);
        let limits = WatchLimits::default();
        self.watch.read(self.now, port, is_up, &limits)
    }
}

fn changed(from: u16, to: u16) -> PortEvent {
    PortEvent::Changed {
        from: port(from),
        to: port(to),
    }
}

#[test]
fn a_change_is_acted_on_when_it_was_read_twice() {
    let mut bench = bench(0);
    assert_eq!(bench.read(7), [PortEvent::Settled(port(7))]);
    assert_eq!(bench.read(8), [PortEvent::Confirm(port(8))]);
    assert_eq!(bench.read(7), [], "it was one wrong read");
    assert_eq!(bench.read(8), [PortEvent::Confirm(port(8))]);
    assert_eq!(bench.read(0), [], "none is no contradiction");
    assert_eq!(bench.read(8), [changed(7, 8)]);
    assert_eq!(bench.read(8), []);
}

#[test]
fn the_port_in_use_is_compared_with_after_a_start_and_after_an_outage() {
    let mut bench = bench(7);
    assert_eq!(bench.read_while(9, false), []);
    assert_eq!(bench.read_while(9, false), []);
    assert_eq!(bench.read(9), [PortEvent::Confirm(port(9))]);
    assert_eq!(bench.read(9), [changed(7, 9)]);
}

#[test]
fn no_port_raises_an_alarm_once_and_never_a_change() {
    let mut bench = bench(7);
    let events: Vec<PortEvent> = (0..9).flat_map(|_| bench.read(0)).collect();
    let missing = Duration::from_secs(120);
    assert_eq!(events, [PortEvent::HealthyWithoutPort { missing }]);
    assert!(bench.watch.is_port_missing());
    assert_eq!(bench.read(7), [PortEvent::PortIsBack]);
    for _ in 0..9 {
        assert_eq!(bench.read_while(0, false), [], "an outage explains it");
    }
}

#[test]
fn a_port_that_flaps_holds_action_back_until_it_is_calm() {
    let mut bench = bench(7);
    let mut events = Vec::new();
    for number in [8, 8, 7, 7, 8, 8, 7, 7] {
        events.extend(bench.read(number));
    }
    let (acted, told): (Vec<_>, Vec<_>) = events
        .into_iter()
        .filter(|event| !matches!(event, PortEvent::Confirm(_)))
        .partition(|event| matches!(event, PortEvent::Changed { .. }));
    assert_eq!(acted, [changed(7, 8), changed(8, 7), changed(7, 8)]);
    assert_eq!(told, [PortEvent::Flapping { changes: 4 }]);
    let quiet: Vec<PortEvent> = (0..20).flat_map(|_| bench.read(7)).collect();
    assert_eq!(quiet, [PortEvent::Calm, changed(8, 7)]);
}
