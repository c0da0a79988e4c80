//! One entry through what happens to it.

use std::time::{Duration, Instant};

use super::*;

/// Of a VPN that tells of each new port itself.
const LIMITS: Limits = Limits {
    ttl: Duration::from_secs(60),
    refresh_lead: Duration::from_secs(10),
    watch_interval: Duration::from_secs(60),
    stale_max: Duration::from_secs(600),
    negative_ttl: Duration::from_secs(2),
    request_timeout: Duration::from_secs(5),
};

/// An entry and its time.
struct Bench {
    entry: Entry,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self {
            entry: Entry::new(),
            now: Instant::now(),
        }
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }

    fn begin(&mut self) -> Option<Ticket> {
        self.entry
            .begin_fetch(self.now, &LIMITS, Upstream::ControlServer)
    }

    fn fetch(&mut self, reading: Reading) -> Outcome {
        let ticket = self.begin().expect("nothing is out");
        self.entry.end_fetch(ticket, self.now, reading)
    }

    fn look(&mut self) -> LookUp {
        self.entry.look_up(self.now, &LIMITS)
    }

    fn next(&self) -> u64 {
        self.entry.next_fetch_in(self.now, &LIMITS).as_secs()
    }
}

fn port(number: u16) -> Port {
    Port::new(number).expect("not zero")
}

fn ready(number: u16) -> Reading {
    Ok(Some(port(number)))
}

fn answer(number: u16, is_stale: bool, age: u64) -> Answer {
    Answer::Port {
        port: port(number),
        is_stale,
        age: Duration::from_secs(age),
    }
}

#[test]
fn the_standard_limits_are_those_of_the_knobs() {
    assert_eq!(Limits::default(), LIMITS);
    let watched = Limits {
        watch_interval: Duration::from_secs(30),
        ..LIMITS
    };
    assert_eq!(
        (watched.refresh_age(), watched.ttl),
        (watched.watch_interval, LIMITS.ttl)
    );
    let early = Limits {
        refresh_lead: LIMITS.ttl * 2,
        ..LIMITS
    };
    assert_eq!(early.refresh_age(), LIMITS.ttl / 2);
}

#[test]
fn a_warm_entry_answers_at_once_and_asks_again_before_its_time_is_over() {
    let mut bench = Bench::new();
    assert_eq!(bench.look().need, Need::Fetch);
    let (from, to) = (State::Unknown, State::Ready(port(7)));
    assert_eq!(bench.fetch(ready(7)), Outcome::Changed { from, to });
    assert_eq!((bench.look().need, bench.next()), (Need::Nothing, 50));
    bench.wait(50);
    let (answer, need) = (answer(7, false, 50), Need::RefreshInBackground);
    assert_eq!(bench.look(), LookUp { answer, need });
    assert_eq!(bench.next(), 0);
    let ticket = bench.begin().unwrap();
    assert_eq!(bench.look().need, Need::Nothing, "one is out");
    assert_eq!(
        bench.entry.end_fetch(ticket, bench.now, ready(7)),
        Outcome::Same
    );
    assert_eq!(bench.next(), 50);
    let counters = bench.entry.counters();
    assert_eq!(
        (counters.hits, counters.misses, counters.upstream_calls),
        (3, 1, 2)
    );
    assert_eq!(counters.calls_saved(), 2);
}

#[test]
fn a_port_past_its_time_is_served_only_while_somebody_fails_to_answer() {
    let mut bench = Bench::new();
    bench.fetch(ready(7));
    assert_eq!(
        bench.wait(60).look().answer,
        Answer::Unknown,
        "nobody was asked"
    );
    bench.fetch(Err(Failure::Unreachable));
    assert_eq!(bench.look().answer, answer(7, true, 60));
    bench.wait(599);
    let (stale, need) = (answer(7, true, 659), Need::RefreshInBackground);
    assert_eq!(
        bench.look(),
        LookUp {
            answer: stale,
            need
        }
    );
    bench.wait(1);
    assert_eq!(bench.look().answer, Answer::Unknown);
    bench.fetch(Err(Failure::Unreachable));
    assert_eq!(
        bench.look().answer,
        Answer::Refused(Failure::Unreachable),
        "the bound is reached"
    );
    assert_eq!(bench.entry.counters().stale_served, 2);
}

#[test]
fn a_refresh_that_hangs_past_the_end_makes_nobody_wait() {
    let mut bench = Bench::new();
    bench.fetch(ready(7));
    bench.wait(58);
    let ticket = bench.begin().unwrap();
    bench.wait(4);
    let (stale, need) = (answer(7, true, 62), Need::Nothing);
    assert_eq!(
        bench.look(),
        LookUp {
            answer: stale,
            need
        }
    );
    bench
        .entry
        .end_fetch(ticket, bench.now, Err(Failure::Unreachable));
    assert_eq!(bench.look().answer, answer(7, true, 62));
}

#[test]
fn a_server_that_answers_without_a_port_takes_the_last_one_away() {
    for reading in [
        Ok(None),
        Err(Failure::AuthRequired),
        Err(Failure::Unsupported),
    ] {
        let mut bench = Bench::new();
        bench.fetch(ready(7));
        bench.wait(50).fetch(reading);
        let said = match reading {
            Err(failure) => Answer::Refused(failure),
            _ => Answer::NotReady,
        };
        assert_eq!(bench.look().answer, said);
        bench.wait(2);
        assert_eq!(bench.look().need, Need::Fetch, "failures are not believed");
        bench.fetch(Err(Failure::Unreachable));
        assert_eq!(bench.look().answer, Answer::Refused(Failure::Unreachable));
    }
}

#[test]
fn an_answer_from_before_an_invalidation_is_dropped_and_another_may_be_asked_at_once() {
    let mut bench = Bench::new();
    bench.fetch(ready(7));
    let old = bench.wait(1).begin().unwrap();
    assert_eq!(bench.begin(), None);
    assert_eq!(bench.entry.counters().coalesced, 1);
    bench.entry.invalidate(Reason::Lost, bench.now);
    assert_eq!(bench.look().answer, Answer::Unknown);
    let new = bench
        .begin()
        .expect("the old one is not the one out any more");
    assert_eq!((old.epoch(), new.epoch()), (0, 1));
    assert_eq!(
        bench.entry.end_fetch(old, bench.now, ready(7)),
        Outcome::DroppedStale
    );
    assert_eq!(bench.begin(), None, "the new one is still out");
    bench.entry.end_fetch(new, bench.now, ready(8));
    assert_eq!(bench.look().answer, answer(8, false, 0));
    assert_eq!(bench.entry.counters().stale_replies_dropped, 1);
}

#[test]
fn a_lost_question_does_not_block_the_next_for_ever() {
    let mut bench = Bench::new();
    let lost = bench.begin().unwrap();
    assert_eq!((bench.wait(9).begin(), bench.next()), (None, 1));
    let next = bench.wait(1).begin().expect("twice the deadline is over");
    assert_eq!(
        bench.entry.end_fetch(lost, bench.now, ready(7)),
        Outcome::DroppedStale
    );
    assert!(bench.entry.abandon_fetch(next));
    assert!(bench.begin().is_some());
}

#[test]
fn nobody_hammers_a_server_that_has_no_port() {
    let mut bench = Bench::new();
    let mut waits = Vec::new();
    for _ in 0..8 {
        bench.fetch(Ok(None));
        let wait = bench.next();
        waits.push(wait);
        bench.wait(wait);
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
    bench.fetch(ready(7));
    bench.fetch(Ok(None));
    assert_eq!(bench.next(), 2);
}

fn origin(incarnation: u64) -> Origin {
    Origin {
        node: "node-1".into(),
        incarnation,
    }
}

impl Bench {
    fn learn(&mut self, incarnation: u64, picture: &Picture, came: Came) -> Outcome {
        self.entry
            .learn(self.now, &origin(incarnation), picture, came)
    }

    fn picture(&self) -> Picture {
        self.entry.picture(self.now)
    }
}

#[test]
fn a_node_that_learns_knows_what_the_owner_knows() {
    let (mut owner, mut node) = (Bench::new(), Bench::new());
    let push = |node: &mut Bench, owner: &Bench| {
        node.now = owner.now;
        node.learn(1, &owner.picture(), Came::Pushed)
    };
    owner.fetch(ready(7));
    owner.wait(5);
    push(&mut node, &owner);
    assert_eq!(node.look().answer, answer(7, false, 5));
    owner.wait(60).fetch(Err(Failure::Unreachable));
    let mut late = Bench::new();
    for node in [&mut node, &mut late] {
        push(node, &owner);
        assert_eq!(node.look().answer, answer(7, true, 65));
    }
    owner.entry.invalidate(Reason::Lost, owner.now);
    push(&mut node, &owner);
    assert_eq!(node.look().answer, Answer::Unknown);
    owner.fetch(ready(8));
    push(&mut node, &owner);
    assert_eq!(node.look().answer, answer(8, false, 0));
    assert_eq!(node.entry.counters().upstream_calls, 0);
}

#[test]
fn what_was_invalidated_here_is_not_learned_back() {
    let (mut owner, mut node) = (Bench::new(), Bench::new());
    node.now = owner.now;
    owner.fetch(ready(7));
    let old = owner.picture();
    node.learn(1, &old, Came::Pushed);
    node.wait(1);
    node.entry.invalidate(Reason::Lost, node.now);
    let asked = Came::Asked { at: node.now };
    node.wait(1);
    owner.wait(2);
    for (picture, came) in [(old, Came::Pushed), (owner.picture(), asked)] {
        assert_eq!(node.learn(1, &picture, came), Outcome::DroppedStale);
        assert_eq!(node.learn(2, &picture, came), Outcome::DroppedStale);
    }
    assert_eq!(node.look().answer, Answer::Unknown);
    owner.entry.invalidate(Reason::Told, owner.now);
    let told = Came::Invalidated { at: node.now };
    node.learn(1, &owner.picture(), told);
    owner.fetch(ready(8));
    node.learn(1, &owner.picture(), Came::Pushed);
    assert_eq!(node.look().answer, answer(8, false, 0));
    assert_eq!(node.learn(1, &old, Came::Pushed), Outcome::DroppedStale);
}

#[test]
fn a_new_owner_is_learned_from_when_the_invalidation_is_long_past() {
    let (mut owner, mut node) = (Bench::new(), Bench::new());
    node.now = owner.now;
    node.entry.invalidate(Reason::Lost, node.now);
    for (seconds, is_taken) in [(29, false), (1, true)] {
        owner.wait(seconds).fetch(ready(7));
        node.wait(seconds);
        let outcome = node.learn(1, &owner.picture(), Came::Pushed);
        assert_eq!(outcome != Outcome::DroppedStale, is_taken);
    }
}
