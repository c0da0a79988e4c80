//! What goes wrong between and in nodes, and when.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::NODES;
use super::world::{Upstream, World};
use crate::history::now;

/// How a link between two nodes is; a later one is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Everything comes through.
    #[default]
    Open,
    /// What is sent arrives when it is open again.
    Held,
    /// What the first sends to the second is lost.
    CutThere,
    /// What the second sends to the first is lost.
    CutBack,
    /// All is lost.
    Cut,
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A link is as it should not be.
    Link(&'static str, &'static str, Way),
    /// A node cannot reach any other.
    Isolated(&'static str),
    /// A node crashed; at the end of the fault it starts again.
    Crashed(&'static str),
    /// A node cannot reach what answers are fetched from.
    Without(&'static str, Upstream),
}

/// A fault to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    fault: Fault,
    from: Duration,
    until: Duration,
}

/// Begin after this,
const FROM: Duration = Duration::from_secs(2);
/// and before this.
const TO: Duration = Duration::from_secs(17);
const LENGTH_MS: std::ops::Range<u64> = 100..6_000;
/// Some crashes are over sooner than clocks differ.
const SHORT_MS: std::ops::Range<u64> = 20..800;

/// A schedule.
pub(crate) fn plan(random: &mut fastrand::Rng) -> Vec<Planned> {
    let count = random.usize(3..12);
    let mut planned: Vec<Planned> = (0..count).map(|_| one(random)).collect();
    planned.sort_by_key(|planned| planned.from);
    planned
}

fn one(random: &mut fastrand::Rng) -> Planned {
    let at = random.usize(..NODES.len());
    let (node, other) = (NODES[at], NODES[(at + 1) % NODES.len()]);
    let fault = match random.u8(..10) {
        0 => Fault::Link(node, other, Way::Held),
        1 => Fault::Link(node, other, Way::CutThere),
        2 => Fault::Link(node, other, Way::CutBack),
        3 => Fault::Link(node, other, Way::Cut),
        4 => Fault::Isolated(node),
        5..=7 => Fault::Crashed(node),
        8 => Fault::Without(node, Upstream::Origin),
        _ => Fault::Without(node, Upstream::Redis),
    };
    let from = FROM + (TO - FROM).mul_f64(random.f64());
    let length = match random.bool() {
        true => random.u64(SHORT_MS),
        false => random.u64(LENGTH_MS),
    };
    Planned {
        fault,
        from,
        until: from + Duration::from_millis(length),
    }
}

/// What only the simulation itself can do, from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Ends all that runs on a host.
    Crash(&'static str),
    /// Starts it again.
    Start(&'static str),
}

/// What waits to be done between two steps.
pub(crate) type Acts = Rc<RefCell<Vec<Act>>>;

/// Makes faults come and go.
pub(crate) struct Faults {
    planned: Vec<Planned>,
    acts: Acts,
    world: World,
    ways: BTreeMap<(&'static str, &'static str), Way>,
    down: BTreeSet<&'static str>,
}

impl Faults {
    /// Nothing is wrong yet.
    pub(crate) fn new(planned: Vec<Planned>, acts: Acts, world: &World) -> Self {
        Self {
            planned,
            acts,
            world: world.clone(),
            ways: BTreeMap::new(),
            down: BTreeSet::new(),
        }
    }

    /// Follows the plan to its end, when nothing is wrong any more.
    pub(crate) async fn run(mut self) {
        let mut turns: Vec<(Duration, usize, bool)> = Vec::new();
        for (at, planned) in self.planned.iter().enumerate() {
            turns.push((planned.from, at, true));
            turns.push((planned.until, at, false));
        }
        turns.sort();
        let mut active: Vec<usize> = Vec::new();
        for (at, which, begins) in turns {
            sleep(at.saturating_sub(now())).await;
            let fault = self.planned[which].fault;
            match begins {
                true => active.push(which),
                false => active.retain(|other| *other != which),
            }
            tracing::info!(?fault, begins, "fault");
            let faults: Vec<Fault> = active.iter().map(|at| self.planned[*at].fault).collect();
            self.apply(&faults);
        }
    }

    /// Makes the mesh as these faults want it.
    fn apply(&mut self, faults: &[Fault]) {
        for (at, node) in NODES.into_iter().enumerate() {
            let other = NODES[(at + 1) % NODES.len()];
            self.link(node, other, faults);
            self.crash(node, faults.contains(&Fault::Crashed(node)));
            for upstream in [Upstream::Origin, Upstream::Redis] {
                let has = !faults.contains(&Fault::Without(node, upstream));
                self.world.set(node, upstream, has);
            }
        }
    }

    fn link(&mut self, node: &'static str, other: &'static str, faults: &[Fault]) {
        let ways = faults.iter().map(|fault| match fault {
            Fault::Link(from, to, way) if (*from, *to) == (node, other) => *way,
            Fault::Isolated(alone) if [node, other].contains(alone) => Way::Cut,
            _ => Way::Open,
        });
        let way = ways.max().unwrap_or_default();
        let before = self.ways.insert((node, other), way).unwrap_or_default();
        if before == way {
            return;
        }
        match before {
            Way::Open => {}
            Way::Held => turmoil::release(node, other),
            Way::CutThere | Way::CutBack | Way::Cut => turmoil::repair(node, other),
        }
        match way {
            Way::Open => {}
            Way::Held => turmoil::hold(node, other),
            Way::CutThere => turmoil::partition_oneway(node, other),
            Way::CutBack => turmoil::partition_oneway(other, node),
            Way::Cut => turmoil::partition(node, other),
        }
    }

    fn crash(&mut self, node: &'static str, is_down: bool) {
        if is_down && self.down.insert(node) {
            self.world.crashed(node);
            self.acts.borrow_mut().push(Act::Crash(node));
        } else if !is_down && self.down.remove(node) {
            self.acts.borrow_mut().push(Act::Start(node));
        }
    }
}

/// Every pair of nodes is a link, once.
const _: () = assert!(NODES.len() == 3, "each node has a link to the next one");
