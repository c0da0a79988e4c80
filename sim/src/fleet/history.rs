//! What happened in a fleet, as the checks see it.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use weir_control_plane::store::{Event, Revision};
use weir_proto::control::v1 as pb;

use super::faults::Fault;
use crate::history::now;

/// Everything that happened, in the order in which it did.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// What the store took.
    pub(crate) stored: Vec<Stored>,
    /// Writes that operators tried, as they ended.
    pub(crate) writes: Vec<Write>,
    /// Nodes, each time they differ from before.
    pub(crate) sights: Vec<Sight>,
    /// What instances say of nodes.
    pub(crate) lists: Vec<Listed>,
    /// Instances that began or ceased to believe that they lead.
    pub(crate) beliefs: Vec<Belief>,
    /// Faults that were made.
    pub(crate) faults: Vec<Spell>,
    /// When every node must have what the layers give.
    pub(crate) deadlines: Vec<Duration>,
}

/// One change of one key.
#[derive(Debug)]
pub(crate) struct Stored {
    /// When it was seen.
    pub(crate) at: Duration,
    /// What.
    pub(crate) event: Event,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Acknowledged, as this revision of what was written.
    Made(u64),
    /// Acknowledged: it was so already.
    Unchanged,
    /// Somebody else was faster, or it is wrong.
    Refused,
    /// Nobody said.
    Unknown,
}

/// A write of an operator.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// A scope, or a service.
    pub(crate) target: String,
    /// Names it.
    pub(crate) write_id: String,
    /// When it was first tried.
    pub(crate) began: Duration,
    /// When it ended.
    pub(crate) ended: Duration,
    /// How.
    pub(crate) outcome: Outcome,
}

/// A node as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inside {
    /// Knobs that the control plane set, as they are in force.
    pub(crate) profile: BTreeMap<String, String>,
    /// Weights that the control plane set, as they are in force.
    pub(crate) weights: BTreeMap<String, u32>,
    /// Of the profile that it says is in force.
    pub(crate) effective_hash: Vec<u8>,
    /// The instance that it is connected to.
    pub(crate) instance: Option<String>,
}

/// A look at a node.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// When.
    pub(crate) at: Duration,
    /// Which.
    pub(crate) node: String,
    /// What was seen.
    pub(crate) inside: Inside,
}

/// An answer to who is there.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// When it came.
    pub(crate) at: Duration,
    /// From which instance.
    pub(crate) instance: String,
    /// Each node's presence.
    pub(crate) nodes: BTreeMap<String, pb::Presence>,
}

/// A change of mind about who leads.
#[derive(Clone, Debug)]
pub(crate) struct Belief {
    /// When.
    pub(crate) at: Duration,
    /// Whose.
    pub(crate) instance: String,
    /// Its own term; `None` when it does not lead.
    pub(crate) term: Option<u64>,
}

/// A fault and its time.
#[derive(Clone, Debug)]
pub(crate) struct Spell {
    /// What.
    pub(crate) fault: Fault,
    /// From when.
    pub(crate) from: Duration,
    /// Until when; it lasts when absent.
    pub(crate) until: Option<Duration>,
}

/// Where hosts write the history. Cheap to clone; all hosts share one thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Rc<RefCell<History>>);

impl Recorder {
    /// The history so far.
    pub(crate) fn history(&self) -> Ref<'_, History> {
        self.0.borrow()
    }

    /// The store took a change.
    pub(crate) fn stored(&self, revision: Revision, event: Event) {
        let key = event.key.escape_ascii();
        tracing::trace!(%revision, %key, "stored");
        let stored = Stored { at: now(), event };
        self.0.borrow_mut().stored.push(stored);
    }

    /// A write ended.
    pub(crate) fn wrote(&self, write: Write) {
        let Write {
            target, write_id, ..
        } = &write;
        tracing::debug!(target, write_id, outcome = ?write.outcome, "wrote");
        self.0.borrow_mut().writes.push(write);
    }

    /// A node is other than before.
    pub(crate) fn saw(&self, node: &str, inside: Inside) {
        let Inside {
            profile,
            weights,
            instance,
            ..
        } = &inside;
        tracing::debug!(node, ?profile, ?weights, ?instance, "saw");
        self.0.borrow_mut().sights.push(Sight {
            at: now(),
            node: node.to_owned(),
            inside,
        });
    }

    /// An instance said who is there.
    pub(crate) fn listed(&self, instance: &str, nodes: BTreeMap<String, pb::Presence>) {
        tracing::trace!(instance, ?nodes, "listed");
        self.0.borrow_mut().lists.push(Listed {
            at: now(),
            instance: instance.to_owned(),
            nodes,
        });
    }

    /// An instance believes something else about itself.
    pub(crate) fn believes(&self, instance: &str, term: Option<u64>) {
        tracing::info!(instance, ?term, "believes");
        self.0.borrow_mut().beliefs.push(Belief {
            at: now(),
            instance: instance.to_owned(),
            term,
        });
    }

    /// A fault begins.
    pub(crate) fn begins(&self, fault: Fault) {
        tracing::info!(?fault, "begins");
        let (from, until) = (now(), None);
        self.0
            .borrow_mut()
            .faults
            .push(Spell { fault, from, until });
    }

    /// A fault ends.
    pub(crate) fn ends(&self, fault: Fault) {
        tracing::info!(?fault, "ends");
        for spell in &mut self.0.borrow_mut().faults {
            if spell.fault == fault && spell.until.is_none() {
                spell.until = Some(now());
            }
        }
    }

    /// Every node must have what the layers give now.
    pub(crate) fn all_must_be_in_sync(&self) {
        self.0.borrow_mut().deadlines.push(now());
    }
}
