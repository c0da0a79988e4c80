//! The deadline of a drain ends streams of HTTP/2 backends as it ends HTTP/1.1 connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use weir_proto::node::v1::DrainRequest;
use weir_proto::node::v1::load_balancer_client::LoadBalancerClient;

use crate::common::{PATIENCE, Weir, read_to_end, read_until, scripted_backend, web};
use crate::operator::wait_until;

const KEYS: &str = "protocol = \"http2\"\ndrain_timeout = \"300ms\"";
const DEADLINE: Duration = Duration::from_millis(300);

/// An HTTP/2 backend whose answers never end; counts those that the node ended.
async fn endless() -> (SocketAddr, Arc<AtomicUsize>) {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ended);
    let address = scripted_backend(move |stream: TcpStream| {
        let counted = Arc::clone(&counted);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, respond))) = connection.accept().await {
                tokio::spawn(drip(respond, Arc::clone(&counted)));
            }
        }
    })
    .await;
    (address, ended)
}

async fn drip(mut respond: SendResponse<Bytes>, ended: Arc<AtomicUsize>) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    while body.send_data(Bytes::from_static(b"x"), false).is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
    ended.fetch_add(1, Ordering::Relaxed);
}

/// A node and a client that reads an endless answer.
async fn running(address: SocketAddr) -> (Weir, TcpStream) {
    let weir = Weir::start(&web(&[address], KEYS)).await;
    let mut client = weir.connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    client.write_all(request).await.unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    (weir, client)
}

/// Asserts that the answer was cut, at both ends, and not before the deadline.
async fn is_cut(weir: &Weir, begun: Instant, mut client: TcpStream, ended: &AtomicUsize) {
    let came = timeout(PATIENCE / 4, read_to_end(&mut client)).await;
    let came = came.expect("it is cut");
    // The terminal chunk must be missing.
    assert!(!came.ends_with("0\r\n\r\n"), "{came}");
    assert!(begun.elapsed() >= DEADLINE, "{:?}", begun.elapsed());
    weir.wait_for_metric("weir_requests_in_flight", |count| count == 0.0)
        .await;
    wait_until(weir, "the backend's stream ended", async || {
        ended.load(Ordering::Relaxed) == 1
    })
    .await;
}

#[tokio::test]
async fn a_stream_of_a_drained_http2_backend_is_cut_at_the_deadline() {
    let (address, ended) = endless().await;
    let (weir, client) = running(address).await;
    let url = format!("http://{}", weir.grpc);
    let mut api = LoadBalancerClient::connect(url).await.unwrap();
    let begun = Instant::now();
    let request = DrainRequest {
        service: "web".to_owned(),
        backend: address.to_string(),
        deadline_ms: Some(300),
    };
    api.drain(request).await.unwrap();
    is_cut(&weir, begun, client, &ended).await;
}

#[tokio::test]
async fn a_stream_of_an_http2_backend_that_left_the_file_is_cut_at_the_deadline() {
    let (address, ended) = endless().await;
    let (other, _) = endless().await;
    let (weir, client) = running(address).await;
    let begun = Instant::now();
    weir.edit(&web(&[other], KEYS));
    weir.signal(Signal::HUP);
    is_cut(&weir, begun, client, &ended).await;
}
