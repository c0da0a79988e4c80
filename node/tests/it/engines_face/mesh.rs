//! Several nodes with one control plane.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_proto::node::v1::GetServiceRequest;
use weir_proto::node::v1::load_balancer_client::LoadBalancerClient;

use super::{ask, engines, is_ready, json, ready, seen};
use crate::client::Client;
use crate::common::PATIENCE;
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;
use crate::grpc::channel;

#[tokio::test]
async fn an_engine_is_seen_and_stopped_through_any_node() {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let a = Node::start_as("node-a", &keys, &engines(2, 3)).await;
    let b = Node::start_as("node-b", &keys, "").await;
    for node in [&a, &b] {
        plane.sees_connected(&node.id).await;
    }
    let list = seen(&b, true, "two are ready", |list| {
        list.engines.iter().filter(is_ready).count() == 2
    })
    .await;
    assert!(list.unreachable_nodes.is_empty(), "{list:?}");
    assert!(
        list.engines.iter().all(|engine| engine.node == "node-a"),
        "{list:?}"
    );
    let first = &list.engines[0];
    let list_before = &list;
    let (code, text) = b.command(&["engines", "list"]).await;
    assert!(code == 0 && text.contains(&first.id), "{text}");
    let (_, text) = b.command(&["engines", "list", "--node-only"]).await;
    assert!(!text.contains(&first.id), "{text}");

    let lines = format!("/api/engines/{}/logs?lines=1", first.id);
    let told = ask(&b, "GET", &lines, "", "").await;
    assert_eq!(json(&told)["lines"], serde_json::json!([first.address]));
    let nowhere = ask(&b, "DELETE", "/api/engines/tv-1", "", "").await;
    assert_eq!(nowhere.status, 404, "{nowhere:?}");
    let second = format!("/api/engines/{}?now=true", list.engines[1].id);
    let stopped = ask(&b, "DELETE", &second, "", "").await;
    assert_eq!(stopped.status, 202, "{stopped:?}");
    let (code, text) = b.command(&["engines", "stop", &first.id, "--now"]).await;
    assert_eq!(code, 0, "{text}");
    seen(&b, true, "it is replaced", |list| {
        let ready = list.engines.iter().filter(is_ready);
        let before = [first.pid, list_before.engines[1].pid];
        ready.filter(|engine| !before.contains(&engine.pid)).count() == 2
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_drains_ends_what_it_serves_for_another_node() {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let config = engines(1, 1);
    let a = Node::start_as("node-a", &keys, &config).await;
    let route = "[services.web]\nbackends = []\n[[routes]]\nservice = \"web\"\n";
    let b = Node::start_as("node-b", &keys, route).await;
    for node in [&a, &b] {
        plane.sees_connected(&node.id).await;
    }
    let engine = ready(&a, 1).await.remove(0);
    let deadline = Instant::now() + PATIENCE;
    while !b.get("/").await.starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < deadline, "{}", b.log());
        sleep(Duration::from_millis(50)).await;
    }
    let mut slow = Client::connect(b.ingress).await;
    let slow = async { slow.get("/slow?ms=3000").await.unwrap() };
    let stop = async {
        // The request is on its way: the engine serves it when it is told to stop.
        until_in_flight(&b).await;
        let (code, text) = a.command(&["engines", "stop", &engine.id]).await;
        assert_eq!(code, 0, "{text}");
    };
    let (answer, ()) = tokio::join!(slow, stop);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", a.log());
}

#[tokio::test]
async fn what_an_engine_serves_for_other_nodes_counts_as_its_use() {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let config = engines(1, 2).replace("max = 2", "max = 2\nuses_max = 50");
    let a = Node::start_as("node-a", &keys, &config).await;
    let route = "[services.web]\nbackends = []\n[[routes]]\nservice = \"web\"\n";
    let b = Node::start_as("node-b", &keys, route).await;
    for node in [&a, &b] {
        plane.sees_connected(&node.id).await;
    }
    let first = ready(&a, 1).await.remove(0);
    let mut good = 0;
    let mut use_it = async |times: u64| {
        while good < times {
            good += u64::from(b.get("/").await.starts_with("HTTP/1.1 200 "));
            sleep(Duration::from_millis(20)).await;
        }
    };
    use_it(30).await;
    seen(&a, false, "each is counted once", |list| {
        let mut engines = list.engines.iter();
        engines.any(|engine| engine.pid == first.pid && engine.uses == 30)
    })
    .await;
    let used = use_it(u64::MAX);
    let another = seen(&a, false, "another one is ready", |list| {
        let mut ready = list.engines.iter().filter(is_ready);
        ready.any(|engine| engine.pid != first.pid)
    });
    tokio::select! {
        () = used => unreachable!("it is used on"),
        _ = another => {}
    }
    assert!(good >= 50, "replaced after {good}");
}

/// Waits until a request is under way on the backend of the service.
async fn until_in_flight(node: &Node) {
    let deadline = Instant::now() + PATIENCE;
    let mut client = LoadBalancerClient::new(channel(node.grpc).await);
    loop {
        let request = GetServiceRequest {
            service: "web".to_owned(),
        };
        let told = client.get_service(request).await.unwrap().into_inner();
        let mut backends = told.backends.iter();
        if backends.any(|backend| backend.in_flight > 0) {
            return;
        }
        assert!(Instant::now() < deadline, "{told:#?}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named() {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let a = Node::start_as("node-a", &keys, &engines(1, 1)).await;
    let mut b = Node::start_as("node-b", &keys, "").await;
    for node in [&a, &b] {
        plane.sees_connected(&node.id).await;
    }
    seen(&a, true, "both answer", |list| {
        list.engines.iter().any(|engine| is_ready(&engine)) && list.unreachable_nodes.is_empty()
    })
    .await;
    b.crash().await;
    seen(&a, true, "one does not answer", |list| {
        list.engines.len() == 1 && list.unreachable_nodes == ["node-b"]
    })
    .await;
    let (code, text) = a.command(&["engines"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("they do not answer: engines of node-b"),
        "{text}"
    );
    let (code, text) = a.command(&["engines", "stop", "tv-1"]).await;
    assert!(
        code == 4 && text.contains("; node-b did not answer"),
        "{text}"
    );
}
