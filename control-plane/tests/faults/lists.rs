//! Lists of nodes and backends, page by page, from whichever instance; and what operators remove.

use tonic::Code;
use weir_proto::control::v1 as pb;

use crate::api::Api;
use crate::etcd::Etcd;
use crate::instance::Plan;
use crate::node::Node;

const CROWD: usize = 7;

/// Ids of a list of nodes, page by page, from two instances in turn.
async fn pages(ways: &[Api; 2], page_size: i32) -> Vec<Vec<String>> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    for way in ways.iter().cycle() {
        let request = pb::ListNodesRequest {
            page_size,
            page_token,
            ..pb::ListNodesRequest::default()
        };
        let page = way.nodes().list_nodes(request).await.unwrap().into_inner();
        pages.push(page.nodes.into_iter().map(|node| node.node_id).collect());
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    pages
}

#[tokio::test]
async fn lists_are_told_page_by_page_and_what_is_removed_is_gone() {
    let etcd = Etcd::start().await;
    let members = [etcd.endpoint()];
    let first = Plan::new("cp-1", &members).start().await;
    let second = Plan::new("cp-2", &members).start().await;
    let ways = [Api::to(first.address()), Api::to(second.address())];
    let nodes = Node::crowd(CROWD, &[first.address()]);
    for node in &nodes {
        let knows = |seen: &crate::node::Seen| seen.names(pb::ResourceType::Peers).len() == CROWD;
        node.until("it knows all", knows).await;
    }
    let last = format!("sim-{}", CROWD - 1);
    let is_there = |node: &pb::NodeInfo| node.presence() == pb::Presence::Connected;
    ways[1].until_node(&last, "there", is_there).await;
    let ids: Vec<String> = (0..CROWD).map(|at| format!("sim-{at}")).collect();
    let of_three: Vec<Vec<String>> = ids.chunks(3).map(<[String]>::to_vec).collect();
    assert_eq!(pages(&ways, 3).await, of_three);
    assert_eq!(pages(&ways, 0).await, [ids]);
    let forget = pb::ForgetRequest {
        node_id: last,
        author: "test".to_owned(),
    };
    let refused = ways[1].nodes().forget(forget).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().starts_with("`sim-6` is connected"),
        "{refused}"
    );
    backends(&ways).await;
}

async fn backends([one, two]: &[Api; 2]) {
    for at in 0..3 {
        let endpoint = pb::Endpoint {
            service: "web".to_owned(),
            backend_id: format!("b{at}"),
            address: "10.0.0.1:80".to_owned(),
            ..pb::Endpoint::default()
        };
        let request = pb::RegisterRequest {
            endpoint: Some(endpoint),
            ttl_ms: 600_000,
        };
        one.registry().register(request).await.unwrap();
    }
    let list = async |service: &str, page_token: &str| {
        let request = pb::ListEndpointsRequest {
            service: service.to_owned(),
            page_size: 2,
            page_token: page_token.to_owned(),
        };
        let page = two.registry().list_endpoints(request).await?.into_inner();
        let ids: Vec<String> = page.endpoints.into_iter().map(|e| e.backend_id).collect();
        Ok::<_, tonic::Status>((ids, page.next_page_token))
    };
    let (ids, token) = list("web", "").await.unwrap();
    assert_eq!(ids, ["b0", "b1"]);
    let refused = list("", &token).await.unwrap_err();
    assert!(refused.message().starts_with("page_token: "), "{refused}");
    let remove = pb::RemoveEndpointRequest {
        service: "web".to_owned(),
        backend_id: "b1".to_owned(),
        message: "left over".to_owned(),
        author: "test".to_owned(),
    };
    two.registry()
        .remove_endpoint(remove.clone())
        .await
        .unwrap();
    let again = two.registry().remove_endpoint(remove).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    assert_eq!(again.message(), "no backend is registered as `web/b1`");
    // What is gone is gone, and the next page is the same.
    let (ids, token) = list("web", &token).await.unwrap();
    assert_eq!((ids, &*token), (vec!["b2".to_owned()], ""));
    assert_eq!(list("web", "").await.unwrap().0, ["b0", "b2"]);
}
