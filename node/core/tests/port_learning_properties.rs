//! What must hold of a port that nodes learn from one another, however late pictures come.

#![allow(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_core::port_cache::{
    Answer, Came, Entry, Limits, Origin, PUSH_DELAY_MAX, Picture, Port, Reason, Ticket, Upstream,
};

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// An owner asks the control server, or gets its answer.
    Fetch(bool),
    /// The node sees the VPN change.
    Invalidate,
    /// An owner sees it.
    OwnerInvalidates(bool),
    /// An owner pushes its picture, which takes so long.
    Push(bool, u64),
    /// The node asks an owner; the question and the answer take so long.
    Ask(bool, u64, u64),
    /// The node tells an owner of what it saw, which then pushes.
    Tell(bool, u64, u64),
}

fn steps() -> impl Strategy<Value = Step> {
    let way = || 0..20_000u64;
    prop_oneof![
        (0..10_000u64).prop_map(Step::Wait),
        any::<bool>().prop_map(Step::Fetch),
        Just(Step::Invalidate),
        any::<bool>().prop_map(Step::OwnerInvalidates),
        (any::<bool>(), way()).prop_map(|(owner, way)| Step::Push(owner, way)),
        (any::<bool>(), way(), way())
            .prop_map(|(owner, there, back)| Step::Ask(owner, there, back)),
        (any::<bool>(), way(), way())
            .prop_map(|(owner, there, back)| Step::Tell(owner, there, back)),
    ]
}

struct Owner {
    entry: Entry,
    origin: Origin,
    out: Option<(Ticket, u16)>,
    /// When pictures arrive, in their order.
    stream: VecDeque<(Instant, Picture)>,
    /// Calls: when they arrive there, when they were made, how long the answer takes, whether they tell.
    calls: VecDeque<(Instant, Instant, u64, bool)>,
    answers: VecDeque<(Instant, Picture, Came)>,
}

impl Owner {
    fn new(node: &str) -> Self {
        Self {
            entry: Entry::new(),
            origin: Origin {
                node: node.into(),
                incarnation: 1,
            },
            out: None,
            stream: VecDeque::new(),
            calls: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }
}

struct Mesh {
    now: Instant,
    node: Entry,
    owners: [Owner; 2],
    limits: Limits,
    asked: u16,
    /// Ports from this number on were asked for since the node's last invalidation.
    first_valid: u16,
    learned: usize,
}

impl Mesh {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            node: Entry::new(),
            owners: [Owner::new("a"), Owner::new("b")],
            limits: Limits::default(),
            asked: 0,
            first_valid: 1,
            learned: 0,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let later = |now: Instant, ms: u64| now + Duration::from_millis(ms);
        match *step {
            Step::Wait(ms) => {
                // In small steps, so that nothing arrives later than it should.
                for _ in 0..ms.div_ceil(500) {
                    self.now += Duration::from_millis(500);
                    self.arrivals()?;
                }
            }
            Step::Fetch(owner) => self.fetch(usize::from(owner)),
            Step::Invalidate => {
                self.node.invalidate(Reason::Lost, self.now);
                self.first_valid = self.asked + 1;
            }
            Step::OwnerInvalidates(owner) => {
                let owner = &mut self.owners[usize::from(owner)];
                owner.entry.invalidate(Reason::Lost, self.now);
            }
            Step::Push(owner, way) => {
                let owner = &mut self.owners[usize::from(owner)];
                let before = owner.stream.back().map_or(self.now, |(at, _)| *at);
                let at = later(self.now, way).max(before);
                owner.stream.push_back((at, owner.entry.picture(self.now)));
            }
            Step::Ask(owner, there, back) => {
                let arrives = later(self.now, there);
                let owner = &mut self.owners[usize::from(owner)];
                owner.calls.push_back((arrives, self.now, back, false));
            }
            Step::Tell(owner, there, back) => {
                let arrives = later(self.now, there);
                let owner = &mut self.owners[usize::from(owner)];
                owner.calls.push_back((arrives, self.now, back, true));
            }
        }
        self.arrivals()
    }

    fn fetch(&mut self, owner: usize) {
        let owner = &mut self.owners[owner];
        match owner.out.take() {
            Some((ticket, number)) => {
                let port = Port::new(number);
                owner.entry.end_fetch(ticket, self.now, Ok(port));
            }
            None => {
                let ticket =
                    owner
                        .entry
                        .begin_fetch(self.now, &self.limits, Upstream::ControlServer);
                if let Some(ticket) = ticket {
                    self.asked += 1;
                    owner.out = Some((ticket, self.asked));
                }
            }
        }
    }

    fn arrivals(&mut self) -> Result<(), TestCaseError> {
        let now = self.now;
        for owner in &mut self.owners {
            let due = |at: &Instant| *at <= now;
            // Calls and their answers may overtake one another; pictures on the stream do not.
            for (arrives, made, back, tells) in std::mem::take(&mut owner.calls) {
                if !due(&arrives) {
                    owner.calls.push_back((arrives, made, back, tells));
                    continue;
                }
                if tells {
                    owner.entry.invalidate(Reason::Told, now);
                }
                let came = match tells {
                    true => Came::Invalidated { at: made },
                    false => Came::Asked { at: made },
                };
                let at = now + Duration::from_millis(back);
                owner
                    .answers
                    .push_back((at, owner.entry.picture(now), came));
            }
            let mut came = Vec::new();
            while owner.stream.front().is_some_and(|(at, _)| due(at)) {
                came.extend(owner.stream.pop_front().map(|(_, p)| (p, Came::Pushed)));
            }
            for (at, picture, how) in std::mem::take(&mut owner.answers) {
                match due(&at) {
                    true => came.push((picture, how)),
                    false => owner.answers.push_back((at, picture, how)),
                }
            }
            for (picture, how) in came {
                self.node.learn(now, &owner.origin, &picture, how);
                if let Answer::Port { port, .. } = self.node.answer(now, &self.limits) {
                    self.learned += 1;
                    prop_assert!(
                        port.get() >= self.first_valid,
                        "{} was asked for before an invalidation",
                        port
                    );
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nobody_learns_a_port_that_was_asked_for_before_an_invalidation_here(
        steps in prop::collection::vec(steps(), 0..80),
    ) {
        prop_assert!(Duration::from_millis(20_000) < PUSH_DELAY_MAX);
        let mut mesh = Mesh::new();
        for step in &steps {
            mesh.step(step)?;
        }
    }
}

#[test]
fn what_is_known_spreads() {
    let mut mesh = Mesh::new();
    let steps = [
        Step::Fetch(true),
        Step::Fetch(true),
        Step::Push(true, 100),
        Step::Wait(500),
        Step::Invalidate,
        Step::Tell(true, 100, 100),
        Step::Wait(1_000),
        Step::Fetch(true),
        Step::Fetch(true),
        Step::Push(true, 100),
        Step::Wait(500),
    ];
    for step in &steps {
        mesh.step(step).expect("nothing old is learned");
    }
    let answer = mesh.node.answer(mesh.now, &mesh.limits);
    assert!(
        matches!(answer, Answer::Port { port, .. } if port.get() == 2),
        "{answer:?}"
    );
    assert!(mesh.learned > 1, "before the invalidation and after it");
}
