//! Limits hold for whatever counts against them, and a dead backend costs each request one time-out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::client::Client;
use crate::common::{PATIENCE, Weir, scripted_backend, web};
use crate::faulty::BlackHole;
use crate::recorder::read_head;

const ONE_CORE: [(&str, &str); 1] = [("WEIR_NODE__CORES", "1")];

#[tokio::test]
async fn requests_to_a_dead_http2_backend_all_end_within_one_connect_timeout() {
    let dead = BlackHole::new();
    let keys = "protocol = \"http2\"\ntimeouts = { connect = \"400ms\" }";
    let weir = Weir::start_in("", &web(&[dead.address()], keys), &ONE_CORE).await;
    let begun = Instant::now();
    let asking: Vec<_> = (0..12)
        .map(|_| {
            let ingress = weir.ingress;
            tokio::spawn(async move { Client::connect(ingress).await.get("/").await.unwrap() })
        })
        .collect();
    for answer in asking {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 504, "{answer:?}");
        assert_eq!(answer.header("x-weir-reason"), Some("connect_timeout"));
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(800), "{took:?}");
}

#[tokio::test]
async fn open_tunnels_count_against_the_connections_of_clients() {
    let address = scripted_backend(|mut stream: TcpStream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let answer: &[u8] = if head.starts_with("GET /tunnel ") {
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
            } else {
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            };
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let weir = Weir::start_with("connections_max = 2", &web(&[address], "")).await;
    let mut tunnels = Vec::new();
    for _ in 0..2 {
        let mut client = weir.connect().await;
        let upgrade =
            b"GET /tunnel HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        client.write_all(upgrade).await.unwrap();
        let head = timeout(PATIENCE, read_head(&mut client)).await.unwrap();
        assert!(head.unwrap().starts_with("HTTP/1.1 101 "));
        tunnels.push(client);
    }
    weir.wait_for_metric("weir_tunnels_open", |count| count == 2.0)
        .await;
    assert_eq!(weir.metric("weir_connections_open").await, 2.0);
    let ingress = weir.ingress;
    let waiting = tokio::spawn(async move { Client::connect(ingress).await.get("/").await });
    weir.wait_for_metric("weir_accept_pauses_total", |count| count >= 1.0)
        .await;
    assert!(!waiting.is_finished());
    tunnels.pop();
    assert_eq!(waiting.await.unwrap().unwrap().text(), "ok");
    assert_eq!(weir.metric("weir_tunnels_open").await, 1.0);
}

#[tokio::test]
async fn a_burst_opens_no_more_connections_to_a_backend_than_its_pool_may_have() {
    let opened = Arc::new(AtomicUsize::new(0));
    let release = Arc::new(Semaphore::new(0));
    let (counted, held) = (Arc::clone(&opened), Arc::clone(&release));
    let address = scripted_backend(move |mut stream: TcpStream| {
        counted.fetch_add(1, Ordering::Relaxed);
        let held = Arc::clone(&held);
        async move {
            while read_head(&mut stream).await.is_some() {
                held.acquire().await.unwrap().forget();
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let config = web(&[address], "pool = { connections_max = 2 }");
    let weir = Weir::start_in("", &config, &ONE_CORE).await;
    let mut burst = Vec::new();
    for _ in 0..40 {
        burst.push(Client::connect(weir.ingress).await);
    }
    let answers: Vec<_> = burst
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.get("/").await.unwrap() }))
        .collect();
    weir.wait_for_metric("weir_own_answers_total{reason=\"pool_full\"}", |count| {
        count == 38.0
    })
    .await;
    release.add_permits(2);
    let mut served = 0;
    for answer in answers {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            served += 1;
        } else {
            assert_eq!(answer.header("x-weir-reason"), Some("pool_full"));
        }
    }
    assert_eq!(served, 2);
    assert_eq!(opened.load(Ordering::Relaxed), 2);
}
