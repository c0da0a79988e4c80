//! A VPN's port from the control server to whoever needs it: the client, what is cached, and what is watched.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests need some instant to start from, and may panic"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_core::port_cache::{
    Answer, Entry, Failure, Limits, Need, Outcome, Port, Reason, Upstream,
};
use weir_core::vpn::{Event, Health, HealthLimits, Look, PortEvent, PortWatch, State, WatchLimits};
use weir_engines::gluetun::{Client, ControlServer, Credential, Tcp};
use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};

const CALL: &str = "GET /v1/portforward";

/// A node's view of one VPN, at a time that the test sets.
struct Node {
    fake: FakeGluetun,
    client: Client,
    entry: Entry,
    limits: Limits,
    now: Instant,
    waits: u32,
}

impl Node {
    fn new() -> Self {
        let fake = FakeGluetun::start(&Listen::default(), Settings::default()).unwrap();
        let address = fake.control().to_string();
        Self {
            client: Client::new(&address, &Credential::None, Arc::new(Tcp)).unwrap(),
            fake,
            entry: Entry::new(),
            limits: Limits::default(),
            now: Instant::now(),
            waits: 0,
        }
    }

    async fn fetch(&mut self) -> Outcome {
        let ticket = self
            .entry
            .begin_fetch(self.now, &self.limits, Upstream::ControlServer)
            .unwrap();
        let told = self
            .client
            .forwarded_port(self.limits.request_timeout)
            .await;
        self.entry
            .end_fetch(ticket, self.now, told.map_err(|error| error.failure()))
    }

    /// Looks up, waiting for an answer when it has to.
    async fn look_up(&mut self) -> Answer {
        let found = self.entry.look_up(self.now, &self.limits);
        match found.need {
            Need::Nothing => {}
            Need::RefreshInBackground => {
                self.fetch().await;
            }
            Need::Fetch => {
                self.waits += 1;
                self.fetch().await;
                return self.entry.answer(self.now, &self.limits);
            }
        }
        found.answer
    }
}

/// Calls for a hundred look-ups a minute during ten minutes.
async fn calls_for_a_hundred_a_minute(mut node: Node) -> u64 {
    let before = node.now;
    for _ in 0..1_000 {
        assert!(matches!(node.look_up().await, Answer::Port { .. }));
        node.now += Duration::from_millis(600);
    }
    assert_eq!(node.now - before, Duration::from_secs(600));
    let calls = node.fake.calls(CALL);
    assert_eq!(node.entry.counters().upstream_calls, calls);
    assert_eq!(node.entry.counters().calls_saved(), 1_000 - calls);
    assert_eq!(node.waits, 1);
    calls
}

#[tokio::test]
async fn a_hundred_look_ups_a_minute_cost_about_one_call_a_minute_and_wait_once() {
    let calls = calls_for_a_hundred_a_minute(Node::new()).await;
    assert_eq!(calls, 12, "one each time to live less the lead: 50 s");
    let mut watched = Node::new();
    watched.limits.watch_interval = Duration::from_secs(30);
    let calls = calls_for_a_hundred_a_minute(watched).await;
    assert_eq!(calls, 20, "one each interval of the watch: 30 s");
}

#[tokio::test]
async fn the_last_good_port_is_served_while_the_control_server_is_out_and_no_longer() {
    let mut node = Node::new();
    node.look_up().await;
    node.fake.set("fault", "reset").unwrap();
    let mut served = Vec::new();
    for _ in 0..140 {
        node.now += Duration::from_secs(5);
        served.push(node.look_up().await);
    }
    let is_stale = |answer: &Answer| matches!(answer, Answer::Port { is_stale: true, .. });
    let stale = served.iter().filter(|answer| is_stale(answer)).count();
    assert_eq!(stale, 120, "ten minutes past its time");
    assert!(matches!(
        served[10],
        Answer::Port {
            is_stale: false,
            ..
        }
    ));
    assert_eq!(served[139], Answer::Refused(Failure::Unreachable));
    node.fake.set("fault", "none").unwrap();
    node.now += Duration::from_secs(5);
    assert!(matches!(
        node.look_up().await,
        Answer::Port {
            is_stale: false,
            ..
        }
    ));
    node.fake.set("auth", "apikey").unwrap();
    node.now += Duration::from_secs(60);
    assert_eq!(node.look_up().await, Answer::Refused(Failure::AuthRequired));
}

#[tokio::test]
async fn a_tunnel_made_anew_in_place_changes_the_port_without_an_outage() {
    let mut node = Node::new();
    let (mut health, mut watch) = (Health::new(), PortWatch::default());
    let mut told = (Vec::new(), Vec::new());
    for second in 0..12 {
        if second == 4 {
            let changes = [("ports", "40648"), ("public_ip", "203.0.113.9")];
            node.fake.restart(Duration::ZERO, &changes).unwrap();
        }
        node.now += Duration::from_secs(5);
        let control = node.client.look(node.limits.request_timeout).await.unwrap();
        let look = Look {
            control: Some(control),
            port: watch.settled(),
            ..Look::default()
        };
        for event in health.look(node.now, &look, &HealthLimits::default()) {
            if event == Event::RestartedInPlace {
                node.entry.invalidate(Reason::RestartedInPlace, node.now);
            }
            told.0.push(event);
        }
        node.fetch().await;
        let port = match node.entry.answer(node.now, &node.limits) {
            Answer::Port { port, .. } => Some(port),
            _ => None,
        };
        let is_up = health.state().is_up();
        told.1
            .extend(watch.read(node.now, port, is_up, &WatchLimits::default()));
    }
    let [old, new] = [5_914, 40_648].map(|number| Port::new(number).unwrap());
    assert_eq!(told.0, [Event::RestartedInPlace]);
    assert_eq!(health.state(), State::Healthy);
    let (from, to) = (old, new);
    let changed = PortEvent::Changed { from, to };
    let events = [PortEvent::Settled(old), PortEvent::Confirm(new), changed];
    assert_eq!(told.1, events);
}
