//! Another node, as the hub knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use weir_broadcast::Connection;
use weir_core::broadcast::{Epoch, Gone, PatternTrie, Position, Replication, TopicName};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::link_told::What;

use super::forward::Job;

/// How long a node that was never heard counts as one that lives.
const NEW_GRACE: Duration = Duration::from_secs(2);
/// How long one that is not heard any more does.
pub(super) const LOST_GRACE: Duration = Duration::from_secs(1);
/// What waits for the task that writes a link, beside messages of subscriptions.
pub(super) const QUEUE_MAX: usize = 65_536;
/// Copies that a node may have said that it has, and that nobody has asked for yet.
const HAVE_MAX: usize = 100_000;

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Task(pub(super) AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How the link to a node is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Link {
    /// Never up since it is known.
    New {
        since: Duration,
    },
    Up,
    /// Not any more. `is_gone`: its process does not run.
    Lost {
        at: Duration,
        is_gone: bool,
    },
}

/// Another node.
pub(super) struct Peer {
    /// The control plane knows it.
    pub(super) is_listed: bool,
    pub(super) link: Link,
    /// It said goodbye.
    pub(super) has_left: bool,
    /// Which of its processes was heard last.
    pub(super) process: Option<u64>,
    /// Keeps the link to it.
    pub(super) task: Option<Task>,
    /// What goes to it, and the task that sends it.
    pub(super) way: Option<(mpsc::Sender<Job>, Task)>,
    /// What it is asked over the link.
    pub(super) asks: Option<mpsc::Sender<pb::LinkAsked>>,
    /// Topics of which this node, as their replica, has everything that the other gave anybody.
    pub(super) in_step: BTreeMap<TopicName, Epoch>,
    /// Which of these was looked at last for whether it is one still.
    pub(super) in_step_looked: Option<TopicName>,
    /// When the last stamp was made that came back.
    pub(super) stamp: Option<Duration>,
    /// Its own link to this node.
    pub(super) down: Option<Down>,
    /// What is owed to it as a replica.
    pub(super) replication: Replication,
}

impl Peer {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            is_listed: false,
            link: Link::New { since: now },
            has_left: false,
            process: None,
            task: None,
            way: None,
            asks: None,
            in_step: BTreeMap::new(),
            in_step_looked: None,
            stamp: None,
            down: None,
            replication: Replication::default(),
        }
    }

    /// Whether it counts as one that numbers messages.
    pub(super) fn is_live(&self, now: Duration) -> bool {
        !self.has_left
            && match self.link {
                Link::New { since } => self.is_listed && now.saturating_sub(since) < NEW_GRACE,
                Link::Up => true,
                Link::Lost { is_gone: true, .. } => false,
                Link::Lost { at, .. } => now.saturating_sub(at) < LOST_GRACE,
            }
    }

    /// What is known of its end, if it does not live.
    pub(super) const fn gone(&self) -> Gone {
        match self.link {
            _ if self.has_left => Gone::Goodbye,
            Link::Lost { is_gone: true, .. } => Gone::Process,
            _ => Gone::Silent,
        }
    }

    /// Asks it something. A link that takes nothing more is given up: what could not be asked is asked on the next one.
    pub(super) fn ask(&mut self, asked: pb::LinkAsked) {
        if let Some(asks) = &self.asks
            && asks.try_send(asked).is_err()
        {
            self.asks = None;
        }
    }
}

/// Another node's link to this one.
pub(super) struct Down {
    pub(super) id: u64,
    pub(super) connection: Rc<Connection>,
    /// What it is told beside messages of its subscriptions, and before them.
    queue: mpsc::Sender<pb::LinkTold>,
    /// It did not take what it has to know.
    pub(super) is_full: bool,
    /// Topics that it wants by name.
    pub(super) wants: BTreeSet<TopicName>,
    pub(super) patterns: PatternTrie<()>,
    /// What it said that it has.
    have: BTreeMap<TopicName, Position>,
    /// Topics that it gets.
    pub(super) active: BTreeSet<TopicName>,
    _writer: Task,
}

impl Down {
    pub(super) fn new(
        id: u64,
        connection: Rc<Connection>,
        queue: mpsc::Sender<pb::LinkTold>,
        writer: Task,
    ) -> Self {
        Self {
            id,
            connection,
            queue,
            is_full: false,
            wants: BTreeSet::new(),
            patterns: PatternTrie::default(),
            have: BTreeMap::new(),
            active: BTreeSet::new(),
            _writer: writer,
        }
    }

    pub(super) fn tell(&mut self, what: What) {
        let told = pb::LinkTold { what: Some(what) };
        self.is_full |= self.queue.try_send(told).is_err();
    }

    pub(super) fn note_copy(&mut self, topic: &TopicName, position: Position) {
        if self.have.len() < HAVE_MAX || self.have.contains_key(topic) {
            self.have.insert(topic.clone(), position);
        }
    }

    pub(super) fn take_copy(&mut self, topic: &TopicName) -> Option<Position> {
        self.have.remove(topic)
    }

    pub(super) fn takes(&self, topic: &TopicName) -> bool {
        self.takers(topic) > 0
    }

    /// How many of its patterns take a topic.
    pub(super) fn takers(&self, topic: &TopicName) -> usize {
        self.patterns.takers(topic).len()
    }
}
