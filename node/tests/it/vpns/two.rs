//! Two VPNs: what one loses starts behind the other.

use weir_proto::node::v1::Engine;

use super::engines::{forwarded, node, pids, ready};
use super::gluetun;

fn behind(engines: &[Engine], vpn: &str) -> Vec<Engine> {
    let there = engines.iter().filter(|engine| engine.vpn == vpn);
    there.cloned().collect()
}

#[tokio::test]
async fn engines_of_a_lost_vpn_are_replaced_behind_the_other_one() {
    let (one, two) = (gluetun(&[]), gluetun(&[("ports", "7914")]));
    let keys = "min = 4\nmax = 8\nprobe.grace = \"3s\"";
    let mesh = node(&[("v1", &one), ("v2", &two)], keys).await;
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

    // Back, it is there for what comes next; what runs stays where it is.
    one.set("status", "running").unwrap();
    weir.knows("v1", "steady", |port| {
        ["stable", "healthy"].contains(&port.health.as_str()) && port.port != 0
    })
    .await;
    weir.asks(&one, 3).await;
    assert_eq!(
        pids(&behind(&weir.engines().await, "v2")),
        pids(&behind(&left, "v2"))
    );
}
