//! Which node acts for all, and how others are asked.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::time::sleep;
use weir_proto::node::v1::{ListPortsRequest, ListPortsResponse};

use super::*;
use crate::ports::net::{BoxedStream, Endpoint, Tcp};

/// What happens at the nodes that are asked.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

/// Counts connections.
#[derive(Debug)]
struct Counting(Arc<Seen>);

impl Net for Counting {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<BoxedStream>> {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Tcp.connect(to)
    }
}

/// A node that serves no service: it says so after a moment.
async fn strange_node(seen: Arc<Seen>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = async move || {
        let at_once = seen.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        seen.most_at_once.fetch_max(at_once, Ordering::Relaxed);
        seen.asked.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(2)).await;
        seen.at_once.fetch_sub(1, Ordering::Relaxed);
        let status = u32::from(tonic::Code::NotFound as u8).to_string();
        [
            (CONTENT_TYPE.as_str(), "application/grpc".to_owned()),
            ("grpc-status", status),
        ]
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Leads to a node that begins every answer and ends none, and that closes nothing when its power is cut.
#[derive(Debug)]
struct Powered(watch::Receiver<bool>);

impl Net for Powered {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, io::Result<BoxedStream>> {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (mut socket, node) = tokio::io::duplex(1 << 16);
        let mut power = self.0.clone();
        tokio::spawn(async move {
            let cut = async { power.wait_for(|is_on| !is_on).await.map(drop) };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut far, &mut socket) => return,
                _ = cut => {}
            }
            std::future::pending().await
        });
        tokio::spawn(begin_answers(node));
        Box::pin(async { Ok(Box::new(near) as BoxedStream) })
    }
}

async fn begin_answers(node: tokio::io::DuplexStream) {
    let mut connection = h2::server::handshake(node).await.unwrap();
    let mut begun = Vec::new();
    while let Some(Ok((_, mut answer))) = connection.accept().await {
        let response = axum::http::Response::builder().header(CONTENT_TYPE, "application/grpc");
        let body = answer.send_response(response.body(()).unwrap(), false);
        begun.push(body.unwrap());
    }
}

/// Peers of which `count` are at this address.
fn peers_at(address: SocketAddr, count: usize, seen: &Arc<Seen>) -> Peers {
    let peer = |number| Peer {
        node_id: format!("node-{number}"),
        grpc_address: address.to_string(),
        ..Peer::default()
    };
    let link = LinkStatus {
        peers: (0..count).map(peer).collect(),
        ..LinkStatus::default()
    };
    let net = Arc::new(Counting(Arc::clone(seen)));
    Peers::new("here", Snapshot::new(link), net)
}

#[tokio::test]
async fn every_one_of_many_nodes_is_asked_for_its_load_and_few_at_a_time() {
    let seen = Arc::default();
    let address = strange_node(Arc::clone(&seen)).await;
    let loads = peers_at(address, 300, &seen);
    let loads = loads.loads(&"tv".into(), Loads::default()).await;
    assert!(loads.complete);
    assert_eq!(seen.asked.load(Ordering::Relaxed), 300);
    let most = seen.most_at_once.load(Ordering::Relaxed);
    assert!((2..=LOADS_ASKED_AT_ONCE).contains(&most), "{most}");
}

#[tokio::test]
async fn a_node_is_asked_again_on_the_connection_that_there_is() {
    let seen = Arc::default();
    let address = strange_node(Arc::clone(&seen)).await;
    let peers = peers_at(address, 1, &seen);
    for _ in 0..10 {
        assert!(peers.loads(&"tv".into(), Loads::default()).await.complete);
        peers.forget_strangers();
    }
    assert_eq!(seen.asked.load(Ordering::Relaxed), 10);
    assert_eq!(seen.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_node_that_did_not_answer_is_asked_on_another_connection() {
    let seen = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peers = peers_at(listener.local_addr().unwrap(), 1, &seen);
    for connections in 1..=2 {
        // Whoever is there says nothing.
        assert!(!peers.loads(&"tv".into(), Loads::default()).await.complete);
        assert_eq!(seen.connections.load(Ordering::Relaxed), connections);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_a_node_that_lost_its_power_ends() {
    let (power, powered) = watch::channel(true);
    let peers = Peers {
        net: Arc::new(Powered(powered)),
        ..peers_at(([127, 0, 0, 1], 1).into(), 1, &Arc::default())
    };
    let mut client = peers.engines_at("node-0").unwrap();
    let stream = client.watch_ports(ListPortsRequest {}).await.unwrap();
    let mut stream = stream.into_inner();
    let quiet = timeout(Duration::from_secs(60), stream.message()).await;
    assert!(quiet.is_err(), "it says nothing and answers pings");
    power.send_replace(false);
    let ended = timeout(Duration::from_secs(15), stream.message()).await;
    assert!(ended.expect("it ends in time").is_err());
}

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
async fn a_node_that_fell_silent_still_owns_its_values() {
    let peers = peers(&["other"], "");
    let mut keys = (0..100).map(|number| format!("key {number}"));
    let key = keys
        .find(|key| peers.owner_of_value(key) == "other")
        .unwrap();
    peers.is_dead("other");
    assert_eq!(peers.alive(), ["here"]);
    assert_eq!(peers.owner_of_value(&key), "other");
}

#[tokio::test(start_paused = true)]
async fn only_nodes_that_have_a_vpn_ask_it() {
    let first = first();
    assert_eq!(peers(&[&first], "v2,v1").owner_of_vpn("v1"), first);
    for label in ["", "v11", "v2"] {
        assert_eq!(peers(&[&first], label).owner_of_vpn("v1"), "here");
    }
}
