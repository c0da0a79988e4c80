//! WebSocket and other upgraded connections: tunnels begin with the backend's 101 and not before.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::common::{Backend, PATIENCE, Weir, read_to_end, read_until, scripted_backend, web};
use crate::recorder::{Recorder, assert_reason, read_head, values};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// A backend that switches and then hands the connection to the test.
async fn switching_backend() -> (SocketAddr, mpsc::UnboundedReceiver<TcpStream>) {
    let (sender, streams) = mpsc::unbounded_channel();
    let address = scripted_backend(move |mut stream| {
        let sender = sender.clone();
        async move {
            let head = read_head(&mut stream).await.unwrap();
            assert_eq!(values(&head, "upgrade"), ["websocket"], "{head}");
            assert_eq!(values(&head, "connection"), ["upgrade"], "{head}");
            stream.write_all(SWITCH).await.unwrap();
            sender.send(stream).unwrap();
        }
    })
    .await;
    (address, streams)
}

/// Both ends of a tunnel through a node.
async fn tunnel(service_keys: &str) -> (Weir, TcpStream, TcpStream) {
    let (address, mut streams) = switching_backend().await;
    let weir = Weir::start(&web(&[address], service_keys)).await;
    let mut client = weir.connect().await;
    client.write_all(UPGRADE.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await.unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    assert_eq!(values(&head, "upgrade"), ["websocket"], "{head}");
    assert_eq!(values(&head, "connection"), ["upgrade"], "{head}");
    let backend = timeout(PATIENCE, streams.recv()).await.unwrap().unwrap();
    (weir, client, backend)
}

#[tokio::test]
async fn a_websocket_client_and_a_websocket_server_talk_through_the_node() {
    let backend = Backend::start("one").await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let url = format!("ws://{}/ws", weir.ingress);
    let (mut socket, answer) = tokio_tungstenite::connect_async(url).await.unwrap();
    assert_eq!(answer.status(), 101);
    for message in [Message::text("hello"), Message::binary(vec![7; 300_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    assert_eq!(weir.metric("weir_tunnels_open").await, 1.0);
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    weir.wait_for_metric("weir_tunnels_open", |count| count == 0.0)
        .await;
}

#[tokio::test]
async fn bytes_before_the_101_reach_the_backend_only_as_bytes_of_the_tunnel() {
    let (address, mut streams) = switching_backend().await;
    let weir = Weir::start(&web(&[address], "")).await;
    let mut client = weir.connect().await;
    let early = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    client
        .write_all(format!("{UPGRADE}{early}").as_bytes())
        .await
        .unwrap();
    let mut backend = timeout(PATIENCE, streams.recv()).await.unwrap().unwrap();
    let got = read_until(&mut backend, "\r\n\r\n").await;
    assert_eq!(got, early);
    assert_eq!(weir.metric("weir_backend_requests_total").await, 1.0);
}

#[tokio::test]
async fn a_declined_upgrade_is_a_normal_answer_and_nothing_follows_it() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let early = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    let answer = weir.exchange(format!("{UPGRADE}{early}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(values(&answer, "connection"), ["close"], "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    let seen = backend.next().await;
    assert_eq!(seen.line(), "GET /ws HTTP/1.1");
    assert_eq!(seen.value("sec-websocket-version"), "13");
    backend.saw_nothing_else(&weir).await;
}

#[tokio::test]
async fn an_answer_of_101_that_nobody_asked_for_becomes_502() {
    let (address, _streams) = {
        let switch = String::from_utf8_lossy(SWITCH).into_owned();
        let backend = Recorder::answering(move |_| switch.clone()).await;
        (backend.address, backend)
    };
    let weir = Weir::start(&web(&[address], "")).await;
    let answer = weir.get("/").await;
    assert_reason(&answer, 502, "backend_invalid");
}

#[tokio::test]
async fn a_tunnel_half_closed_by_the_client_still_carries_what_the_backend_says() {
    let (_weir, mut client, mut backend) = tunnel("").await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut backend).await, "question");
    backend.write_all(b"answer").await.unwrap();
    drop(backend);
    assert_eq!(read_to_end(&mut client).await, "answer");
}

#[tokio::test]
async fn a_tunnel_half_closed_by_the_backend_still_carries_what_the_client_says() {
    let (_weir, mut client, mut backend) = tunnel("").await;
    backend.write_all(b"greeting").await.unwrap();
    backend.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "greeting");
    client.write_all(b"farewell").await.unwrap();
    drop(client);
    assert_eq!(read_to_end(&mut backend).await, "farewell");
}

#[tokio::test]
async fn a_tunnel_that_falls_silent_ends_and_one_that_talks_does_not() {
    let (weir, mut client, mut backend) = tunnel("timeouts = { idle = \"300ms\" }").await;
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..12 {
        ticks.tick().await;
        client.write_all(b"x").await.unwrap();
        let mut byte = [0];
        backend.read_exact(&mut byte).await.unwrap();
    }
    assert!(begun.elapsed() > Duration::from_millis(400));
    assert_eq!(read_to_end(&mut client).await, "");
    assert_eq!(read_to_end(&mut backend).await, "");
    weir.wait_for_metric("weir_tunnels_open", |count| count == 0.0)
        .await;
    weir.wait_for_metric("weir_requests_in_flight", |count| count == 0.0)
        .await;
}

#[tokio::test]
async fn a_client_that_vanishes_frees_the_backends_connection() {
    let (weir, client, mut backend) = tunnel("").await;
    reset_on_close(&client);
    drop(client);
    assert_eq!(read_to_end(&mut backend).await, "");
    drop(backend);
    weir.wait_for_metric("weir_tunnels_open", |count| count == 0.0)
        .await;
}

/// Makes the close a reset.
fn reset_on_close(stream: &TcpStream) {
    socket2::SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

#[tokio::test]
async fn an_upgrade_to_an_http2_service_is_refused_with_a_reason() {
    let backend = Backend::start("one").await;
    let weir = Weir::start(&web(&[backend.address], "protocol = \"http2\"")).await;
    let answer = weir.exchange(UPGRADE.as_bytes()).await;
    assert_reason(&answer, 502, "upgrade_refused");
    assert_eq!(values(&answer, "connection"), ["close"], "{answer}");
}

#[tokio::test]
async fn an_offer_of_h2c_is_not_passed_on() {
    let mut backend = Recorder::start().await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let offer = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                 HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = weir.exchange(offer.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let seen = backend.next().await;
    for name in ["upgrade", "http2-settings", "connection"] {
        assert!(seen.values(name).is_empty(), "{seen:?}");
    }
}
