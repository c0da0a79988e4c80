//! Which nodes there are, as publishers see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use weir_core::broadcast::{TopicName, owners};

use super::forward::Job;

/// Nodes that live, and the ways to them.
#[derive(Clone, Debug)]
pub struct View {
    /// This node.
    pub(crate) node: Arc<str>,
    /// Nodes that live and number messages, in the order of their names.
    pub(crate) live: Vec<String>,
    /// What goes to each of the others.
    pub(crate) ways: BTreeMap<String, mpsc::Sender<Job>>,
}

impl View {
    /// This node alone.
    pub(crate) fn alone(node: &str) -> Self {
        Self {
            node: node.into(),
            live: vec![node.to_owned()],
            ways: BTreeMap::new(),
        }
    }

    /// The node that numbers a topic.
    pub fn owner(&self, topic: &TopicName) -> &str {
        let owners = owners(topic, &self.live);
        owners.map_or(&*self.node, |owners| owners.owner.as_str())
    }

    /// The node that goes on after it.
    pub fn replica(&self, topic: &TopicName) -> Option<&str> {
        owners(topic, &self.live)?.replica.map(String::as_str)
    }

    /// Whether a node counts as one that lives.
    pub fn is_live(&self, node: &str) -> bool {
        self.live.iter().any(|live| live == node)
    }

    /// Whether this node numbers a topic.
    pub fn is_own(&self, topic: &TopicName) -> bool {
        self.owner(topic) == &*self.node
    }
}
