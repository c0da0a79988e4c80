//! The other nodes of the mesh, as far as this one works with them.
//!
//! For each VPN and each service with engines one node acts for all: the first that lives, by rendezvous hashing
//! ([`weir_core::vpn::owner`]). This node holds a stream open to each such node. What comes on it are the ports of
//! VPNs; that something comes shows that the node lives. A stream that breaks moves the work to the next node at once;
//! it moves back when the node has said something again, and not because time has passed.

pub mod cache;
mod channels;
mod elsewhere;
mod engines;
mod follow;
mod key;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use weir_control_plane::keys::check_name;
use weir_core::ids::ServiceName;
use weir_core::vpn;
use weir_proto::control::v1::Peer;
use weir_proto::node::v1::{GetServiceRequest, ListPortsResponse, Service, StopEngineRequest};

use self::channels::Channels;
use crate::actors::config_agent::control_plane::LinkStatus;
use crate::ports::net::{Endpoint, Net};
use crate::snapshot::Snapshot;

pub use elsewhere::WayIn;
pub use engines::EnginesOf;
pub use follow::run;
pub use key::{Asks, PeerKey, Shows};

/// The label by which a node says which VPNs it has.
pub const VPNS_LABEL: &str = "weir.vpns";
/// For one call of another node.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// For a host to refuse a connection.
const PROBE_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a node that did not answer is let alone.
const LET_ALONE: Duration = Duration::from_secs(10);
/// Nodes that are asked for the load of a service at a time.
const LOADS_ASKED_AT_ONCE: usize = 64;
/// For all nodes to tell the load of a service, however many they are.
const LOADS_TIMEOUT: Duration = Duration::from_secs(5);

/// The other nodes. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    node: Arc<str>,
    link: Snapshot<LinkStatus>,
    net: Arc<dyn Net>,
    channels: Channels,
    key: PeerKey,
    /// Nodes that did not answer and have said nothing since, and until when they are let alone.
    dead: Arc<watch::Sender<BTreeMap<String, Instant>>>,
    /// What came last from each node that is followed.
    heard: Arc<watch::Sender<Heard>>,
}

/// What nodes said last of the ports of VPNs, and when that was heard.
pub type Heard = BTreeMap<String, (Instant, Arc<ListPortsResponse>)>;

/// What runs on the engines of a service, on all nodes together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// By engine.
    pub in_flight: BTreeMap<String, u64>,
    /// Requests that ever began on engines that are there now, by engine.
    pub requests: BTreeMap<String, u64>,
    /// Requests that wait for the first engine.
    pub waiting: u64,
    /// Every node has answered.
    pub complete: bool,
}

impl Loads {
    /// Adds what a node says of the service.
    fn add(&mut self, said: Service) {
        self.waiting += said.waiting;
        for backend in said.backends {
            *self.requests.entry(backend.id.clone()).or_default() += backend.requests;
            *self.in_flight.entry(backend.id).or_default() += backend.in_flight;
        }
    }
}

impl Peers {
    /// The peers of `node`, as the control plane tells them.
    pub fn new(node: &str, link: Snapshot<LinkStatus>, net: Arc<dyn Net>) -> Self {
        Self {
            node: node.into(),
            link,
            net,
            channels: Channels::default(),
            key: PeerKey::default(),
            dead: Arc::new(watch::Sender::new(BTreeMap::new())),
            heard: Arc::new(watch::Sender::new(Heard::new())),
        }
    }

    /// The same, which show each other this.
    #[must_use]
    pub fn with_key(self, key: PeerKey) -> Self {
        Self { key, ..self }
    }

    /// What nodes show each other.
    pub const fn key(&self) -> &PeerKey {
        &self.key
    }

    /// This node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Nodes that are not known to be away, this one included.
    pub fn alive(&self) -> Vec<String> {
        self.among(|_| true)
    }

    /// The node that asks this VPN for all.
    pub fn owner_of_vpn(&self, name: &str) -> String {
        self.owner(
            &format!("vpn/{name}"),
            &self.among(|peer| has_vpn(peer, name)),
        )
    }

    /// The node that decides how many engines a service has.
    pub fn owner_of_service(&self, name: &ServiceName) -> String {
        self.owner(&format!("service/{name}"), &self.alive())
    }

    /// The node that would ask this VPN if those that did not answer for a while do now.
    fn heir_of_vpn(&self, name: &str) -> String {
        let candidates = self.candidates(|peer| has_vpn(peer, name) && self.may_be_tried(peer));
        self.owner(&format!("vpn/{name}"), &candidates)
    }

    /// The same for a service.
    fn heir_of_service(&self, name: &ServiceName) -> String {
        let candidates = self.candidates(|peer| self.may_be_tried(peer));
        self.owner(&format!("service/{name}"), &candidates)
    }

    fn owner(&self, what: &str, candidates: &[String]) -> String {
        vpn::owner(what, candidates)
            .cloned()
            .unwrap_or_else(|| self.node.to_string())
    }

    /// This node, and the others for which `fits` holds and that are not known to be away.
    fn among(&self, fits: impl Fn(&Peer) -> bool) -> Vec<String> {
        let dead = self.dead.borrow();
        self.candidates(|peer| fits(peer) && !dead.contains_key(&peer.node_id))
    }

    fn may_be_tried(&self, peer: &Peer) -> bool {
        let until = self.dead.borrow().get(&peer.node_id).copied();
        until.is_none_or(|until| until <= Instant::now())
    }

    /// This node, and the others for which `fits` holds.
    fn candidates(&self, fits: impl Fn(&Peer) -> bool) -> Vec<String> {
        let link = self.link.load();
        let others = link
            .peers
            .iter()
            .filter(|peer| *peer.node_id != *self.node && fits(peer));
        let others = others.map(|peer| peer.node_id.clone());
        std::iter::once(self.node.to_string())
            .chain(others)
            .collect()
    }

    /// A node did not answer.
    fn is_dead(&self, node: &str) {
        self.is_silent(node);
        let until = Instant::now() + LET_ALONE;
        self.dead
            .send_modify(|dead| _ = dead.insert(node.to_owned(), until));
    }

    /// A node said this: it lives.
    pub(crate) fn hears(&self, node: &str, ports: ListPortsResponse) {
        let said = (Instant::now(), Arc::new(ports));
        self.heard
            .send_modify(|heard| drop(heard.insert(node.to_owned(), said)));
        self.dead
            .send_if_modified(|dead| dead.remove(node).is_some());
    }

    /// A node did not answer a call: it may have gone without a word, and its next life answers on another connection.
    pub(crate) fn is_silent(&self, node: &str) {
        let link = self.link.load();
        if let Some(peer) = link.peers.iter().find(|peer| peer.node_id == node) {
            self.channels.forget(&peer.grpc_address);
        }
    }

    /// Forgets nodes that the control plane knows no more.
    fn forget_strangers(&self) {
        let link = self.link.load();
        let addresses = link.peers.iter().map(|peer| peer.grpc_address.as_str());
        let addresses: BTreeSet<&str> = addresses.collect();
        self.channels.tidy(|address| addresses.contains(address));
        let is_known = |node: &String| link.peers.iter().any(|peer| peer.node_id == *node);
        self.dead.send_if_modified(|dead| {
            let before = dead.len();
            dead.retain(|node, _| is_known(node));
            dead.len() != before
        });
    }

    /// What nodes that act for others say of VPNs; wakes at each change.
    pub fn heard(&self) -> watch::Receiver<Heard> {
        self.heard.subscribe()
    }

    /// What runs on a service's engines everywhere.
    pub async fn loads(&self, service: &ServiceName, own: Loads) -> Loads {
        let link = self.link.load();
        let others = link.peers.iter().filter(|peer| *peer.node_id != *self.node);
        let asked = others.map(|peer| self.load_of(peer, service));
        let mut answers = stream::iter(asked).buffer_unordered(LOADS_ASKED_AT_ONCE);
        let mut loads = Loads {
            complete: true,
            ..own
        };
        let all = async {
            while let Some(answer) = answers.next().await {
                loads.complete &= answer.is_some();
                loads.add(answer.unwrap_or_default());
            }
        };
        if timeout(LOADS_TIMEOUT, all).await.is_err() {
            loads.complete = false;
        }
        loads
    }

    async fn load_of(&self, peer: &Peer, service: &ServiceName) -> Option<Service> {
        let mut client = self.engines_over(self.channel(&peer.grpc_address)?);
        let request = GetServiceRequest {
            service: service.to_string(),
        };
        let Ok(answer) = timeout(CALL_TIMEOUT, client.get_service(request)).await else {
            self.channels.forget(&peer.grpc_address);
            return None;
        };
        match answer {
            Ok(service) => Some(service.into_inner()),
            // It does not serve it, so nothing runs there.
            Err(status) if status.code() == tonic::Code::NotFound => Some(Service::default()),
            Err(_) => None,
        }
    }

    /// Has another node stop an engine.
    ///
    /// # Errors
    /// Why it did not, in words.
    pub async fn stop_engine(&self, node: &str, engine: &str, now: bool) -> Result<(), String> {
        let mut client = self.engines_at(node)?;
        let request = StopEngineRequest {
            engine_id: engine.to_owned(),
            now,
        };
        match timeout(CALL_TIMEOUT, client.stop_engine(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => {
                self.is_silent(node);
                Err("no answer in time".to_owned())
            }
        }
    }

    /// The other nodes, whether they answer or not.
    pub fn others(&self) -> Vec<String> {
        self.candidates(|_| true).split_off(1)
    }

    /// Whether the control plane has said which nodes there are.
    pub fn are_named(&self) -> bool {
        !self.link.load().peers.is_empty()
    }

    /// The other nodes' ids and a way to each.
    pub fn channels(&self) -> Vec<(String, Option<Channel>)> {
        let link = self.link.load();
        let others = link.peers.iter().filter(|peer| *peer.node_id != *self.node);
        others
            .map(|peer| (peer.node_id.clone(), self.channel(&peer.grpc_address)))
            .collect()
    }

    /// The way to a node.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn channel_to(&self, node: &str) -> Result<Channel, String> {
        let link = self.link.load();
        let peer = link.peers.iter().find(|peer| peer.node_id == node);
        let peer = peer.ok_or_else(|| format!("node `{node}` is not known"))?;
        let channel = self.channel(&peer.grpc_address);
        channel.ok_or_else(|| format!("`{}` of node `{node}` is no address", peer.grpc_address))
    }

    /// Asks whether a node's process runs, also once the node is not known any more.
    pub fn prober(&self, node: &str) -> Prober {
        let link = self.link.load();
        let peer = link.peers.iter().find(|peer| peer.node_id == node);
        Prober {
            to: peer.and_then(|peer| peer.grpc_address.parse().ok()),
            net: Arc::clone(&self.net),
        }
    }

    fn channel(&self, address: &str) -> Option<Channel> {
        self.channels.to(address, &self.net)
    }
}

/// Knows where a node was.
pub struct Prober {
    to: Option<Endpoint>,
    net: Arc<dyn Net>,
}

impl Prober {
    /// Whether nobody listens there, as the host itself says at once: no process of the node runs any more.
    pub async fn is_refused(&self) -> bool {
        let Some(to) = &self.to else {
            return false;
        };
        let connected = timeout(PROBE_TIMEOUT, self.net.connect(to)).await;
        matches!(connected, Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    }
}

fn has_vpn(peer: &Peer, name: &str) -> bool {
    let vpns = peer.labels.get(VPNS_LABEL);
    vpns.is_some_and(|names| names.split(',').any(|one| one == name))
}

/// The label of a node with these VPNs; `None` without any.
pub fn vpns_label(names: &[String]) -> Option<String> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    debug_assert!(names.iter().all(|name| check_name("vpn", name).is_ok()));
    (!names.is_empty()).then(|| names.join(","))
}
