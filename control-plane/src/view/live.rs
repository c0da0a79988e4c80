//! Follows what is there: nodes, registered backends, instances of the control plane.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1 as pb;

use super::{NodeRecord, NodeRecords, Standing};
use crate::keys::{Key, Keys};
use crate::leases::Presences;
use crate::records::{Error, decode};
use crate::store::follow::{Followed, Options, Reason, follow};
use crate::store::{Event, EventKind, Revision, Store};
use crate::sync::resources::ResourceSet;
use crate::wait::sleep_until;

/// Changes are gathered until none came for this long,
const GATHER_QUIET: Duration = Duration::from_millis(100);
/// but no longer than this.
const GATHER_MAX: Duration = Duration::from_secs(1);

/// What others read.
pub(super) struct Readers {
    pub(super) endpoints: watch::Receiver<Arc<ResourceSet>>,
    pub(super) peers: watch::Receiver<Arc<ResourceSet>>,
    pub(super) nodes: watch::Receiver<Arc<NodeRecords>>,
    pub(super) instances: watch::Receiver<Arc<BTreeMap<String, String>>>,
    pub(super) standing: watch::Receiver<Standing>,
}

/// The task.
pub(super) struct Follower {
    keys: Keys,
    presences: Arc<Presences>,
    endpoints: ResourceSet,
    peers: ResourceSet,
    nodes: NodeRecords,
    instances: BTreeMap<String, String>,
    gathering: Option<Gathering>,
    standing: Standing,
    /// The revision of the last change, published or not.
    seen: u64,
    /// What is gone, until it is known that nobody here asserts it.
    gone: Vec<(Bytes, Revision)>,
    endpoints_out: watch::Sender<Arc<ResourceSet>>,
    peers_out: watch::Sender<Arc<ResourceSet>>,
    nodes_out: watch::Sender<Arc<NodeRecords>>,
    instances_out: watch::Sender<Arc<BTreeMap<String, String>>>,
    standing_out: watch::Sender<Standing>,
}

/// Changes that were not published yet.
#[derive(Clone, Copy)]
struct Gathering {
    since: Instant,
    last: Instant,
    /// A backend is gone or weightless: nodes should not send it work for the time of a gathering.
    urgent: bool,
}

impl Gathering {
    fn due(&self) -> Instant {
        match self.urgent {
            true => self.since,
            false => (self.last + GATHER_QUIET).min(self.since + GATHER_MAX),
        }
    }
}

impl Follower {
    pub(super) fn new(keys: Keys, presences: Arc<Presences>) -> (Self, Readers) {
        let (endpoints_out, endpoints) = watch::channel(Arc::default());
        let (peers_out, peers) = watch::channel(Arc::default());
        let (nodes_out, nodes) = watch::channel(Arc::default());
        let (instances_out, instances) = watch::channel(Arc::default());
        let (standing_out, standing) = watch::channel(Standing::default());
        let follower = Self {
            keys,
            presences,
            endpoints: ResourceSet::default(),
            peers: ResourceSet::default(),
            nodes: NodeRecords::new(),
            instances: BTreeMap::new(),
            gathering: None,
            standing: Standing::default(),
            seen: 0,
            gone: Vec::new(),
            endpoints_out,
            peers_out,
            nodes_out,
            instances_out,
            standing_out,
        };
        let readers = Readers {
            endpoints,
            peers,
            nodes,
            instances,
            standing,
        };
        (follower, readers)
    }

    pub(super) async fn run(mut self, store: Arc<dyn Store>, options: Options) {
        // Jobs are read where they are needed: they may be many, and large.
        let options = Options {
            except: self.keys.job_queues(),
            ..options
        };
        let mut followed = follow(store, self.keys.live(), options);
        loop {
            let due = self.gathering.map(|gathering| gathering.due());
            tokio::select! {
                biased;
                () = sleep_until(due) => self.publish(),
                item = followed.next() => match item {
                    Some(item) => self.take(item),
                    None => return,
                },
            }
            for (key, at) in std::mem::take(&mut self.gone) {
                // A lease that ended too early took it along, or somebody's hand.
                self.presences.look(key, at).await;
            }
        }
    }

    fn take(&mut self, followed: Followed) {
        match followed {
            Followed::Snapshot { revision, entries } => {
                (self.standing.complete, self.seen) = (true, revision.0);
                for entry in entries {
                    self.put(&entry.key, &entry.value, entry.mod_revision.0);
                }
                self.endpoints.restart(revision.0);
                self.peers.restart(revision.0);
                self.standing.lost = None;
                self.publish();
            }
            Followed::Changed { revision, events } => {
                self.seen = revision.0;
                self.events(events, revision);
            }
            Followed::Resync {
                revision,
                reason,
                events,
            } => {
                let is_other = reason == Reason::OtherStore;
                self.standing.lost = None;
                self.standing.replaced += u64::from(is_other);
                self.seen = revision.0;
                if is_other {
                    self.presences.audit();
                    self.endpoints.restart(revision.0);
                    self.peers.restart(revision.0);
                }
                self.events(events, revision);
                self.publish();
            }
            Followed::Lost(error) => {
                self.standing.lost = Some(error.to_string());
                super::tell(&self.standing_out, &self.standing);
            }
        }
    }

    fn events(&mut self, events: Vec<Event>, revision: Revision) {
        for event in events {
            let urgent = match event.kind {
                EventKind::Put(entry) => self.put(&event.key, &entry.value, entry.mod_revision.0),
                EventKind::Deleted => {
                    let urgent = self.delete(&event.key, revision.0);
                    self.gone.push((event.key, revision));
                    urgent
                }
            };
            let now = Instant::now();
            let gathering = self.gathering.get_or_insert(Gathering {
                since: now,
                last: now,
                urgent: false,
            });
            gathering.last = now;
            gathering.urgent |= urgent;
        }
    }

    /// True when nodes should know at once.
    fn put(&mut self, key: &Bytes, value: &Bytes, revision: u64) -> bool {
        self.try_put(key, value, revision).unwrap_or_else(|error| {
            tracing::error!(%error, "a record is left out");
            false
        })
    }

    fn try_put(&mut self, key: &Bytes, value: &Bytes, revision: u64) -> Result<bool, Error> {
        match self.keys.parse(key) {
            Some(Key::Presence { node }) => {
                let presence: records::Presence = decode(key, value)?;
                self.peers.put(node, peer_payload(&presence), revision);
                self.node(node).presence = Some(Arc::new(presence));
            }
            Some(Key::NodeStatus { node }) => {
                let status = decode(key, value)?;
                self.node(node).status = Some(Arc::new(status));
            }
            Some(Key::Endpoint { service, backend }) => {
                let registration: records::Registration = decode(key, value)?;
                let endpoint = registration.endpoint.unwrap_or_default();
                let name = format!("{service}/{backend}");
                // Nodes read no labels of backends.
                let told = pb::Endpoint {
                    labels: BTreeMap::new(),
                    ..endpoint.clone()
                };
                let payload = told.encode_to_vec().into();
                let is_news = self.endpoints.put(&name, payload, revision);
                return Ok(is_news && endpoint.weight == 0);
            }
            Some(Key::Instance { instance }) => {
                let record: records::Instance = decode(key, value)?;
                self.instances.insert(instance.to_owned(), record.address);
            }
            _ => {}
        }
        Ok(false)
    }

    /// True when nodes should know at once.
    fn delete(&mut self, key: &Bytes, revision: u64) -> bool {
        match self.keys.parse(key) {
            Some(Key::Presence { node }) => {
                self.peers.remove(node, revision);
                self.forget(node, |record| record.presence = None);
            }
            Some(Key::NodeStatus { node }) => self.forget(node, |record| record.status = None),
            Some(Key::Endpoint { service, backend }) => {
                return self
                    .endpoints
                    .remove(&format!("{service}/{backend}"), revision);
            }
            Some(Key::Instance { instance }) => {
                self.instances.remove(instance);
            }
            _ => {}
        }
        false
    }

    fn node(&mut self, node: &str) -> &mut NodeRecord {
        self.nodes.entry(node.to_owned()).or_default()
    }

    fn forget(&mut self, node: &str, part: impl FnOnce(&mut NodeRecord)) {
        if let Some(record) = self.nodes.get_mut(node) {
            part(record);
            if record.presence.is_none() && record.status.is_none() {
                self.nodes.remove(node);
            }
        }
    }

    fn publish(&mut self) {
        self.gathering = None;
        publish_set(&self.endpoints_out, &self.endpoints);
        publish_set(&self.peers_out, &self.peers);
        self.nodes_out.send_replace(Arc::new(self.nodes.clone()));
        if **self.instances_out.borrow() != self.instances {
            self.instances_out
                .send_replace(Arc::new(self.instances.clone()));
        }
        self.standing.revision = self.seen;
        super::tell(&self.standing_out, &self.standing);
    }
}

/// Publishes a set unless it is what was published; nodes are woken for nothing else.
fn publish_set(out: &watch::Sender<Arc<ResourceSet>>, set: &ResourceSet) {
    let published = out.borrow();
    let is_same = published.set_hash() == set.set_hash() && published.version() == set.version();
    drop(published);
    if !is_same {
        out.send_replace(Arc::new(set.clone()));
    }
}

/// What other nodes are told of a node. Nothing in it changes while the node stays connected.
fn peer_payload(presence: &records::Presence) -> Bytes {
    let peer = pb::Peer {
        node_id: presence.node_id.clone(),
        zone: presence.zone.clone(),
        grpc_address: presence.grpc_address.clone(),
        node_version: presence.node_version.clone(),
        labels: presence.labels.clone(),
        ingress_addresses: presence.ingress_addresses.clone(),
        http_api_address: presence.http_api_address.clone(),
    };
    peer.encode_to_vec().into()
}
