//! A node that is told to stop loses nothing that it has accepted.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use tokio::time::{Instant, timeout};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{Client, Load};
use crate::common::{Backend, PATIENCE, Weir, web};
use crate::operator::wait_until;
use crate::steered::Steered;

/// Waits until the process has ended by itself, with its exit code.
async fn exit_code(weir: &mut Weir) -> i32 {
    let ended = timeout(PATIENCE, weir.child.wait()).await;
    let status = ended.unwrap_or_else(|_| panic!("it does not end: {}", weir.log()));
    status.unwrap().code().unwrap_or(-1)
}

#[tokio::test]
async fn a_stop_under_load_loses_no_request() {
    let backend = Backend::start("one").await;
    let mut weir = Weir::start(&web(&[backend.address], "")).await;
    let load = Load::start(weir.ingress, 32);
    load.passes(500).await;
    weir.signal(Signal::TERM);
    let tally = load.ended().await;
    assert_eq!(exit_code(&mut weir).await, 0);
    assert_eq!(tally.bad, Vec::<String>::new());
    // Some may have come back in time to be served once more.
    assert!(tally.reconnects >= 32, "{tally:?}");
    assert!(weir.log().contains("requests_cut=0"), "{}", weir.log());
}

#[tokio::test]
async fn a_long_request_finishes_and_its_connection_says_goodbye() {
    let backend = Steered::start("one").await;
    let mut weir = Weir::start(&web(&[backend.address], "")).await;
    let ingress = weir.ingress;
    let mut client = Client::connect(ingress).await;
    client.get("/").await.unwrap();
    let running = tokio::spawn(async move { client.get("/hold").await });
    wait_until(&weir, "it runs", async || backend.requests() == 2).await;
    let (_, health) = weir.get_api("/api/health").await.unwrap();
    assert!(health.contains("healthy"), "{health}");

    weir.signal(Signal::TERM);
    wait_until(&weir, "health says so", async || {
        weir.get_api("/api/health").await.unwrap().0 == 503
    })
    .await;
    let url = format!("http://{}", weir.grpc);
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let request = HealthCheckRequest::default();
    let answer = health.check(request).await.unwrap().into_inner();
    assert_eq!(answer.status().as_str_name(), "NOT_SERVING");
    let (_, status) = weir.command(&["status"]).await;
    assert!(status.contains("node-1 stopping"), "{status}");
    wait_until(&weir, "nothing new is accepted", async || {
        tokio::net::TcpStream::connect(ingress).await.is_err()
    })
    .await;
    // Once more does no harm.
    weir.signal(Signal::TERM);
    weir.signal(Signal::INT);
    weir.signal(Signal::HUP);

    backend.release();
    let answer = running.await.unwrap().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "one"));
    assert!(answer.closes(), "{answer:?}");
    assert_eq!(exit_code(&mut weir).await, 0);
    assert!(weir.log().contains("requests_cut=0"), "{}", weir.log());
}

#[tokio::test]
async fn what_outlives_the_drain_timeout_is_cut_and_counted() {
    let backend = Steered::start("one").await;
    let config = format!(
        "[node]\ndrain_timeout = \"300ms\"\n{}",
        web(&[backend.address], "")
    );
    let mut weir = Weir::start(&config).await;
    let mut requests = Vec::new();
    for _ in 0..2 {
        let ingress = weir.ingress;
        requests.push(tokio::spawn(async move {
            Client::connect(ingress).await.get("/hold").await
        }));
    }
    wait_until(&weir, "both run", async || backend.requests() == 2).await;
    let began = Instant::now();
    weir.signal(Signal::TERM);
    assert_eq!(exit_code(&mut weir).await, 0);
    assert!(began.elapsed() >= Duration::from_millis(300));
    for request in requests {
        assert!(request.await.unwrap().is_err());
    }
    assert!(weir.log().contains("requests_cut=2"), "{}", weir.log());
}

#[tokio::test]
async fn an_http2_client_is_told_to_go_and_its_request_finishes() {
    let backend = Backend::start("one").await;
    let mut weir = Weir::start(&web(&[backend.address], "")).await;
    let io = TokioIo::new(weir.connect().await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut client, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |path: &str| {
        let uri = format!("http://{}{path}", weir.ingress);
        http::Request::get(uri)
            .body(Empty::<bytes::Bytes>::new())
            .unwrap()
    };
    let running = client.send_request(request("/slow?ms=700"));
    let running = tokio::spawn(running);
    weir.wait_for_metric("weir_requests_in_flight", |count| count == 1.0)
        .await;
    weir.signal(Signal::TERM);
    wait_until(&weir, "it was told to go", async || {
        client.ready().await.is_err()
    })
    .await;
    let answer = running.await.unwrap().unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "one answers after 700 ms\n");
    connection.await.unwrap().unwrap();
    assert_eq!(exit_code(&mut weir).await, 0);
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_a_stop() {
    let backend = Backend::start("one").await;
    let mut weir = Weir::start(&web(&[backend.address], "")).await;
    let mut used = Client::connect(weir.ingress).await;
    used.get("/").await.unwrap();
    let _unused = Client::connect(weir.ingress).await;
    let began = Instant::now();
    weir.signal(Signal::TERM);
    assert_eq!(exit_code(&mut weir).await, 0);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(used.get("/").await.is_err());
}
