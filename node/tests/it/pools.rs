//! How many connections a node keeps to a backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{Backend, PATIENCE, Weir, scripted_backend, web};
use crate::http2::{Http2, head, whole};
use crate::operator::wait_until;

const ONE_CORE: [(&str, &str); 1] = [("WEIR_NODE__CORES", "1")];

/// Answers requests and counts how many connections are open.
async fn counting(open: Arc<AtomicUsize>) -> std::net::SocketAddr {
    scripted_backend(move |mut stream: TcpStream| {
        let open = Arc::clone(&open);
        async move {
            open.fetch_add(1, Ordering::Relaxed);
            let mut part = [0; 4096];
            while stream.read(&mut part).await.is_ok_and(|count| count > 0) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                if stream.write_all(answer).await.is_err() {
                    break;
                }
            }
            open.fetch_sub(1, Ordering::Relaxed);
        }
    })
    .await
}

#[tokio::test]
async fn the_warm_minimum_is_open_before_the_first_request_and_again_after_expiry() {
    let open = Arc::new(AtomicUsize::new(0));
    let address = counting(Arc::clone(&open)).await;
    let pool = "pool = { idle_min = 3, idle_timeout = \"300ms\" }";
    let weir = Weir::start_in("", &web(&[address], pool), &ONE_CORE).await;
    wait_until(&weir, "3 connections are open", async || {
        open.load(Ordering::Relaxed) == 3
    })
    .await;
    weir.wait_for_metric("weir_backend_connects_total", |connects| connects >= 6.0)
        .await;
    wait_until(&weir, "3 connections are open", async || {
        open.load(Ordering::Relaxed) == 3
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_when_its_time_is_out() {
    let open = Arc::new(AtomicUsize::new(0));
    let address = counting(Arc::clone(&open)).await;
    let pool = "pool = { idle_timeout = \"300ms\" }";
    let weir = Weir::start_in("", &web(&[address], pool), &ONE_CORE).await;
    assert!(weir.get("/").await.starts_with("HTTP/1.1 200"));
    assert_eq!(open.load(Ordering::Relaxed), 1);
    wait_until(&weir, "0 connections are open", async || {
        open.load(Ordering::Relaxed) == 0
    })
    .await;
}

#[tokio::test]
async fn http2_backends_get_more_connections_as_stream_slots_fill_and_no_more_than_allowed() {
    let backend = Backend::start("one").await;
    let keys = "protocol = \"http2\"\npool = { h2_streams_max = 2, h2_connections_max = 3 }";
    let weir = Weir::start_in("", &web(&[backend.address], keys), &ONE_CORE).await;
    let mut client = Http2::connect(&weir).await;
    let mut running = Vec::new();
    for _ in 0..6 {
        let slow = head("GET", "/slow?ms=1000", &[]);
        running.push(client.send(slow, true).await.0);
        let sent = running.len();
        weir.wait_for_metric("weir_backend_in_flight", |count| count == sent as f64)
            .await;
    }
    assert_eq!(weir.metric("weir_backend_connects_total").await, 3.0);
    let refused = client.get(head("GET", "/", &[])).await.unwrap();
    assert_eq!(refused.header("x-weir-reason"), "pool_full");
    for response in running {
        let answer = timeout(PATIENCE, whole(response)).await.unwrap().unwrap();
        assert_eq!(answer.head.status(), 200);
    }
}
