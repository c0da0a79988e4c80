//! The node's own gRPC: what an operator sees and changes.

use std::net::SocketAddr;

use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Status};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::load_balancer_client::LoadBalancerClient;
use weir_proto::node::v1::node_client::NodeClient;
use weir_proto::node::v1::{Backend, Service, Standing};

use crate::common::{PATIENCE, Weir, web};
use crate::grpc::channel;
use crate::recorder::Recorder;

/// A node before two backends, and an operator's client.
async fn node() -> (Weir, [SocketAddr; 2], LoadBalancerClient<Channel>) {
    let addresses = [Recorder::start().await, Recorder::start().await];
    let addresses = addresses.map(|backend| backend.address);
    let weir = Weir::start(&web(&addresses, "")).await;
    let client = LoadBalancerClient::new(channel(weir.grpc).await);
    (weir, addresses, client)
}

fn backend(service: &Service, address: SocketAddr) -> &Backend {
    let found = service
        .backends
        .iter()
        .find(|b| b.id == address.to_string());
    found.unwrap()
}

fn named(address: SocketAddr) -> pb::BackendRequest {
    pb::BackendRequest {
        service: "web".to_owned(),
        backend: address.to_string(),
    }
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// Requests that each backend has answered.
async fn served(client: &mut LoadBalancerClient<Channel>, addresses: [SocketAddr; 2]) -> [u64; 2] {
    let request = pb::GetServiceRequest {
        service: "web".to_owned(),
    };
    let service = client.get_service(request).await.unwrap().into_inner();
    addresses.map(|address| backend(&service, address).requests)
}

/// Sends requests and tells how many each backend got of them.
async fn spread(
    weir: &Weir,
    client: &mut LoadBalancerClient<Channel>,
    addresses: [SocketAddr; 2],
) -> [u64; 2] {
    let before = served(client, addresses).await;
    for _ in 0..20 {
        let answer = weir.get("/").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    let after = served(client, addresses).await;
    [after[0] - before[0], after[1] - before[1]]
}

#[tokio::test]
async fn services_are_listed_and_found_by_name() {
    let (_weir, addresses, mut client) = node().await;
    let list = client.list_services(pb::ListServicesRequest {}).await;
    let list = list.unwrap().into_inner();
    assert_eq!(list.services.len(), 1);
    let service = &list.services[0];
    assert_eq!(
        (&*service.name, service.healthy, service.panic),
        ("web", 2, false)
    );
    for address in addresses {
        let backend = backend(service, address);
        assert_eq!(backend.standing(), Standing::In);
        assert_eq!(
            (&*backend.address, backend.weight),
            (&*address.to_string(), 1)
        );
    }
    let request = pb::GetServiceRequest {
        service: "web".to_owned(),
    };
    let found = client.get_service(request).await.unwrap().into_inner();
    assert_eq!(found.name, "web");
}

#[tokio::test]
async fn a_backend_of_weight_zero_gets_no_request() {
    let (weir, addresses, mut client) = node().await;
    let request = pb::SetWeightRequest {
        service: "web".to_owned(),
        backend: addresses[0].to_string(),
        weight: 0,
    };
    let service = client.set_weight(request).await.unwrap().into_inner();
    let changed = backend(&service, addresses[0]);
    assert_eq!(
        (changed.weight, changed.standing()),
        (0, Standing::Weightless)
    );
    assert_eq!(spread(&weir, &mut client, addresses).await, [0, 20]);
}

#[tokio::test]
async fn a_drained_backend_gets_no_request_until_undrained() {
    let (weir, addresses, mut client) = node().await;
    let request = pb::DrainRequest {
        service: "web".to_owned(),
        backend: addresses[0].to_string(),
        deadline_ms: Some(60_000),
    };
    let service = client.drain(request).await.unwrap().into_inner();
    let standing = backend(&service, addresses[0]).standing();
    assert!(
        matches!(standing, Standing::Draining | Standing::Drained),
        "{standing:?}"
    );
    assert_eq!(spread(&weir, &mut client, addresses).await, [0, 20]);
    let service = client
        .undrain(named(addresses[0]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(backend(&service, addresses[0]).standing(), Standing::In);
    let [first, second] = spread(&weir, &mut client, addresses).await;
    assert!(first > 0 && first + second == 20, "{first} {second}");
}

#[tokio::test]
async fn an_ejected_backend_gets_no_request_until_restored() {
    let (weir, addresses, mut client) = node().await;
    let request = pb::EjectRequest {
        service: "web".to_owned(),
        backend: addresses[0].to_string(),
        duration_ms: None,
    };
    let service = client.eject(request).await.unwrap().into_inner();
    let ejected = backend(&service, addresses[0]);
    assert_eq!(ejected.standing(), Standing::Ejected);
    assert!(!ejected.reason.is_empty());
    assert_eq!(spread(&weir, &mut client, addresses).await, [0, 20]);
    let service = client
        .restore(named(addresses[0]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(backend(&service, addresses[0]).standing(), Standing::In);
    let [first, second] = spread(&weir, &mut client, addresses).await;
    assert!(first > 0 && first + second == 20, "{first} {second}");
}

#[tokio::test]
async fn a_watcher_sees_the_list_at_once_and_each_change() {
    let (_weir, addresses, mut client) = node().await;
    let request = pb::WatchServicesRequest {
        service: "web".to_owned(),
    };
    let mut lists = client.watch_services(request).await.unwrap().into_inner();
    let first = timeout(PATIENCE, lists.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(first.services.len(), 1);
    client
        .drain(pb::DrainRequest {
            service: "web".to_owned(),
            backend: addresses[1].to_string(),
            deadline_ms: None,
        })
        .await
        .unwrap();
    let changed = async {
        loop {
            let list = lists.next().await.unwrap().unwrap();
            assert!(list.revision > first.revision);
            if backend(&list.services[0], addresses[1]).standing() == Standing::Drained {
                return;
            }
        }
    };
    timeout(PATIENCE, changed)
        .await
        .expect("the change is not seen");
}

#[tokio::test]
async fn unknown_names_are_not_found() {
    let (_weir, addresses, mut client) = node().await;
    let nobody = || named(SocketAddr::from(([127, 0, 0, 9], 9)));
    let mut elsewhere = named(addresses[0]);
    elsewhere.service = "nobody".to_owned();
    assert_eq!(code(client.undrain(nobody()).await), Code::NotFound);
    assert_eq!(code(client.restore(nobody()).await), Code::NotFound);
    assert_eq!(code(client.restore(elsewhere).await), Code::NotFound);
    let request = pb::GetServiceRequest {
        service: "nobody".to_owned(),
    };
    assert_eq!(code(client.get_service(request).await), Code::NotFound);
    let request = pb::WatchServicesRequest {
        service: "nobody".to_owned(),
    };
    assert_eq!(code(client.watch_services(request).await), Code::NotFound);
}

#[tokio::test]
async fn values_out_of_bounds_are_invalid_and_change_nothing() {
    let (_weir, addresses, mut client) = node().await;
    let (service, backend) = ("web".to_owned(), addresses[0].to_string());
    let request = pb::SetWeightRequest {
        service: service.clone(),
        backend: backend.clone(),
        weight: 65_536,
    };
    assert_eq!(
        code(client.set_weight(request).await),
        Code::InvalidArgument
    );
    let too_long = Some(30 * 86_400_000 + 1);
    let request = pb::DrainRequest {
        service: service.clone(),
        backend: backend.clone(),
        deadline_ms: too_long,
    };
    assert_eq!(code(client.drain(request).await), Code::InvalidArgument);
    let request = pb::EjectRequest {
        service,
        backend,
        duration_ms: too_long,
    };
    assert_eq!(code(client.eject(request).await), Code::InvalidArgument);
    let list = client.list_services(pb::ListServicesRequest {}).await;
    assert_eq!(list.unwrap().into_inner().services[0].healthy, 2);
}

#[tokio::test]
async fn status_health_and_reflection_answer() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let (weir, _addresses, _client) = node().await;
    let channel = channel(weir.grpc).await;
    let mut client = NodeClient::new(channel.clone());
    let status = client
        .get_status(pb::GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!((&*status.node, &*status.state), ("node-1", "ready"));
    assert_eq!(
        (status.services[0].healthy, status.services[0].total),
        (2, 2)
    );
    let mut client = HealthClient::new(channel.clone());
    for service in ["", "weir.node.v1.LoadBalancer"] {
        let service = service.to_owned();
        let answer = client.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(answer.into_inner().status, 1);
    }
    let mut client = ServerReflectionClient::new(channel);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client
        .server_reflection_info(tokio_stream::iter([request]))
        .await;
    let answer = answers
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| &*service.name).collect();
    assert_eq!(
        names,
        [
            "weir.node.v1.LoadBalancer",
            "weir.node.v1.Node",
            "weir.node.v1.Provision",
            "weir.node.v1.PortCache",
            "weir.node.v1.Cache",
            "weir.node.v1.CachePeer",
            "weir.node.v1.Broadcast",
            "weir.node.v1.BroadcastPeer",
            "weir.node.v1.EnginePeer",
            "weir.node.v1.Events",
            "weir.node.v1.Traces",
            "weir.node.v1.Logs",
            "weir.node.v1.Overview",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
        ]
    );
}
