//! A request is sent again exactly when no byte of it can have reached a backend.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::common::{Weir, scripted_backend, web};
use crate::faulty::{Refusing, read_head};

const NEVER_EJECTED: &str = "ejection = { consecutive_failures = 0 }";
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ngood\n";

/// A backend that counts the requests it has seen before `act` treats each connection.
async fn counting<F, R>(act: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream, Arc<AtomicUsize>) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let address = scripted_backend(move |stream| act(stream, Arc::clone(&counted))).await;
    (address, seen)
}

async fn good_backend() -> (SocketAddr, Arc<AtomicUsize>) {
    counting(|mut stream, seen| async move {
        while read_head(&mut stream).await.is_some() {
            seen.fetch_add(1, Ordering::Relaxed);
            stream.write_all(GOOD).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_post_that_was_refused_a_connection_goes_to_another_backend_once() {
    let refusing = Refusing::new();
    let (good, seen) = good_backend().await;
    let weir = Weir::start(&web(&[refusing.address(), good], NEVER_EJECTED)).await;
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..20 {
        let answer = client.post("/", "once").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(seen.load(Ordering::Relaxed), 20);
    assert!(weir.metric("weir_replays_total").await > 0.0);
}

#[tokio::test]
async fn every_backend_is_tried_at_most_once_and_then_the_client_is_told() {
    let refusing: Vec<Refusing> = (0..5).map(|_| Refusing::new()).collect();
    let backends: Vec<SocketAddr> = refusing.iter().map(Refusing::address).collect();
    let weir = Weir::start(&web(&backends, NEVER_EJECTED)).await;
    let answer = Client::connect(weir.ingress).await.get("/").await.unwrap();
    assert_eq!(answer.header("x-weir-reason"), Some("connect_failed"));
    assert_eq!(
        weir.metric("weir_backend_connect_failures_total").await,
        3.0
    );
}

#[tokio::test]
async fn a_request_that_a_backend_has_seen_is_never_sent_again() {
    let dying = || {
        counting(|mut stream, seen| async move {
            if read_head(&mut stream).await.is_some() {
                seen.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let ((one, seen_one), (two, seen_two)) = (dying().await, dying().await);
    let weir = Weir::start(&web(&[one, two], NEVER_EJECTED)).await;
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..20 {
        let answer = client.post("/", "once").await.unwrap();
        assert_eq!(answer.header("x-weir-reason"), Some("backend_reset"));
    }
    let seen = seen_one.load(Ordering::Relaxed) + seen_two.load(Ordering::Relaxed);
    assert_eq!(seen, 20);
    assert_eq!(weir.metric("weir_replays_total").await, 0.0);
}

#[tokio::test]
async fn a_pooled_connection_that_its_backend_closed_costs_no_request() {
    let gone = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&gone);
    let (address, seen) = counting(move |mut stream, seen| {
        let gone = Arc::clone(&told);
        async move {
            if read_head(&mut stream).await.is_some() {
                seen.fetch_add(1, Ordering::Relaxed);
                stream.write_all(GOOD).await.unwrap();
                stream.shutdown().await.unwrap();
                // The node closes its side once it has seen the end of this one.
                assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 0);
                gone.add_permits(1);
            }
        }
    })
    .await;
    let weir = Weir::start(&web(&[address], "")).await;
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..20 {
        let answer = client.post("/", "once").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        gone.acquire().await.unwrap().forget();
    }
    assert_eq!(seen.load(Ordering::Relaxed), 20);
}

#[tokio::test]
async fn a_backend_that_closes_after_each_answer_sees_every_post_at_most_once() {
    let (address, seen) = counting(|mut stream, seen| async move {
        if read_head(&mut stream).await.is_some() {
            seen.fetch_add(1, Ordering::Relaxed);
            stream.write_all(GOOD).await.unwrap();
        }
    })
    .await;
    let weir = Weir::start(&web(&[address], "")).await;
    let mut client = Client::connect(weir.ingress).await;
    let mut good = 0;
    for _ in 0..300 {
        let answer = client.post("/", "once").await.unwrap();
        match answer.status {
            200 => good += 1,
            // Its first bytes crossed the backend's goodbye: nobody knows what became of it.
            _ => assert_eq!(answer.header("x-weir-reason"), Some("backend_reset")),
        }
    }
    assert_eq!(seen.load(Ordering::Relaxed), good);
    assert!(good >= 270, "{good} of 300");
}
