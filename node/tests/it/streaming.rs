//! Bodies flow through: at once, in bounded memory, no faster than their reader takes them.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::common::{Backend, PATIENCE, Weir, read_until, scripted_backend, web};
use crate::http2::{Http2, body_of, head};
use crate::recorder::read_head;

const MIB: usize = 1 << 20;
/// Peak memory that a body of any length may cost.
const MEMORY_GROWTH_MAX: usize = 32 * MIB;
/// What sockets and buffers between two ends may hold back.
const IN_BETWEEN_MAX: usize = 16 * MIB;
/// Without progress for this long, a sender counts as stopped.
const STANDSTILL: Duration = Duration::from_millis(300);

/// The node's peak of resident memory in bytes.
fn peak_memory(weir: &Weir) -> usize {
    let path = format!("/proc/{}/status", weir.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib: usize = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib << 10
}

fn assert_flat(weir: &Weir, before: usize) {
    let growth = peak_memory(weir) - before;
    assert!(growth < MEMORY_GROWTH_MAX, "grew by {growth} bytes");
}

async fn discard(stream: &mut TcpStream, mut left: usize) {
    let mut part = vec![0; 256 << 10];
    while left > 0 {
        let end = left.min(part.len());
        let count = timeout(PATIENCE, stream.read(&mut part[..end]))
            .await
            .unwrap()
            .unwrap();
        assert!(count > 0, "{left} bytes are missing");
        left -= count;
    }
}

async fn send(stream: &mut TcpStream, mut left: usize) {
    let part = vec![b'w'; 256 << 10];
    while left > 0 {
        let end = left.min(part.len());
        timeout(PATIENCE, stream.write_all(&part[..end]))
            .await
            .unwrap()
            .unwrap();
        left -= end;
    }
}

/// Writes until the other side takes no more; how much it took.
async fn fill(stream: &mut TcpStream) -> usize {
    let part = vec![b'w'; 64 << 10];
    let mut taken = 0;
    while let Ok(written) = timeout(STANDSTILL, stream.write(&part)).await {
        taken += written.unwrap();
        assert!(taken < 1 << 30, "it never stops");
    }
    taken
}

/// A backend whose connections the test takes over after the request's head and, if any, `answer`.
async fn manual_backend(
    answer: &'static str,
    service_keys: &str,
    ingress_keys: &str,
) -> (Weir, mpsc::UnboundedReceiver<TcpStream>) {
    let (sender, streams) = mpsc::unbounded_channel();
    let address = scripted_backend(move |mut stream| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            sender.send(stream).unwrap();
        }
    })
    .await;
    let weir = Weir::start_with(ingress_keys, &web(&[address], service_keys)).await;
    (weir, streams)
}

async fn next(streams: &mut mpsc::UnboundedReceiver<TcpStream>) -> TcpStream {
    timeout(PATIENCE, streams.recv()).await.unwrap().unwrap()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const LONG: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";

#[tokio::test]
async fn a_download_of_a_gibibyte_costs_no_memory() {
    let (weir, mut streams) = manual_backend(LONG, "", "").await;
    let before = peak_memory(&weir);
    let mut client = weir.connect().await;
    client.write_all(GET).await.unwrap();
    let mut backend = next(&mut streams).await;
    let sending = tokio::spawn(async move { send(&mut backend, 1 << 30).await });
    read_head(&mut client).await.unwrap();
    discard(&mut client, 1 << 30).await;
    sending.await.unwrap();
    assert_flat(&weir, before);
}

#[tokio::test]
async fn an_upload_of_a_gibibyte_costs_no_memory() {
    let (weir, mut streams) = manual_backend("", "", "").await;
    let before = peak_memory(&weir);
    let mut client = weir.connect().await;
    let head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1073741824\r\n\r\n";
    client.write_all(head).await.unwrap();
    let mut backend = next(&mut streams).await;
    let sending = tokio::spawn(async move {
        send(&mut client, 1 << 30).await;
        client
    });
    discard(&mut backend, 1 << 30).await;
    backend
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    let mut client = sending.await.unwrap();
    read_until(&mut client, "HTTP/1.1 204 No Content\r\n").await;
    assert_flat(&weir, before);
}

#[tokio::test]
async fn large_http2_bodies_cost_no_memory() {
    const SIZE: usize = 256 * MIB;
    let backend = Backend::start("one").await;
    let weir = Weir::start(&web(&[backend.address], "protocol = \"http2\"")).await;
    let before = peak_memory(&weir);
    let mut client = Http2::connect(&weir).await;
    let (response, _) = client
        .send(head("GET", &format!("/bytes/{SIZE}"), &[]), true)
        .await;
    let mut body = response.await.unwrap().into_body();
    let mut got = 0;
    while let Some(part) = timeout(PATIENCE, body.data()).await.unwrap() {
        let part = part.unwrap();
        got += part.len();
        body.flow_control().release_capacity(part.len()).unwrap();
    }
    assert_eq!(got, SIZE);
    assert_flat(&weir, before);
}

#[tokio::test]
async fn the_first_bytes_of_an_answer_do_not_wait_for_the_rest() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfirst",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nfirst",
    ] {
        let (weir, mut streams) = manual_backend(answer, "", "").await;
        let mut client = weir.connect().await;
        client.write_all(GET).await.unwrap();
        read_until(&mut client, "first").await;
        let mut client = Http2::connect(&weir).await;
        let (response, _) = client.send(head("GET", "/", &[]), true).await;
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "first");
        next(&mut streams).await;
    }
}

#[tokio::test]
async fn the_first_bytes_of_an_upload_do_not_wait_for_the_rest() {
    let (weir, mut streams) = manual_backend("", "", "").await;
    let mut client = weir.connect().await;
    for head in [
        "Content-Length: 100\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: test\r\n{head}first");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut backend = next(&mut streams).await;
        read_until(&mut backend, "first").await;
        client = weir.connect().await;
    }
    let mut client = Http2::connect(&weir).await;
    let (_response, mut stream) = client.send(head("POST", "/", &[]), false).await;
    stream.send_data(Bytes::from("first"), false).unwrap();
    let mut backend = next(&mut streams).await;
    read_until(&mut backend, "first").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_backend_and_then_gets_everything() {
    let (weir, mut streams) = manual_backend(LONG, "", "").await;
    let before = peak_memory(&weir);
    let mut client = weir.connect().await;
    client.write_all(GET).await.unwrap();
    let mut backend = next(&mut streams).await;
    let taken = fill(&mut backend).await;
    assert!(taken < IN_BETWEEN_MAX, "{taken}");
    read_head(&mut client).await.unwrap();
    discard(&mut client, taken).await;
    backend.write_all(b"more").await.unwrap();
    discard(&mut client, 4).await;
    assert_flat(&weir, before);
}

#[tokio::test]
async fn a_backend_that_does_not_read_stops_the_client_and_then_gets_everything() {
    let (weir, mut streams) = manual_backend("", "", "").await;
    let before = peak_memory(&weir);
    let mut client = weir.connect().await;
    let head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1073741824\r\n\r\n";
    client.write_all(head).await.unwrap();
    let mut backend = next(&mut streams).await;
    let taken = fill(&mut client).await;
    assert!(taken < IN_BETWEEN_MAX, "{taken}");
    discard(&mut backend, taken).await;
    client.write_all(b"more").await.unwrap();
    discard(&mut backend, 4).await;
    assert_flat(&weir, before);
}

#[tokio::test]
async fn an_http2_stream_that_is_not_read_holds_back_neither_memory_nor_its_neighbours() {
    let backend = Backend::start("one").await;
    for protocol in ["http1", "http2"] {
        let keys = format!("protocol = \"{protocol}\"");
        let weir = Weir::start(&web(&[backend.address], &keys)).await;
        let before = peak_memory(&weir);
        let mut client = Http2::connect(&weir).await;
        let mut stalled = Vec::new();
        for _ in 0..8 {
            // Never read beyond the head, so no window is given back for it.
            let (response, _) = client.send(head("GET", "/bytes/67108864", &[]), true).await;
            stalled.push(timeout(PATIENCE, response).await.unwrap().unwrap());
        }
        let (response, _) = client.send(head("GET", "/", &[]), true).await;
        let mut body = timeout(PATIENCE, response)
            .await
            .unwrap()
            .unwrap()
            .into_body();
        assert_eq!(body_of(&mut body).await.unwrap(), "hello from one\n");
        assert_flat(&weir, before);
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_for_too_long_is_cut_off() {
    let (weir, mut streams) = manual_backend(LONG, "", "write_timeout = \"200ms\"").await;
    let mut client = weir.connect().await;
    client.write_all(GET).await.unwrap();
    let mut backend = next(&mut streams).await;
    let part = vec![b'w'; 64 << 10];
    let cut = async { while backend.write_all(&part).await.is_ok() {} };
    timeout(PATIENCE, cut)
        .await
        .expect("the backend is not freed");
    weir.wait_for_metric("weir_write_timeouts_total", |count| count == 1.0)
        .await;
    weir.wait_for_metric("weir_requests_in_flight", |count| count == 0.0)
        .await;
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_a_body_is_answered_with_408() {
    let (weir, mut streams) = manual_backend("", "", "body_idle_timeout = \"200ms\"").await;
    let mut client = weir.connect().await;
    let head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf";
    client.write_all(head).await.unwrap();
    let answer = crate::common::read_to_end(&mut client).await;
    crate::recorder::assert_reason(&answer, 408, "client_body_timeout");
    let mut backend = next(&mut streams).await;
    assert_eq!(crate::common::read_to_end(&mut backend).await, "half");
}
