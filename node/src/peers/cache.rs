//! Who shares the keys of the cache.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Peers;
use crate::data_plane::CachePeers;
use crate::snapshot::Snapshot;

/// Between two looks at who there is.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Publishes the nodes of the mesh whenever others are there, until the node ends.
pub async fn publish(peers: Peers, cores: usize, to: Snapshot<CachePeers>) {
    let mut published = Vec::new();
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let others = peers.ingresses();
        if others != published {
            to.publish(CachePeers::new(peers.node(), &others, cores));
            published = others;
        }
    }
}

impl Peers {
    /// The node that has a value of an application, of all that there are. That this node does not hear another one
    /// makes nobody else its owner: the others may hear it, and it serves what it has.
    pub fn owner_of_value(&self, key: &str) -> String {
        self.owner(key, &self.candidates(|_| true))
    }

    /// The other nodes, each with an address of its ingress that others can reach, in the order of their names.
    fn ingresses(&self) -> Vec<(String, SocketAddr)> {
        let link = self.link.load();
        let others = link.peers.iter().filter(|peer| *peer.node_id != *self.node);
        let mut others: Vec<_> = others
            .filter_map(|peer| {
                let addresses = peer
                    .ingress_addresses
                    .iter()
                    .filter_map(|text| text.parse().ok());
                let mut reachable =
                    addresses.filter(|address: &SocketAddr| !address.ip().is_unspecified());
                Some((peer.node_id.clone(), reachable.next()?))
            })
            .collect();
        others.sort();
        others
    }
}
