//! Weights and registered backends are shares of new work, and nobody loses a request over them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_proto::control::v1 as pb;

use super::Node;
use super::plane::ControlPlane;
use crate::client::{Client, Load};
use crate::operator::wait_until;
use crate::steered::Steered;

/// The shortest silence that a backend may ask for.
const TTL: Duration = Duration::from_secs(2);

/// How many of so many requests over one connection each backend answers.
async fn shares(node: &Node, requests: usize) -> BTreeMap<String, usize> {
    let mut client = Client::connect(node.ingress).await;
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let answer = client.get("/").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        *counts.entry(answer.text()).or_default() += 1;
    }
    counts
}

async fn weighs(node: &Node, backend: &str, weight: u32) {
    wait_until(node, &format!("{backend} weighs {weight}"), async || {
        node.backend(backend).await["weight"] == weight
    })
    .await;
}

fn endpoint(id: &str, address: SocketAddr) -> pb::Endpoint {
    pb::Endpoint {
        service: "web".to_owned(),
        backend_id: id.to_owned(),
        address: address.to_string(),
        weight: 1,
        ..pb::Endpoint::default()
    }
}

async fn register(plane: &ControlPlane, id: &str, address: SocketAddr, ttl: Duration) -> String {
    let request = pb::RegisterRequest {
        endpoint: Some(endpoint(id, address)),
        ttl_ms: ttl.as_millis().try_into().unwrap(),
    };
    let registered = plane.registry().register(request).await.unwrap();
    registered.into_inner().registration_id
}

async fn is_there(node: &Node, id: &str, there: bool) {
    wait_until(node, &format!("{id} is there: {there}"), async || {
        node.backend(id).await.is_object() == there
    })
    .await;
}

#[tokio::test]
async fn weights_change_the_shares_of_new_work() {
    let plane = ControlPlane::start().await;
    let [one, two] = Steered::start_all(["one", "two"]).await;
    let node = Node::start("node-a", &plane, &[one.address, two.address]).await;
    let ids = [one.address.to_string(), two.address.to_string()];
    assert_eq!(
        shares(&node, 40).await,
        [("one".into(), 20), ("two".into(), 20)].into()
    );
    plane.weigh("web", &[(&ids[0], 3)]).await;
    weighs(&node, &ids[0], 3).await;
    assert_eq!(
        shares(&node, 40).await,
        [("one".into(), 30), ("two".into(), 10)].into()
    );
    let load = Load::start(node.ingress, 2);
    let set = [
        "weights",
        "set",
        "web",
        &format!("{}=0", ids[0]),
        "-m",
        "away",
    ];
    plane.weir(&set).await.done();
    weighs(&node, &ids[0], 0).await;
    load.passes(50).await;
    assert_eq!(load.stop().await.bad, [""; 0]);
    assert_eq!(shares(&node, 10).await, [("two".into(), 10)].into());
    plane
        .weir(&["weights", "unset", "web", &ids[0]])
        .await
        .done();
    weighs(&node, &ids[0], 1).await;
}

#[tokio::test]
async fn a_registered_backend_gets_work_until_it_leaves_or_falls_silent() {
    let plane = ControlPlane::start().await;
    let [one, extra] = Steered::start_all(["one", "extra"]).await;
    let node = Node::start("node-a", &plane, &[one.address]).await;
    let load = Load::start(node.ingress, 2);
    let mut registry = plane.registry();

    let registration_id = register(&plane, "extra", extra.address, TTL).await;
    is_there(&node, "extra", true).await;
    wait_until(&node, "it gets work", async || extra.requests() > 10).await;
    // It lives as long as it is heard, and for longer than it may be silent.
    let heard_until = Instant::now() + TTL + Duration::from_millis(1_500);
    while Instant::now() < heard_until {
        let heartbeat = pb::HeartbeatRequest {
            service: "web".to_owned(),
            backend_id: "extra".to_owned(),
            registration_id: registration_id.clone(),
        };
        registry.heartbeat(heartbeat).await.unwrap();
        sleep(Duration::from_millis(250)).await;
        assert!(node.backend("extra").await.is_object(), "{}", node.log());
    }
    let deregister = pb::DeregisterRequest {
        service: "web".to_owned(),
        backend_id: "extra".to_owned(),
        registration_id,
    };
    registry.deregister(deregister).await.unwrap();
    is_there(&node, "extra", false).await;

    register(&plane, "extra", extra.address, TTL).await;
    is_there(&node, "extra", true).await;
    let since = Instant::now();
    is_there(&node, "extra", false).await;
    assert!(
        since.elapsed() > Duration::from_secs(1),
        "it fell silent only now"
    );
    load.passes(20).await;
    assert_eq!(load.stop().await.bad, [""; 0]);
    let requests = extra.requests();
    shares(&node, 20).await;
    assert_eq!(extra.requests(), requests);
}

#[tokio::test]
async fn what_a_backend_says_wrongly_of_itself_is_refused_by_field() {
    let plane = ControlPlane::start().await;
    let wrong = pb::Endpoint {
        address: "nowhere".to_owned(),
        weight: 70_000,
        ..endpoint("extra", plane.address)
    };
    let request = pb::RegisterRequest {
        endpoint: Some(wrong),
        ttl_ms: 1,
    };
    let refused = plane.registry().register(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    for field in ["endpoint.address", "endpoint.weight", "ttl_ms"] {
        assert!(refused.message().contains(field), "{refused}");
    }
}
