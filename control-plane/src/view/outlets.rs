//! Where pictures of what is there are published, and read.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Census, NodeRecords, Standing};
use crate::sync::resources::ResourceSet;

/// What sets are called where they are told of.
pub(super) const ENDPOINTS: &str = "registered backends";
pub(super) const PEERS: &str = "nodes of the mesh";

/// What others read.
pub(super) struct Readers {
    pub(super) endpoints: watch::Receiver<Arc<ResourceSet>>,
    pub(super) peers: watch::Receiver<Arc<ResourceSet>>,
    pub(super) nodes: watch::Receiver<Arc<NodeRecords>>,
    pub(super) nodes_census: watch::Receiver<Arc<Census>>,
    pub(super) backends_census: watch::Receiver<Arc<Census>>,
    pub(super) instances: watch::Receiver<Arc<BTreeMap<String, String>>>,
    pub(super) standing: watch::Receiver<Standing>,
}

/// Where it is published.
pub(super) struct Out {
    endpoints: watch::Sender<Arc<ResourceSet>>,
    peers: watch::Sender<Arc<ResourceSet>>,
    nodes: watch::Sender<Arc<NodeRecords>>,
    nodes_census: watch::Sender<Arc<Census>>,
    backends_census: watch::Sender<Arc<Census>>,
    instances: watch::Sender<Arc<BTreeMap<String, String>>>,
    standing: watch::Sender<Standing>,
}

impl Out {
    /// Both ends, with nothing in them.
    pub(super) fn new() -> (Self, Readers) {
        let (endpoints_out, endpoints) = watch::channel(Arc::default());
        let (peers_out, peers) = watch::channel(Arc::default());
        let (nodes_out, nodes) = watch::channel(Arc::default());
        let (nodes_census_out, nodes_census) = watch::channel(Arc::default());
        let (backends_census_out, backends_census) = watch::channel(Arc::default());
        let (instances_out, instances) = watch::channel(Arc::default());
        let (standing_out, standing) = watch::channel(Standing::default());
        let out = Self {
            endpoints: endpoints_out,
            peers: peers_out,
            nodes: nodes_out,
            nodes_census: nodes_census_out,
            backends_census: backends_census_out,
            instances: instances_out,
            standing: standing_out,
        };
        let readers = Readers {
            endpoints,
            peers,
            nodes,
            nodes_census,
            backends_census,
            instances,
            standing,
        };
        (out, readers)
    }

    pub(super) fn publish_endpoints(&self, endpoints: &ResourceSet) {
        publish_set(&self.endpoints, endpoints, ENDPOINTS);
    }

    pub(super) fn publish_peers(&self, peers: &ResourceSet) {
        publish_set(&self.peers, peers, PEERS);
    }

    pub(super) fn publish_nodes(&self, nodes: &NodeRecords, census: &Census) {
        // Counted before they are shown: who is shown is counted.
        self.nodes_census.send_replace(Arc::new(census.clone()));
        self.nodes.send_replace(Arc::new(nodes.clone()));
    }

    pub(super) fn publish_backends(&self, census: &Census) {
        self.backends_census.send_replace(Arc::new(census.clone()));
    }

    pub(super) fn publish_instances(&self, instances: &BTreeMap<String, String>) {
        if **self.instances.borrow() != *instances {
            self.instances.send_replace(Arc::new(instances.clone()));
        }
    }

    pub(super) fn tell(&self, standing: &Standing) {
        super::tell(&self.standing, standing);
    }
}

/// Publishes a set unless it is what was published; nodes are woken for nothing else.
fn publish_set(out: &watch::Sender<Arc<ResourceSet>>, set: &ResourceSet, kind: &'static str) {
    let published = out.borrow();
    let is_same = published.set_hash() == set.set_hash() && published.version() == set.version();
    let was_oversized = published.check_size(kind).is_err();
    drop(published);
    if let Err(error) = set.check_size(kind)
        && !was_oversized
    {
        tracing::error!(%error, "nodes are not told what there is");
    }
    if !is_same {
        out.send_replace(Arc::new(set.clone()));
    }
}
