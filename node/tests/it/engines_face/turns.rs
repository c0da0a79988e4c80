//! Engines on several nodes that are to be replaced: one at a time in the whole mesh, whichever node has it.

use tokio::time::timeout;
use weir_fakes::gluetun::FakeGluetun;
use weir_proto::node::v1 as pb;

use super::{ask, client, is_ready, json, seen};
use crate::client::Load;
use crate::common::PATIENCE;
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;
use crate::operator::wait_until;
use crate::vpns::engines::{ports, service};
use crate::vpns::{FAST, gluetun, vpn};

/// Two nodes that have these VPNs, and one engine each of `tv`, behind the VPN that is named first.
async fn one_on_each(
    plane: &ControlPlane,
    vpns: &[(&str, &FakeGluetun)],
    keys: &str,
) -> (Node, Node) {
    let names: Vec<&str> = vpns.iter().map(|(name, _)| *name).collect();
    let config = |first_max: u32| {
        let section = |(at, (name, fake)): (usize, &(&str, &FakeGluetun))| {
            let most = if at == 0 { first_max } else { 9 };
            let keys = format!(
                "ports = \"{}\"\nforwards_port = false\nengines_max = {most}\n",
                ports()
            );
            vpn(name, fake, &keys)
        };
        let sections: String = vpns.iter().enumerate().map(section).collect();
        let keys = format!("min = 2\nreplacement_cooldown = \"0s\"\n{keys}");
        format!("{}{sections}{FAST}", service(&names, &keys))
    };
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    // It starts no second one behind that VPN, so that one is left to the other node.
    let a = Node::start_as("node-a", &keys, &config(1)).await;
    seen(&a, false, "one on the first node", |list| ready(list) == 1).await;
    let b = Node::start_as("node-b", &keys, &config(9)).await;
    seen(&b, true, "one on each", |list| {
        let on = |node: &str| list.engines.iter().any(|one| one.node == node);
        ready(list) == 2 && on("node-a") && on("node-b")
    })
    .await;
    (a, b)
}

fn ready(list: &pb::ListEnginesResponse) -> usize {
    list.engines.iter().filter(is_ready).count()
}

/// Follows the engines of the mesh until it is so; meanwhile so many serve at least.
async fn until(
    node: &Node,
    serve: usize,
    mut is_so: impl FnMut(&pb::ListEnginesResponse) -> bool,
) -> Vec<pb::Engine> {
    let request = pb::ListEnginesRequest { mesh: true };
    let lists = client(node).await.watch_engines(request).await;
    let mut lists = lists.unwrap().into_inner();
    let mut last = None;
    let looking = async {
        loop {
            let list = lists.message().await.unwrap().expect("the node lives");
            assert!(ready(&list) >= serve, "{list:#?}\n{}", node.log());
            if is_so(&list) {
                return list.engines;
            }
            last = Some(list);
        }
    };
    let found = timeout(PATIENCE * 2, looking).await;
    found.unwrap_or_else(|_| panic!("not so: {last:#?}\n{}", node.log()))
}

#[tokio::test]
async fn of_two_nodes_that_could_move_an_engine_to_a_vpn_that_is_back_one_does() {
    let plane = ControlPlane::start().await;
    let (one, two) = (gluetun(&[]), gluetun(&[("status", "crashed")]));
    let keys = "max = 4\nrebalance_after = \"1s\"";
    let (a, b) = one_on_each(&plane, &[("v1", &one), ("v2", &two)], keys).await;
    two.set("status", "running").unwrap();
    let behind = |list: &pb::ListEnginesResponse, vpn: &str| {
        let engines = list.engines.iter();
        engines
            .filter(|one| is_ready(one) && one.vpn == vpn)
            .count()
    };
    let spread = until(&b, 2, |list| {
        list.engines.len() == 2 && behind(list, "v1") == 1 && behind(list, "v2") == 1
    })
    .await;
    // Both nodes look each second; spread evenly all stay.
    b.asks_health(&two, 10).await;
    let mut told = 0;
    for node in [&a, &b] {
        let events = json(&ask(node, "GET", "/api/events?kind=engine.rebalanced", "", "").await);
        told += events["events"].as_array().unwrap().len();
    }
    assert_eq!(told, 1);
    let after = until(&b, 2, |_| true).await;
    let pids = |engines: &[pb::Engine]| engines.iter().map(|one| one.pid).collect::<Vec<_>>();
    assert_eq!(pids(&after), pids(&spread));
}

#[tokio::test]
async fn without_a_place_for_one_more_outdated_engines_of_two_nodes_make_way_one_after_the_other() {
    let plane = ControlPlane::start().await;
    let fake = gluetun(&[]);
    let keys = "max = 2\nenv = { VERSION = \"1\" }";
    let (a, b) = one_on_each(&plane, &[("v1", &fake)], keys).await;
    wait_until(&a, "it reaches both", async || {
        a.get_api("/api/services")
            .await
            .unwrap()
            .1
            .matches("tv-")
            .count()
            >= 2
    })
    .await;
    let load = Load::start(a.ingress, 4);
    load.passes(100).await;
    for node in [&a, &b] {
        node.mend("VERSION = \"1\"", "VERSION = \"2\"");
    }
    let mut outdated = 0;
    let renewed = until(&b, 1, |list| {
        let now = list.engines.iter().filter(|one| one.outdated).count();
        outdated = outdated.max(now);
        outdated == 2 && now == 0 && list.engines.len() == 2 && ready(list) == 2
    })
    .await;
    assert_ne!(renewed[0].pid, renewed[1].pid);
    load.passes(100).await;
    let tally = load.stop().await;
    assert!(tally.bad.is_empty(), "{:?}\n{}", tally.bad, a.log());
}
