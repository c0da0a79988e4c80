//! Changes under load: nobody notices any of them.

use super::plane::ControlPlane;
use super::three;
use crate::client;
use crate::orders_h2;
use crate::steered::Steered;

const CHANGES: usize = 200;
const POLICIES: [&str; 4] = ["random", "round_robin", "peak_ewma", "least_connections"];

#[tokio::test]
async fn two_hundred_changes_in_a_row_cost_no_request_and_the_last_one_is_in_force() {
    let plane = ControlPlane::start().await;
    let [one, two] = Steered::start_all(["one", "two"]).await;
    let nodes = three(&plane, &[one.address, two.address]).await;
    let h1 = client::Load::start(nodes[0].ingress, 2);
    let h2 = orders_h2::Load::start(&nodes[1], 1);
    for change in 1..=CHANGES {
        let timeout = format!("{}ms", 5_000 + change);
        let timeout = timeout.as_str();
        let settings = [
            ("ingress.header_timeout", timeout),
            ("upstream.read_timeout", timeout),
            ("balancer.policy", POLICIES[change % POLICIES.len()]),
            ("upstream.idle_max", if change % 2 == 0 { "0" } else { "8" }),
        ];
        match change {
            CHANGES => drop(plane.tune(&settings).await),
            _ => drop(plane.try_tune("fleet", &settings).await.unwrap()),
        }
    }
    let last = plane.node("node-a").await.wanted_hash;
    for node in &nodes {
        let seen = plane.sees_in_sync(&node.id).await;
        assert_eq!(seen.wanted_hash, last);
        let knob = node.effective(&plane, "ingress.header_timeout").await;
        assert_eq!(knob["value"], format!("{}ms", 5_000 + CHANGES));
    }
    h1.passes(20).await;
    h2.passes(20).await;
    for tally in [h1.stop().await, h2.stop().await] {
        assert_eq!(tally.bad, [""; 0]);
        assert_eq!(tally.reconnects, 0, "{tally:?}");
    }
}
