//! What happened in a run, as the checks see it.

use std::cell::{Ref, RefCell};
use std::rc::Rc;
use std::time::Duration;

use weir_proto::node::v1 as pb;

/// Everything that happened, in the order in which it did.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Pictures of nodes.
    pub(crate) sights: Vec<Sight>,
    /// Links that were cut.
    pub(crate) cuts: Vec<Cut>,
    /// Calls of operators that ended.
    pub(crate) calls: Vec<Call>,
}

/// Who looked at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Eye {
    /// Someone inside the node, who sees every picture as it is published.
    Inside,
    /// An operator's list.
    List,
    /// An operator's watch.
    Watch,
}

/// One picture of a node's services.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// When.
    pub(crate) at: Duration,
    /// Whose.
    pub(crate) node: String,
    /// By whom.
    pub(crate) eye: Eye,
    /// The revision of the picture.
    pub(crate) revision: u64,
    /// The picture.
    pub(crate) services: Vec<pb::Service>,
}

impl Sight {
    /// The backend of that name, whichever service has it.
    pub(crate) fn backend(&self, id: &str) -> Option<&pb::Backend> {
        let all = self.services.iter().flat_map(|service| &service.backends);
        all.into_iter().find(|backend| backend.id == id)
    }
}

/// A link that lost everything for a while.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// One end: the node.
    pub(crate) node: String,
    /// The other end: a backend or an operator.
    pub(crate) peer: String,
    /// From when.
    pub(crate) from: Duration,
    /// Until when; still cut when absent.
    pub(crate) until: Option<Duration>,
}

impl Cut {
    /// How long it lasted; forever when it was never repaired.
    pub(crate) fn length(&self) -> Duration {
        self.until
            .map_or(Duration::MAX, |until| until.saturating_sub(self.from))
    }
}

/// One call of an operator.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// To which node.
    pub(crate) node: String,
    /// What was asked, for people.
    pub(crate) what: String,
    /// When it began.
    pub(crate) began: Duration,
    /// When it ended.
    pub(crate) ended: Duration,
    /// How long it was allowed to take.
    pub(crate) deadline: Duration,
    /// The change that the node acknowledged; absent for a call that failed or asked only.
    pub(crate) acknowledged: Option<Change>,
    /// Whether it succeeded.
    pub(crate) ok: bool,
}

/// What an operator changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Which backend.
    pub(crate) backend: String,
    /// What it must look like from then on.
    pub(crate) to: Expected,
}

/// What a changed backend must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// This weight.
    Weight(u32),
    /// Draining or drained.
    OutByDrain,
    /// Neither draining nor drained.
    NotDraining,
}

impl Expected {
    /// Whether `backend` looks like that.
    pub(crate) fn holds(self, backend: &pb::Backend) -> bool {
        let drains = matches!(
            backend.standing(),
            pb::Standing::Draining | pb::Standing::Drained
        );
        match self {
            Self::Weight(weight) => backend.weight == weight,
            Self::OutByDrain => drains,
            Self::NotDraining => !drains,
        }
    }
}

/// Where hosts write the history. Cheap to clone; all hosts share one thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Rc<RefCell<History>>);

impl Recorder {
    /// The history so far.
    pub(crate) fn history(&self) -> Ref<'_, History> {
        self.0.borrow()
    }

    /// A picture of `node` was seen.
    pub(crate) fn saw(&self, node: &str, eye: Eye, revision: u64, services: Vec<pb::Service>) {
        let backends = services.iter().flat_map(|service| &service.backends);
        let shown: Vec<String> = backends
            .map(|b| format!("{} {} w{}", b.id, b.standing().as_str_name(), b.weight))
            .collect();
        let shown = shown.join(", ");
        tracing::debug!(node, ?eye, revision, backends = shown, "saw");
        self.0.borrow_mut().sights.push(Sight {
            at: now(),
            node: node.to_owned(),
            eye,
            revision,
            services,
        });
    }

    /// A call ended.
    pub(crate) fn called(&self, call: Call) {
        let took = call.ended.saturating_sub(call.began);
        tracing::debug!(
            node = call.node,
            what = call.what,
            ok = call.ok,
            ?took,
            "call ended"
        );
        self.0.borrow_mut().calls.push(call);
    }

    /// Cuts the link between `node` and `peer`. What is under way on it is lost.
    pub(crate) fn cut(&self, node: &str, peer: &str) {
        turmoil::partition(node, peer);
        tracing::info!(node, peer, "cut");
        self.0.borrow_mut().cuts.push(Cut {
            node: node.to_owned(),
            peer: peer.to_owned(),
            from: now(),
            until: None,
        });
    }

    /// Repairs the link between `node` and `peer`.
    pub(crate) fn repair(&self, node: &str, peer: &str) {
        turmoil::repair(node, peer);
        tracing::info!(node, peer, "repaired");
        for cut in &mut self.0.borrow_mut().cuts {
            if cut.until.is_none() && cut.node == node && cut.peer == peer {
                cut.until = Some(now());
            }
        }
    }
}

/// Simulated time since the start.
pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}
