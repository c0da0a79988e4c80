//! Clients that are too many, too slow or too quiet harm nobody but themselves.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::client::{Client, Load};
use crate::common::{Backend, PATIENCE, Weir, read_to_end, scripted_backend, web};
use crate::faulty::read_head;
use crate::operator::wait_until;
use crate::steered::Steered;

const IN_FLIGHT: &str = "weir_requests_in_flight";

#[tokio::test]
async fn clients_beyond_the_limit_wait_and_are_served_when_one_leaves() {
    for limit in [1, 3] {
        let backend = Steered::start("one").await;
        let keys = format!("connections_max = {limit}");
        let weir = Weir::start_with(&keys, &web(&[backend.address], "")).await;
        let mut inside = Vec::new();
        for _ in 0..limit {
            let mut client = Client::connect(weir.ingress).await;
            assert_eq!(client.get("/").await.unwrap().status, 200);
            inside.push(client);
        }
        let ingress = weir.ingress;
        let waiting: Vec<_> = (0..4)
            .map(|_| tokio::spawn(async move { Client::connect(ingress).await.get("/").await }))
            .collect();
        weir.wait_for_metric("weir_accept_pauses_total", |count| count >= 1.0)
            .await;
        // Those inside go on, the others wait.
        for client in &mut inside {
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
        assert_eq!(backend.requests(), 2 * limit);
        assert!(waiting.iter().all(|client| !client.is_finished()));
        inside.pop();
        for client in waiting {
            assert_eq!(client.await.unwrap().unwrap().status, 200);
        }
    }
}

#[tokio::test]
async fn a_raised_connection_limit_lets_those_in_who_wait() {
    let backend = Steered::start("one").await;
    let keys = "connections_max = 1";
    let weir = Weir::start_with(keys, &web(&[backend.address], "")).await;
    let mut inside = Client::connect(weir.ingress).await;
    inside.get("/").await.unwrap();
    let ingress = weir.ingress;
    let waiting = tokio::spawn(async move { Client::connect(ingress).await.get("/").await });
    weir.wait_for_metric("weir_accept_pauses_total", |count| count >= 1.0)
        .await;
    let text = std::fs::read_to_string(weir.config_path()).unwrap();
    std::fs::write(
        weir.config_path(),
        text.replace(keys, "connections_max = 2"),
    )
    .unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().status, 200);
    assert_eq!(inside.get("/").await.unwrap().status, 200);
}

/// What the node has computed so far, in steps of 10 ms.
fn cpu_time(weir: &Weir) -> Duration {
    let stat = format!("/proc/{}/stat", weir.pid().as_raw_pid());
    let stat = std::fs::read_to_string(stat).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|f| f.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(10 * ticks)
}

#[tokio::test]
async fn a_node_without_file_descriptors_survives_a_flood() {
    let backend = Steered::start("one").await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let few = Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    prlimit(Some(weir.pid()), Resource::Nofile, few).unwrap();
    let mut flood = Vec::new();
    for _ in 0..300 {
        let mut stream = weir.connect().await;
        let _ = stream.write_all(b"GET / HT").await;
        flood.push(stream);
    }
    wait_until(&weir, "it has no descriptors left", async || {
        weir.log().contains("accept failed")
    })
    .await;
    // Operators who ask now may have to wait, and must not break anything.
    let mut asking = Vec::new();
    for address in [weir.grpc, weir.api] {
        for _ in 0..4 {
            asking.push(TcpStream::connect(address).await.unwrap());
        }
    }
    let before = cpu_time(&weir);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let busy = cpu_time(&weir) - before;
    assert!(busy < Duration::from_millis(200), "{busy:?} of 500 ms");
    let load = Load::start(weir.ingress, 4);
    drop(flood);
    load.passes(100).await;
    drop(asking);
    load.passes(100).await;
    load.stop().await;
    let healthy = timeout(PATIENCE, weir.get_api("/api/health")).await;
    assert_eq!(healthy.unwrap().unwrap().0, 200);
    let (code, status) = weir.command(&["status"]).await;
    assert_eq!(code, 0, "{status}: {}", weir.log());
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_closed() {
    let backend = Backend::start("one").await;
    let weir = Weir::start_with("write_timeout = \"200ms\"", &web(&[backend.address], "")).await;
    let mut stuck = weir.connect().await;
    let request = b"GET /bytes/1000000000 HTTP/1.1\r\nHost: test\r\n\r\n";
    stuck.write_all(request).await.unwrap();
    weir.wait_for_metric("weir_write_timeouts_total", |count| count == 1.0)
        .await;
    weir.wait_for_metric(IN_FLIGHT, |count| count == 0.0).await;
    weir.wait_for_metric("weir_connections_open", |count| count == 0.0)
        .await;
    assert!(read_to_end(&mut stuck).await.len() < 1_000_000_000);
}

#[tokio::test]
async fn a_client_that_rests_within_its_body_is_told_so() {
    let backend = Backend::start("one").await;
    let keys = "body_idle_timeout = \"200ms\"";
    let weir = Weir::start_with(keys, &web(&[backend.address], "")).await;
    for path in ["/echo", "/slow?ms=10000"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
        let answer = weir.exchange(head.as_bytes()).await;
        // The echo has begun to answer, so that all the node can do is to cut it.
        let right = if path == "/echo" {
            !answer.contains("hello") || !answer.ends_with("0\r\n\r\n")
        } else {
            answer.starts_with("HTTP/1.1 408 ")
                && answer.contains("x-weir-reason: client_body_timeout\r\n")
        };
        assert!(right, "{path}: {answer}");
    }
    weir.wait_for_metric(IN_FLIGHT, |count| count == 0.0).await;
    assert_eq!(weir.metric("weir_backend_failures_total").await, 0.0);
}

#[tokio::test]
async fn a_backend_is_not_blamed_for_a_client_that_pauses() {
    let (go_on, told) = oneshot::channel::<()>();
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(Some(told)));
    const PART: usize = 16 << 20;
    let address = scripted_backend(move |mut stream: TcpStream| {
        let told = std::sync::Arc::clone(&told);
        async move {
            read_head(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\n";
            stream.write_all(head).await.unwrap();
            stream.write_all(&vec![b'x'; PART]).await.unwrap();
            let told = told.lock().await.take().unwrap();
            told.await.unwrap();
            stream
                .write_all(b"\r\n4\r\nlast\r\n0\r\n\r\n")
                .await
                .unwrap();
        }
    })
    .await;
    let keys = "timeouts = { read = \"500ms\" }";
    let weir = Weir::start(&web(&[address], keys)).await;
    let mut slow = weir.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    // Longer than the backend may take, and the backend waits for nobody but this client.
    tokio::time::sleep(Duration::from_millis(900)).await;
    let mut answer = vec![0; PART];
    slow.read_exact(&mut answer).await.unwrap();
    go_on.send(()).unwrap();
    let rest = read_to_end(&mut slow).await;
    assert!(rest.ends_with("last\r\n0\r\n\r\n"), "{}", rest.len());
}
