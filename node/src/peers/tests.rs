//! Which node acts for all.

use std::time::Duration;

use tokio::time::sleep;
use weir_proto::node::v1::ListPortsResponse;

use super::*;
use crate::ports::net::Tcp;

fn peers(nodes: &[&str], label: &str) -> Peers {
    let peer = |node: &&str| Peer {
        node_id: (*node).to_owned(),
        labels: [(VPNS_LABEL.to_owned(), label.to_owned())].into(),
        ..Peer::default()
    };
    let link = LinkStatus {
        peers: nodes.iter().map(peer).collect(),
        ..LinkStatus::default()
    };
    Peers::new("here", Snapshot::new(link), Arc::new(Tcp))
}

/// Another node that acts for a VPN before `here` does.
fn first() -> String {
    let others = (0..100).map(|n| format!("node-{n}"));
    let mut before = others.filter(|name| peers(&[name], "v1").owner_of_vpn("v1") == *name);
    before.next().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fell_silent_acts_again_when_it_speaks_and_not_when_time_has_passed() {
    let first = first();
    let peers = peers(&["here", &first], "v1");
    assert_eq!(peers.owner_of_vpn("v1"), first);
    peers.is_dead(&first);
    assert_eq!(peers.owner_of_vpn("v1"), "here");
    assert_eq!(peers.heir_of_vpn("v1"), "here", "it is let alone first");
    sleep(LET_ALONE + Duration::from_millis(1)).await;
    assert_eq!(peers.owner_of_vpn("v1"), "here");
    assert_eq!(
        peers.heir_of_vpn("v1"),
        first,
        "and then asked whether it lives"
    );
    peers.hears(&first, ListPortsResponse::default());
    assert_eq!(peers.owner_of_vpn("v1"), first);
}

#[tokio::test(start_paused = true)]
async fn only_nodes_that_have_a_vpn_ask_it() {
    let first = first();
    assert_eq!(peers(&[&first], "v2,v1").owner_of_vpn("v1"), first);
    for label in ["", "v11", "v2"] {
        assert_eq!(peers(&[&first], label).owner_of_vpn("v1"), "here");
    }
}
