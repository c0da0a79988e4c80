//! gRPC through the ingress, with a client as everybody uses it.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use weir_proto::demo::v1::EchoRequest;
use weir_proto::demo::v1::echo_client::EchoClient;

use crate::common::{Backend, PATIENCE, Weir, free_ports, web};

const GRPC: &str = "protocol = \"grpc\"";

pub async fn channel(address: std::net::SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

/// A node before one demo backend, and a client of the node.
async fn echo() -> (Weir, Backend, EchoClient<Channel>) {
    let backend = Backend::start("one").await;
    let weir = Weir::start(&web(&[backend.address], GRPC)).await;
    let client = EchoClient::new(channel(weir.ingress).await);
    (weir, backend, client)
}

fn say(message: &str) -> EchoRequest {
    EchoRequest {
        message: message.to_owned(),
        ..EchoRequest::default()
    }
}

fn reason(status: &Status) -> &str {
    status
        .metadata()
        .get("x-weir-reason")
        .unwrap()
        .to_str()
        .unwrap()
}

#[tokio::test]
async fn a_unary_call_and_its_answer_pass() {
    let (_weir, _backend, mut client) = echo().await;
    let answer = client.unary(say("hello")).await.unwrap();
    assert_eq!(answer.metadata().get("via").unwrap(), "2 node-1");
    let answer = answer.into_inner();
    assert_eq!((&*answer.message, &*answer.backend), ("hello", "one"));
    // Larger than the windows of a stream.
    let large = "x".repeat(3 << 20);
    let answer = client.unary(say(&large)).await.unwrap().into_inner();
    assert_eq!(answer.message.len(), large.len());
}

#[tokio::test]
async fn each_message_of_a_server_stream_passes_as_it_comes() {
    let (_weir, _backend, mut client) = echo().await;
    let request = EchoRequest {
        count: 2,
        interval_ms: 300,
        ..say("again")
    };
    let mut answers = client.server_stream(request).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().message, "again");
    let first = Instant::now();
    assert_eq!(answers.message().await.unwrap().unwrap().message, "again");
    assert!(first.elapsed() > Duration::from_millis(200));
    assert!(answers.message().await.unwrap().is_none());
    assert!(answers.trailers().await.unwrap().is_some());
}

#[tokio::test]
async fn a_client_stream_is_joined_by_the_backend() {
    let (_weir, _backend, mut client) = echo().await;
    let requests = tokio_stream::iter(["a", "b", "c"].map(say));
    let answer = client.client_stream(requests).await.unwrap().into_inner();
    assert_eq!(answer.message, "abc");
}

#[tokio::test]
async fn each_message_of_a_bidirectional_stream_is_answered_before_the_next_is_sent() {
    let (_weir, _backend, mut client) = echo().await;
    let (sender, receiver) = mpsc::channel(1);
    sender.send(say("0")).await.unwrap();
    let requests = ReceiverStream::new(receiver);
    let answers = client.bidirectional_stream(requests).await.unwrap();
    let mut answers = answers.into_inner();
    for at in 1..20 {
        let answer = timeout(PATIENCE, answers.message()).await.unwrap();
        assert_eq!(answer.unwrap().unwrap().message, (at - 1).to_string());
        sender.send(say(&at.to_string())).await.unwrap();
    }
    drop(sender);
    assert_eq!(answers.message().await.unwrap().unwrap().message, "19");
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn the_backends_status_and_message_pass() {
    let (weir, _backend, mut client) = echo().await;
    for code in [Code::NotFound, Code::Unavailable, Code::DeadlineExceeded] {
        let request = EchoRequest {
            fail_with: code as u32,
            ..say("")
        };
        let status = client.unary(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, "as you wished"));
        assert!(status.metadata().get("x-weir-reason").is_none());
    }
    // Of these, only "unavailable" says that the backend failed.
    assert_eq!(weir.metric("weir_backend_failures_total").await, 1.0);
}

#[tokio::test]
async fn what_the_node_answers_itself_is_a_grpc_status_with_its_reason() {
    let [_, _, _, dead] = free_ports();
    let config = format!(
        "[services.dead]\nbackends = [\"{dead}\"]\n{GRPC}\n[services.none]\nbackends = []\n{GRPC}\n\
         [[routes]]\nservice = \"dead\"\npath = \"/weir.demo.v1.Echo/Unary\"\n\
         [[routes]]\nservice = \"none\"\npath = \"/weir.demo.v1.Echo/ServerStream\"\n"
    );
    let weir = Weir::start(&config).await;
    let mut client = EchoClient::new(channel(weir.ingress).await);
    let status = client.unary(say("")).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unavailable, "connect_failed")
    );
    let status = client.server_stream(say("")).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unavailable, "no_backend")
    );
    let status = client
        .client_stream(tokio_stream::empty())
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unimplemented, "no_route")
    );
}

#[tokio::test]
async fn many_calls_share_few_connections_to_the_backend() {
    let (weir, _backend, client) = echo().await;
    let calls = (0..200).map(|at| {
        let mut client = client.clone();
        async move {
            let answer = client.unary(say(&at.to_string())).await.unwrap();
            assert_eq!(answer.into_inner().message, at.to_string());
        }
    });
    futures::stream::iter(calls)
        .buffer_unordered(64)
        .collect::<()>()
        .await;
    assert!(weir.metric("weir_backend_connects_total").await <= 2.0);
}

#[tokio::test]
async fn the_backends_own_health_service_answers_through_the_ingress() {
    use tonic_health::pb::HealthCheckRequest;
    let (weir, _backend, _client) = echo().await;
    let mut client =
        tonic_health::pb::health_client::HealthClient::new(channel(weir.ingress).await);
    for (service, wanted) in [
        ("", Ok(1)),
        ("weir.demo.v1.Echo", Ok(1)),
        ("x", Err(Code::NotFound)),
    ] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = client.check(request).await;
        let answer = answer.map(|answer| answer.into_inner().status);
        assert_eq!(answer.map_err(|status| status.code()), wanted);
    }
}
