//! Two VPNs: what one loses starts behind the other, and comes back when it is stable again.

use std::collections::BTreeSet;

use weir_fakes::gluetun::FakeGluetun;
use weir_proto::node::v1::Engine;

use super::engines::{Mesh, forwarded, node, pids, ready};
use super::gluetun;

fn behind(engines: &[Engine], vpn: &str) -> Vec<Engine> {
    let there = engines.iter().filter(|engine| engine.vpn == vpn);
    there.cloned().collect()
}

/// A node whose four engines were spread over two VPNs, and are all behind `v2` since the other one was lost.
async fn four_behind_the_other(one: &FakeGluetun, two: &FakeGluetun, keys: &str) -> Mesh {
    let keys =
        format!("min = 4\nmax = 8\nprobe.grace = \"3s\"\nreplacement_cooldown = \"0s\"\n{keys}");
    let mesh = node(&[("v1", one), ("v2", two)], &keys).await;
    let weir = &mesh.weir;
    let before = weir
        .runs("two engines behind each, one with the port", |engines| {
            let half = |vpn| ready(&behind(engines, vpn)) == 2 && forwarded(engines, vpn).is_some();
            ready(engines) == 4 && half("v1") && half("v2")
        })
        .await;
    assert_eq!(forwarded(&before, "v1").unwrap().p2p_port, 5914);
    assert_eq!(forwarded(&before, "v2").unwrap().p2p_port, 7914);

    one.set("status", "crashed").unwrap();
    let moved = weir
        .runs("four engines behind the one that is left", |engines| {
            ready(&behind(engines, "v2")) == 4
        })
        .await;
    let kept = pids(&behind(&before, "v2"));
    assert!(
        kept.iter().all(|one| pids(&moved).contains(one)),
        "{moved:#?}"
    );
    assert_eq!(ready(&behind(&moved, "v1")), 0);
    assert!(forwarded(&moved, "v2").is_some_and(|engine| engine.p2p_port == 7914));
    let left = weir
        .runs("those of the lost one are gone", |engines| {
            behind(engines, "v1").is_empty()
        })
        .await;
    assert_eq!(ready(&left), 4);
    mesh
}

async fn is_back(mesh: &Mesh, one: &FakeGluetun) {
    one.set("status", "running").unwrap();
    mesh.weir
        .knows("v1", "steady", |port| {
            ["stable", "healthy"].contains(&port.health.as_str()) && port.port != 0
        })
        .await;
}

#[tokio::test]
async fn engines_of_a_lost_vpn_are_replaced_behind_the_other_one_and_spread_again_when_it_is_back()
{
    let (one, two) = (gluetun(&[]), gluetun(&[("ports", "7914")]));
    let mesh = four_behind_the_other(&one, &two, "rebalance_after = \"1s\"").await;
    let weir = &mesh.weir;
    let before = weir.engines().await;
    let leader = forwarded(&before, "v2").unwrap().clone();
    is_back(&mesh, &one).await;

    let (mut least_ready, mut most_on_the_way) = (4, 0);
    let mut left = BTreeSet::new();
    let spread = weir
        .runs("two engines behind each again", |engines| {
            least_ready = least_ready.min(ready(engines));
            let on_the_way = engines.iter().filter(|engine| engine.state != "ready");
            most_on_the_way = most_on_the_way.max(on_the_way.count());
            let now = pids(engines);
            left.extend(pids(&before).into_iter().filter(|one| !now.contains(one)));
            engines.len() == 4
                && ["v1", "v2"]
                    .iter()
                    .all(|vpn| ready(&behind(engines, vpn)) == 2)
        })
        .await;
    assert_eq!(least_ready, 4, "a successor serves before an engine leaves");
    // The successor and, a moment later, the one that makes way.
    assert!(most_on_the_way <= 1, "{most_on_the_way}");
    assert_eq!(left.len(), 2, "no more than evens them out: {left:?}");
    assert!(pids(&spread).contains(&(leader.id.clone(), leader.pid)));
    assert_eq!(forwarded(&spread, "v1").unwrap().p2p_port, 5914);
    assert_eq!(forwarded(&spread, "v2").unwrap().pid, leader.pid);
    let (_, events) = weir
        .get_api("/api/events?kind=engine.rebalanced")
        .await
        .unwrap();
    let events: serde_json::Value = serde_json::from_str(&events).unwrap();
    let told = events["events"].as_array().unwrap();
    let of_event = |event: &serde_json::Value| event["attributes"].to_string();
    assert_eq!(told.len(), 2, "{events}");
    assert!(
        told.iter()
            .all(|event| of_event(event).contains("v1") && of_event(event).contains("v2")),
        "{events}"
    );

    // Spread evenly they stay.
    weir.asks(&one, 3).await;
    assert_eq!(pids(&weir.engines().await), pids(&spread));
}

#[tokio::test]
async fn engines_stay_where_they_are_when_they_are_told_to() {
    let (one, two) = (gluetun(&[]), gluetun(&[("ports", "7914")]));
    let mesh = four_behind_the_other(&one, &two, "rebalance_after = \"off\"").await;
    let before = pids(&mesh.weir.engines().await);
    is_back(&mesh, &one).await;
    mesh.weir.asks(&one, 3).await;
    assert_eq!(pids(&mesh.weir.engines().await), before);
}
