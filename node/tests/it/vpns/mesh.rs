//! Nodes that share a VPN: one asks for all, and another when it is gone.

use std::time::Duration;

use futures::future::join_all;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};
use weir_core::vpn::{NOTICED_WITHIN, silence_max};
use weir_fakes::gluetun::FakeGluetun;
use weir_proto::node::v1::port_cache_client::PortCacheClient;
use weir_proto::node::v1::{Engine, InvalidatePortRequest};

use super::{
    FAST, FAST_HEALTH_INTERVAL, HEALTH_ROUTE, LOOK_INTERVAL, PATIENCE, PORT_ROUTE, engines,
    gluetun, vpn,
};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

/// The least interval of health after which the next node has asked without exception.
const INTERVAL: Duration = Duration::from_secs(3);

const NAMES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// Three nodes that know a VPN's port and agree on who asks; the name of that one.
async fn mesh(config: &str) -> (ControlPlane, Vec<Node>, String) {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let starting = NAMES.map(|id| Node::start_as(id, &keys, config));
    let nodes = join_all(starting).await;
    let owner = agreed(&nodes.iter().collect::<Vec<_>>(), "").await;
    (plane, nodes, owner)
}

/// Waits until these nodes agree on who asks, another one than this, and know the port.
async fn agreed(nodes: &[&Node], not: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let known = join_all(nodes.iter().map(|node| node.ports())).await;
        let known: Vec<_> = known.into_iter().map(|mut ports| ports.remove(0)).collect();
        let owner = &known[0].owner;
        let is_member = nodes.iter().any(|node| node.id == *owner);
        let agree = known
            .iter()
            .all(|port| port.owner == *owner && port.port != 0 && !port.stale);
        if agree && is_member && owner != not {
            return owner.clone();
        }
        assert!(Instant::now() < deadline, "no agreement: {known:#?}");
        sleep(LOOK_INTERVAL).await;
    }
}

/// How long after the last word of the node that asks the next one has asked, for nodes that look at VPNs so often.
fn moves_within(health_interval: Duration) -> Duration {
    silence_max(health_interval) + NOTICED_WITHIN
}

/// Waits until the control server is looked at again.
async fn looked_at(fake: &FakeGluetun, node: &Node) {
    let (before, deadline) = (fake.calls(HEALTH_ROUTE), Instant::now() + PATIENCE);
    while fake.calls(HEALTH_ROUTE) == before {
        assert!(Instant::now() < deadline, "{}", node.log());
        sleep(LOOK_INTERVAL).await;
    }
}

/// What each node tells of where the port comes from.
async fn own_calls(node: &Node) -> u64 {
    let port = node.ports().await.remove(0);
    port.counters.unwrap().upstream_calls
}

#[tokio::test]
async fn three_nodes_ask_a_control_server_as_one_and_another_takes_over_when_it_is_killed() {
    let fake = gluetun(&[]);
    let (_plane, mut nodes, owner) = mesh(&(vpn("v1", &fake, "") + FAST)).await;

    // One call in the time to live less the lead, for all nodes and however many look it up.
    let until = Instant::now() + Duration::from_secs(10);
    let before = fake.calls(PORT_ROUTE);
    let health_before = fake.calls(HEALTH_ROUTE);
    let looks = nodes.iter().map(async |node| {
        let mut looks = 0;
        while Instant::now() < until {
            let port = node.port("v1").await;
            assert_eq!((port.port, port.stale), (5914, false), "{port:#?}");
            looks += 1;
            sleep(LOOK_INTERVAL).await;
        }
        looks
    });
    let looks: u32 = join_all(looks).await.into_iter().sum();
    let calls = fake.calls(PORT_ROUTE) - before;
    let health_calls = fake.calls(HEALTH_ROUTE) - health_before;
    eprintln!(
        "{looks} look-ups on 3 nodes in 10 s: {calls} calls for it, {health_calls} for health"
    );
    assert!((5..=8).contains(&calls), "{calls} calls, {looks} look-ups");
    // One for each look, each 200 ms, of one node.
    assert!((25..=51).contains(&health_calls), "{health_calls}");
    assert_eq!(
        fake.calls("GET /v1/vpn/status"),
        0,
        "an address says enough"
    );
    assert!(looks > 100, "{looks}");

    let at = nodes.iter().position(|node| node.id == owner).unwrap();
    let mut killed = nodes.remove(at);
    let nodes_left: Vec<&Node> = nodes.iter().collect();
    killed.crash().await;
    let since = Instant::now();
    looked_at(&fake, nodes_left[0]).await;
    let took = since.elapsed();
    let next = agreed(&nodes_left, &owner).await;
    let agreed_after = since.elapsed();
    eprintln!("{owner} killed; {next} asks after {took:?}, agreed after {agreed_after:?}");
    let bound = moves_within(FAST_HEALTH_INTERVAL);
    assert!(
        took < bound && agreed_after < bound,
        "{took:?}, {agreed_after:?}"
    );
    let asks = nodes.iter().find(|node| node.id == next).unwrap();
    asks.asks(&fake, 2).await;
    assert!(own_calls(asks).await >= 2);
    // What changes is known to those that follow.
    fake.restart(Duration::ZERO, &[("ports", "6021")]).unwrap();
    for node in &nodes {
        node.knows("v1", "the new port", |port| port.port == 6021)
            .await;
    }

    // Back, it asks again when the others have heard it.
    killed.start_again().await;
    nodes.push(killed);
    let all: Vec<&Node> = nodes.iter().collect();
    assert_eq!(agreed(&all, &next).await, owner);
}

#[tokio::test]
async fn when_the_node_that_asks_hangs_another_one_asks_within_one_interval_of_health() {
    let fake = gluetun(&[]);
    let interval_ms = INTERVAL.as_millis();
    let port_cache = format!("[port_cache]\nhealth_interval = \"{interval_ms}ms\"\n");
    let (_plane, nodes, owner) = mesh(&(vpn("v1", &fake, "") + &port_cache)).await;
    let asks = |node: &&Node| node.id == owner;
    let hung = nodes.iter().find(asks).unwrap();
    let others: Vec<&Node> = nodes.iter().filter(|node| !asks(node)).collect();
    hung.signal(Signal::STOP);
    let since = Instant::now();
    // What it asked for before is counted by now.
    sleep(Duration::from_millis(200)).await;
    looked_at(&fake, others[0]).await;
    let took = since.elapsed();
    let next = agreed(&others, &owner).await;
    eprintln!("{owner} hangs; {next} asks after {took:?}");
    assert!(moves_within(INTERVAL) <= INTERVAL);
    assert!(took < INTERVAL, "{took:?}");
    hung.signal(Signal::CONT);
    assert_eq!(
        agreed(&nodes.iter().collect::<Vec<_>>(), &next).await,
        owner
    );
}

#[tokio::test]
async fn an_invalidation_on_any_node_reaches_all_of_them() {
    let fake = gluetun(&[]);
    // With a time to live of a minute.
    let (_plane, nodes, owner) = mesh(&vpn("v1", &fake, "")).await;
    fake.set("ports", "6021").unwrap();
    let follower = nodes.iter().find(|node| node.id != owner).unwrap();
    let mut client = PortCacheClient::new(follower.channel());
    let request = InvalidatePortRequest {
        vpn: "v1".to_owned(),
        told: false,
    };
    let since = Instant::now();
    client.invalidate(request).await.unwrap();
    let port = timeout(PATIENCE, follower.port("v1")).await.unwrap();
    assert_eq!((port.port, port.stale), (6021, false));
    for node in &nodes {
        node.knows("v1", "the new port", |port| port.port == 6021)
            .await;
    }
    let took = since.elapsed();
    eprintln!(
        "invalidated on {}, asked by {owner}, known everywhere after {took:?}",
        follower.id
    );
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn one_engine_of_the_whole_mesh_has_the_port_also_after_its_node_was_killed() {
    let fake = gluetun(&[]);
    let keys = format!("ports = \"{}\"", engines::ports());
    let service = engines::service(&["v1"], "min = 3\nmax = 6\nreplacement_cooldown = \"0s\"");
    let config = service + &vpn("v1", &fake, &keys) + FAST;
    let (_plane, mut nodes, _) = mesh(&config).await;
    let (at, before) = leader_among(&nodes).await;
    assert_eq!(before.p2p_port, 5914);
    let mut killed = nodes.remove(at);
    killed.crash().await;
    let since = Instant::now();
    let (_, after) = leader_among(&nodes).await;
    eprintln!(
        "{} killed; {} has the port after {:?}",
        before.id,
        after.id,
        since.elapsed()
    );
    assert_ne!(after.pid, before.pid);
}

/// Waits until three engines are in traffic on these nodes and exactly one has the port; it, and where it is.
async fn leader_among(nodes: &[Node]) -> (usize, Engine) {
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        let engines = join_all(nodes.iter().map(|node| node.engines())).await;
        let all: Vec<Engine> = engines.concat();
        let at = engines
            .iter()
            .position(|engines| engines.iter().any(|engine| engine.forwarded));
        let leader = engines::forwarded(&all, "v1").filter(|leader| leader.state == "ready");
        if let (Some(at), Some(leader), true) = (at, leader, engines::ready(&all) >= 3) {
            return (at, leader.clone());
        }
        let logs: String = nodes.iter().map(|node| node.log()).collect();
        assert!(
            Instant::now() < deadline,
            "no engine has the port: {all:#?}\n{logs}"
        );
        sleep(LOOK_INTERVAL).await;
    }
}
