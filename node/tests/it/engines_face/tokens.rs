//! Nodes that show each other a token, and what becomes of calls about engines with another one.

use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use weir_proto::node::v1::engine_peer_client::EnginePeerClient;
use weir_proto::node::v1::{ListEnginesRequest, ListPortsRequest, StopEngineRequest};

use super::{engines, is_ready, seen};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;
use crate::grpc::channel;

#[tokio::test]
async fn nodes_ask_and_are_asked_of_engines_only_with_the_token_of_the_mesh() {
    let plane = ControlPlane::start().await;
    let folder = tempfile::tempdir().unwrap();
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let with = |token: &str, config: &str| {
        let file = folder.path().join(token);
        std::fs::write(&file, token).unwrap();
        format!("{config}\n[peers]\ntoken = \"file:{}\"\n", file.display())
    };
    let a = Node::start_as("node-a", &keys, &with("right", &engines(1, 1))).await;
    let b = Node::start_as("node-b", &keys, &with("right", "")).await;
    let c = Node::start_as("node-c", &keys, &with("wrong", "")).await;
    for node in [&a, &b, &c] {
        plane.sees_connected(&node.id).await;
    }
    seen(&b, true, "who shows the token is told of engines", |list| {
        list.engines.iter().any(|engine| is_ready(&engine))
    })
    .await;
    seen(&b, true, "who has another token tells nothing", |list| {
        list.unreachable_nodes == ["node-c"]
    })
    .await;
    let list = seen(
        &c,
        true,
        "who shows another token is told nothing",
        |list| list.unreachable_nodes.len() == 2,
    )
    .await;
    assert!(list.engines.is_empty(), "{list:?}");
    // Operators show no token.
    seen(&a, false, "its engine is ready", |list| {
        list.engines.iter().any(|engine| is_ready(&engine))
    })
    .await;

    let mut client = EnginePeerClient::new(channel(a.grpc).await);
    for (token, expected) in [
        (None, Some(Code::Unauthenticated)),
        (Some("Bearer wrong"), Some(Code::Unauthenticated)),
        (Some("Bearer right"), None),
    ] {
        let list = shown(ListEnginesRequest { mesh: false }, token);
        let refused = client.list_engines(list).await.err();
        assert_eq!(refused.map(|status| status.code()), expected, "{token:?}");
        let watch = shown(ListPortsRequest {}, token);
        let refused = client.watch_ports(watch).await.err();
        assert_eq!(refused.map(|status| status.code()), expected, "{token:?}");
        let stop = StopEngineRequest {
            engine_id: "nobody".to_owned(),
            now: true,
        };
        let refused = client.stop_engine(shown(stop, token)).await.unwrap_err();
        assert_eq!(refused.code(), expected.unwrap_or(Code::NotFound));
    }
}

fn shown<T>(message: T, token: Option<&'static str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let token = MetadataValue::from_static(token);
        request.metadata_mut().insert("authorization", token);
    }
    request
}
