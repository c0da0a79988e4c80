//! Where clients of this node go on.

use std::net::{IpAddr, SocketAddr};

use weir_proto::control::v1::Peer;

use super::Peers;

/// By which way a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayIn {
    /// A route of the ingress.
    Ingress,
    /// The HTTP API.
    HttpApi,
    /// gRPC.
    Grpc,
}

impl Peers {
    /// Where the same way leads to each other node that `lives`, in the order of names; only addresses that others can
    /// reach.
    pub fn elsewhere(&self, way: WayIn, lives: impl Fn(&str) -> bool) -> Vec<String> {
        let link = self.link.load();
        let others = link.peers.iter();
        let others = others.filter(|peer| *peer.node_id != *self.node && lives(&peer.node_id));
        let mut found: Vec<_> = others
            .filter_map(|peer| Some((&peer.node_id, address(peer, way)?)))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, address)| address).collect()
    }
}

fn address(peer: &Peer, way: WayIn) -> Option<String> {
    let mut addresses = match way {
        WayIn::Ingress => peer.ingress_addresses.iter().collect(),
        WayIn::HttpApi => vec![&peer.http_api_address],
        WayIn::Grpc => vec![&peer.grpc_address],
    }
    .into_iter();
    addresses.find(|text| is_reachable(text)).cloned()
}

/// A name is one that others can reach; of addresses those that are not `0.0.0.0` or `::`.
fn is_reachable(text: &str) -> bool {
    let ip: Option<IpAddr> = text.parse::<SocketAddr>().ok().map(|address| address.ip());
    !text.is_empty() && ip.is_none_or(|ip| !ip.is_unspecified())
}
