//! What goes wrong in a fleet, and when.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::history::Recorder;
use super::wire::Way;
use super::{INSTANCES, NODES};
use crate::history::now;

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node cannot reach an instance.
    Cut {
        /// The node.
        node: &'static str,
        /// The instance.
        instance: &'static str,
    },
    /// A node cannot reach any instance.
    Isolated(&'static str),
    /// An instance crashed; at the end of the fault it starts again.
    Crashed(&'static str),
    /// An instance cannot use the store.
    Store(&'static str, Way),
    /// No instance can use the store.
    NoStore,
}

/// A fault to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    fault: Fault,
    from: Duration,
    until: Duration,
}

/// Begin after this,
const FROM: Duration = Duration::from_secs(8);
/// and before this.
const TO: Duration = Duration::from_secs(70);
const LENGTH_MS: std::ops::Range<u64> = 500..25_000;

/// A schedule.
pub(crate) fn plan(random: &mut fastrand::Rng) -> Vec<Planned> {
    let count = random.usize(3..8);
    let mut planned: Vec<Planned> = (0..count).map(|_| one(random)).collect();
    planned.sort_by_key(|planned| planned.from);
    planned
}

fn one(random: &mut fastrand::Rng) -> Planned {
    let node = NODES[random.usize(..NODES.len())];
    let instance = INSTANCES[random.usize(..INSTANCES.len())];
    let fault = match random.u8(..8) {
        0 => Fault::Cut { node, instance },
        1 => Fault::Isolated(node),
        2 | 3 => Fault::Crashed(instance),
        4 | 5 => Fault::Store(instance, Way::Cut),
        6 => Fault::Store(instance, Way::Slow),
        _ => Fault::NoStore,
    };
    let from = FROM + (TO - FROM).mul_f64(random.f64());
    let length = Duration::from_millis(random.u64(LENGTH_MS));
    Planned {
        fault,
        from,
        until: from + length,
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
    ways: Vec<watch::Sender<Way>>,
    acts: Acts,
    recorder: Recorder,
    cut: BTreeSet<(&'static str, &'static str)>,
    down: BTreeSet<&'static str>,
}

impl Faults {
    /// `ways` are those of the instances, in their order.
    pub(crate) fn new(
        planned: Vec<Planned>,
        ways: Vec<watch::Sender<Way>>,
        acts: Acts,
        recorder: &Recorder,
    ) -> Self {
        Self {
            planned,
            ways,
            acts,
            recorder: recorder.clone(),
            cut: BTreeSet::new(),
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
                true => {
                    active.push(which);
                    self.recorder.begins(fault);
                }
                false => {
                    active.retain(|other| *other != which);
                    self.recorder.ends(fault);
                }
            }
            let faults: Vec<Fault> = active.iter().map(|at| self.planned[*at].fault).collect();
            self.apply(&faults);
        }
    }

    /// Makes the fleet as these faults want it.
    fn apply(&mut self, faults: &[Fault]) {
        for node in NODES {
            for instance in INSTANCES {
                let is_cut = faults.contains(&Fault::Isolated(node))
                    || faults.contains(&Fault::Cut { node, instance });
                if is_cut && self.cut.insert((node, instance)) {
                    turmoil::partition(node, instance);
                } else if !is_cut && self.cut.remove(&(node, instance)) {
                    turmoil::repair(node, instance);
                }
            }
        }
        for (instance, way) in INSTANCES.into_iter().zip(&self.ways) {
            let of_instance = faults.iter().map(|fault| match fault {
                Fault::Store(of, way) if *of == instance => *way,
                Fault::NoStore => Way::Away,
                _ => Way::Open,
            });
            let worst = of_instance.max().unwrap_or_default();
            way.send_if_modified(|way| std::mem::replace(way, worst) != worst);
            let is_down = faults.contains(&Fault::Crashed(instance));
            if is_down && self.down.insert(instance) {
                self.recorder.believes(instance, None);
                self.acts.borrow_mut().push(Act::Crash(instance));
            } else if !is_down && self.down.remove(instance) {
                self.acts.borrow_mut().push(Act::Start(instance));
            }
        }
    }
}
