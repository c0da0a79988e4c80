//! Follows what is there: nodes, registered backends, instances of the control plane.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1 as pb;

use super::gather::Gather;
use super::outlets::{Out, Readers};
use super::{Census, NodeRecord, NodeRecords, Standing};
use crate::keys::{Key, Keys};
use crate::leases::Presences;
use crate::records::{Error, decode};
use crate::store::follow::{Followed, Options, Reason, follow};
use crate::store::{Event, EventKind, Revision, Store};
use crate::sync::resources::ResourceSet;
use crate::wait::sleep_until;

/// Backends and records of nodes: changes are gathered until none came for this long,
const GATHER_QUIET: Duration = Duration::from_millis(100);
/// but no longer than this. What nodes know of each other changes this often at most.
const GATHER_MAX: Duration = Duration::from_secs(1);

/// What is published by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Endpoints,
    Peers,
    /// Nodes, instances and what is counted.
    Records,
}

/// The task.
pub(super) struct Follower {
    keys: Keys,
    presences: Arc<Presences>,
    endpoints: ResourceSet,
    peers: ResourceSet,
    nodes: NodeRecords,
    nodes_census: Census,
    backends_census: Census,
    instances: BTreeMap<String, String>,
    /// Of each [`Part`].
    gathers: [Gather; 3],
    standing: Standing,
    /// The revision of the last change, published or not.
    seen: u64,
    /// What is gone, until it is known that nobody here asserts it.
    gone: Vec<(Bytes, Revision)>,
    out: Out,
}

impl Follower {
    pub(super) fn new(keys: Keys, presences: Arc<Presences>) -> (Self, Readers) {
        let (out, readers) = Out::new();
        let gather = Gather::new(GATHER_QUIET, GATHER_MAX);
        // A node that joins is told to all others: without a pause, a fleet that starts would be one long push.
        let peers = Gather::new(GATHER_MAX, GATHER_MAX);
        let follower = Self {
            keys,
            presences,
            endpoints: ResourceSet::default(),
            peers: ResourceSet::default(),
            nodes: NodeRecords::new(),
            nodes_census: Census::default(),
            backends_census: Census::default(),
            instances: BTreeMap::new(),
            gathers: [gather, peers, gather],
            standing: Standing::default(),
            seen: 0,
            gone: Vec::new(),
            out,
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
            let due = self.gathers.iter().filter_map(Gather::due).min();
            tokio::select! {
                biased;
                () = sleep_until(due) => self.publish_due(Instant::now()),
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
            Followed::Changed { revision, events } => self.events(events, revision),
            Followed::Resync {
                revision,
                reason,
                events,
            } => {
                let is_other = reason == Reason::OtherStore;
                self.standing.lost = None;
                self.standing.replaced += u64::from(is_other);
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
                self.out.tell(&self.standing);
            }
        }
    }

    fn events(&mut self, events: Vec<Event>, revision: Revision) {
        for event in events {
            match event.kind {
                EventKind::Put(entry) => self.put(&event.key, &entry.value, entry.mod_revision.0),
                EventKind::Deleted => {
                    self.delete(&event.key, revision.0);
                    self.gone.push((event.key, revision));
                }
            }
        }
        // What follows only the leader's key, or what is left out, is published with what comes next.
        self.seen = revision.0;
    }

    fn note(&mut self, part: Part, urgent: bool) {
        self.gathers[part as usize].note(Instant::now(), urgent, self.seen);
    }

    fn put(&mut self, key: &Bytes, value: &Bytes, revision: u64) {
        if let Err(error) = self.try_put(key, value, revision) {
            tracing::error!(%error, "a record is left out");
        }
    }

    fn try_put(&mut self, key: &Bytes, value: &Bytes, revision: u64) -> Result<(), Error> {
        let keys = self.keys.clone();
        match keys.parse(key) {
            Some(Key::Presence { node }) => {
                let presence: records::Presence = decode(key, value)?;
                if self.peers.put(node, peer_payload(&presence), revision) {
                    self.note(Part::Peers, false);
                }
                self.node(node, |record| record.presence = Some(Arc::new(presence)));
            }
            Some(Key::NodeStatus { node }) => {
                let status = decode(key, value)?;
                self.node(node, |record| record.status = Some(Arc::new(status)));
            }
            Some(Key::Endpoint { service, backend }) => {
                let registration: records::Registration = decode(key, value)?;
                self.put_endpoint(&format!("{service}/{backend}"), registration, revision);
            }
            Some(Key::Instance { instance }) => {
                let record: records::Instance = decode(key, value)?;
                self.instances.insert(instance.to_owned(), record.address);
                self.note(Part::Records, false);
            }
            _ => self.note(Part::Records, false),
        }
        Ok(())
    }

    fn put_endpoint(&mut self, name: &str, registration: records::Registration, revision: u64) {
        let endpoint = registration.endpoint.unwrap_or_default();
        let is_weightless = endpoint.weight == 0;
        let mut told = endpoint;
        // Nodes read no others: which node runs an engine, behind which VPN.
        told.labels.retain(|name, _| name.starts_with("weir."));
        let is_news = self
            .endpoints
            .put(name, told.encode_to_vec().into(), revision);
        match is_news {
            true => self.note(Part::Endpoints, is_weightless),
            false => self.note(Part::Records, false),
        }
        if self.backends_census.put(name, &registration.registered_by) {
            self.note(Part::Records, false);
        }
    }

    fn delete(&mut self, key: &Bytes, revision: u64) {
        let keys = self.keys.clone();
        match keys.parse(key) {
            Some(Key::Presence { node }) => {
                if self.peers.remove(node, revision) {
                    self.note(Part::Peers, false);
                }
                self.node(node, |record| record.presence = None);
            }
            Some(Key::NodeStatus { node }) => self.node(node, |record| record.status = None),
            Some(Key::Endpoint { service, backend }) => {
                let name = format!("{service}/{backend}");
                // Nodes should not send it work for the time of a gathering.
                let was_there = self.endpoints.remove(&name, revision);
                self.note(Part::Endpoints, was_there);
                self.backends_census.remove(&name);
                self.note(Part::Records, false);
            }
            Some(Key::Instance { instance }) => {
                self.instances.remove(instance);
                self.note(Part::Records, false);
            }
            _ => self.note(Part::Records, false),
        }
    }

    /// Changes what is known of a node; nothing is kept of one of which nothing is known.
    fn node(&mut self, node: &str, change: impl FnOnce(&mut NodeRecord)) {
        let record = self.nodes.entry(node.to_owned()).or_default();
        change(record);
        let token = match (&record.presence, &record.status) {
            (Some(presence), _) => Some(&*presence.registered_by),
            (None, Some(status)) => Some(&*status.registered_by),
            (None, None) => None,
        };
        match token {
            Some(token) => drop(self.nodes_census.put(node, token)),
            None => {
                self.nodes_census.remove(node);
                self.nodes.remove(node);
            }
        }
        self.note(Part::Records, false);
    }

    /// Publishes everything.
    fn publish(&mut self) {
        let now = Instant::now();
        for part in [Part::Endpoints, Part::Peers, Part::Records] {
            self.publish_part(part, now);
        }
        self.tell_standing();
    }

    /// Publishes what is due.
    fn publish_due(&mut self, now: Instant) {
        for part in [Part::Endpoints, Part::Peers, Part::Records] {
            let due = self.gathers[part as usize].due();
            if due.is_some_and(|due| due <= now) {
                self.publish_part(part, now);
            }
        }
        self.tell_standing();
    }

    fn publish_part(&mut self, part: Part, now: Instant) {
        self.gathers[part as usize].published(now);
        match part {
            Part::Endpoints => self.out.publish_endpoints(&self.endpoints),
            Part::Peers => self.out.publish_peers(&self.peers),
            Part::Records => {
                self.out.publish_nodes(&self.nodes, &self.nodes_census);
                self.out.publish_backends(&self.backends_census);
                self.out.publish_instances(&self.instances);
            }
        }
    }

    /// Tells up to where all parts are published.
    fn tell_standing(&mut self) {
        let pending = self.gathers.iter().filter_map(Gather::complete_until);
        self.standing.revision = pending.min().unwrap_or(self.seen);
        self.out.tell(&self.standing);
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
