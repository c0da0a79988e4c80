//! What happened in a mesh that purges, as the checks see it.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use weir_core::purge::Hardness;

use super::{KEYS, Of};
use crate::history::now;

/// Everything that happened; what has an `order` has a place among all the rest of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Purges that were made.
    pub(crate) purges: Vec<Purged>,
    /// Fetches that began, by their number: when.
    pub(crate) fetches: Vec<u64>,
    /// Requests that were answered.
    pub(crate) answers: Vec<Answer>,
    /// What nodes say in the end of what is in force there.
    pub(crate) last: BTreeMap<&'static str, InForce>,
    order: u64,
}

/// Of each process that purged, up to which number all its purges are in force on a node, as the node says itself.
pub(crate) type InForce = BTreeMap<u64, u64>;

/// A purge.
#[derive(Clone, Debug)]
pub(crate) struct Purged {
    /// When it was in force where it was made.
    pub(crate) order: u64,
    /// The same, for people.
    pub(crate) at: Duration,
    /// Where.
    pub(crate) node: &'static str,
    /// By which process.
    pub(crate) origin: u64,
    /// Which of that process.
    pub(crate) seq: u64,
    /// Of what.
    pub(crate) of: Of,
    /// How.
    pub(crate) hardness: Hardness,
    /// What the origin had of each key.
    pub(crate) versions: [u64; KEYS],
    /// When it was said that it is in force on all nodes.
    pub(crate) acked: Option<u64>,
}

/// An answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// When, for people.
    pub(crate) at: Duration,
    /// Which node.
    pub(crate) node: &'static str,
    /// To a request for what.
    pub(crate) key: usize,
    /// When the request came.
    pub(crate) asked: u64,
    /// What was in force on the node then.
    pub(crate) in_force: InForce,
    /// The fetch that made it or found it good.
    pub(crate) fetch: usize,
    /// What the origin had.
    pub(crate) version: u64,
    /// It may be old, and says so.
    pub(crate) is_stale: bool,
}

/// Where hosts write the history. Cheap to clone; all hosts share one thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Rc<RefCell<History>>);

impl Recorder {
    /// The history so far.
    pub(crate) fn history(&self) -> Ref<'_, History> {
        self.0.borrow()
    }

    /// The next place in the order of everything.
    pub(crate) fn order(&self) -> u64 {
        let mut history = self.0.borrow_mut();
        history.order += 1;
        history.order
    }

    /// A fetch begins; its number.
    pub(crate) fn fetches(&self, node: &str, key: usize) -> usize {
        let order = self.order();
        let mut history = self.0.borrow_mut();
        history.fetches.push(order);
        let number = history.fetches.len() - 1;
        tracing::trace!(node, key, number, "fetches");
        number
    }

    /// A purge was made; its place in the history.
    pub(crate) fn purged(&self, purged: Purged) -> usize {
        let Purged {
            node, origin, seq, ..
        } = purged;
        tracing::debug!(node, origin, seq, of = ?purged.of, hardness = ?purged.hardness, "purged");
        let mut history = self.0.borrow_mut();
        history.purges.push(purged);
        history.purges.len() - 1
    }

    /// A purge is in force on all nodes.
    pub(crate) fn acked(&self, purge: usize) {
        let order = self.order();
        let purged = &mut self.0.borrow_mut().purges[purge];
        purged.acked = Some(order);
        let Purged { origin, seq, .. } = purged;
        tracing::debug!(origin, seq, "is in force on all nodes");
    }

    /// A request was answered.
    pub(crate) fn answered(&self, answer: Answer) {
        let Answer {
            node,
            key,
            fetch,
            version,
            is_stale,
            ..
        } = answer;
        tracing::trace!(node, key, fetch, version, is_stale, "answered");
        self.0.borrow_mut().answers.push(answer);
    }

    /// What is in force on a node in the end.
    pub(crate) fn ends(&self, node: &'static str, in_force: InForce) {
        tracing::debug!(node, ?in_force, "ends");
        self.0.borrow_mut().last.insert(node, in_force);
    }

    /// What of all purges `seen` says is in force.
    pub(crate) fn in_force(&self, seen: impl Fn(u64) -> u64) -> InForce {
        let history = self.0.borrow();
        let origins = history.purges.iter().map(|purge| purge.origin);
        let mut in_force = InForce::new();
        for origin in origins {
            in_force.entry(origin).or_insert_with(|| seen(origin));
        }
        in_force
    }
}

impl Purged {
    /// A purge that happens now.
    pub(super) fn now(
        (node, order): (&'static str, u64),
        (origin, seq): (u64, u64),
        (of, hardness): (Of, Hardness),
        versions: [u64; KEYS],
    ) -> Self {
        Self {
            order,
            at: now(),
            node,
            origin,
            seq,
            of,
            hardness,
            versions,
            acked: None,
        }
    }
}
