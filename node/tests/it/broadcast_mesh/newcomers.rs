//! A node that drains lets nobody in who would have to leave again, as long as another one would.

use futures::future::join_all;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_client::BroadcastClient;

use crate::client::Client;
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;
use crate::orders::{DRAIN, NONE, order};
use crate::overview::openapi::refused_as_told;

const CONFIG: &str = "[broadcaster]\nanonymous = \"all\"\n\
                      [[routes]]\npath_exact = \"/live\"\nbroadcast = true\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const EVENTS: &str = "Accept: text/event-stream\r\n";

#[tokio::test]
async fn newcomers_of_a_node_that_drains_are_told_of_another_one_by_the_way_that_they_came() {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let nodes = join_all(["node-a", "node-b"].map(|id| Node::start_as(id, &keys, CONFIG))).await;
    for node in &nodes {
        node.says("messages of a node are heard").await;
    }
    let (from, to) = (&nodes[0], &nodes[1]);
    assert_eq!(
        from.post_api("/api/topics/kept", "\"kept text\"").await,
        200
    );
    assert_eq!(order(from, DRAIN).await, "draining");
    for (address, path, head, there) in [
        (from.ingress, "/live?topic=a", UPGRADE, to.ingress),
        (from.ingress, "/live?topic=a", EVENTS, to.ingress),
        (from.ingress, "/live?topic=a&wait=1s", "", to.ingress),
        (from.api, "/ws?topic=a", UPGRADE, to.api),
        (from.api, "/sse?topic=a", EVENTS, to.api),
        (from.api, "/poll?topic=a&wait=1s", "", to.api),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
        let answer = Client::connect(address).await.ask(&request).await.unwrap();
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1")),
            "{path}: {}",
            answer.text()
        );
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(told["alternative"], there.to_string(), "{path}: {told}");
        if address == from.api {
            refused_as_told(from, path, &answer).await;
        }
    }
    let mut client = BroadcastClient::new(crate::grpc::channel(from.grpc).await);
    let request = || pb::SubscribeRequest {
        topics: vec![pb::TopicSubscription {
            topic: "a".to_owned(),
            since: None,
        }],
        ..pb::SubscribeRequest::default()
    };
    let refused = client.subscribe(request()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    let there = refused.metadata().get("weir-alternative");
    let there = there.map(|there| there.to_str().unwrap());
    assert_eq!(there, Some(&*to.grpc.to_string()), "{refused:?}");
    // Whoever only reads what is kept is answered.
    let (status, kept) = from.get_api("/api/topics/kept").await.unwrap();
    assert!(status == 200 && kept.contains("kept text"), "{kept}");
    order(from, NONE).await;
    client.subscribe(request()).await.unwrap();
}
