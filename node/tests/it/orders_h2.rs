//! HTTP/2 clients of a draining node are told to go, and what they have sent is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use h2::Reason;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Tally;
use crate::common::{PATIENCE, Weir, web};
use crate::http2::{Http2, head, whole};
use crate::operator::wait_until;
use crate::orders::{DRAIN, NONE, lives_on, node_with_one_core, order};
use crate::steered::Steered;

/// Waits until the node says goodbye in an orderly way.
async fn is_told_to_go(weir: &Weir, client: &Http2) {
    let mut goodbye = None;
    wait_until(weir, "it is told to go", async || {
        goodbye = client.goodbye().await;
        goodbye.is_some()
    })
    .await;
    let goodbye = goodbye.unwrap();
    assert!(goodbye.is_go_away(), "{goodbye:?}");
    assert_eq!(goodbye.reason(), Some(Reason::NO_ERROR));
}

#[tokio::test]
async fn a_client_is_told_to_go_and_its_open_streams_end_well() {
    let backend = Steered::start("one").await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let mut client = Http2::connect(&weir).await;
    let (first, _) = client.send(head("GET", "/hold", &[]), true).await;
    let (second, _) = client.send(head("GET", "/hold", &[]), true).await;
    wait_until(&weir, "both run", async || backend.requests() == 2).await;
    assert!(client.goodbye().await.is_none());
    order(&weir, DRAIN).await;
    is_told_to_go(&weir, &client).await;
    assert_eq!(weir.metric("weir_requests_in_flight").await, 2.0);
    for response in [first, second] {
        backend.release();
        assert_eq!(whole(response).await.unwrap().body, "one");
    }
    weir.wait_for_metric("weir_connections_open", |count| count == 0.0)
        .await;
    assert_eq!(weir.metric("weir_requests_abandoned_total").await, 0.0);
}

#[tokio::test]
async fn an_idle_connection_ends_and_a_new_one_serves_first() {
    let (weir, _backend) = node_with_one_core().await;
    let mut idle = Http2::connect(&weir).await;
    idle.get(head("GET", "/", &[])).await.unwrap();
    order(&weir, DRAIN).await;
    is_told_to_go(&weir, &idle).await;
    weir.wait_for_metric("weir_connections_open", |count| count == 0.0)
        .await;
    let mut new = Http2::connect(&weir).await;
    weir.wait_for_metric("weir_connections_open", |count| count == 1.0)
        .await;
    assert!(new.goodbye().await.is_none());
    let answer = new.get(head("GET", "/", &[])).await.unwrap();
    assert_eq!(answer.body, "one");
    is_told_to_go(&weir, &new).await;
    weir.wait_for_metric("weir_connections_open", |count| count == 0.0)
        .await;
    order(&weir, NONE).await;
    lives_on(&weir).await;
    let mut client = Http2::connect(&weir).await;
    for _ in 0..3 {
        client.get(head("GET", "/", &[])).await.unwrap();
        assert!(client.goodbye().await.is_none());
    }
}

/// Closed-loop HTTP/2 clients, each with one connection at a time, until told to stop.
pub struct Load {
    counts: Arc<Counts>,
    clients: JoinSet<Vec<String>>,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    good: AtomicUsize,
    reconnects: AtomicUsize,
}

impl Load {
    pub fn start(weir: &Weir, connections: usize) -> Self {
        let counts = Arc::new(Counts::default());
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            clients.spawn(run(weir.ingress, Arc::clone(&counts)));
        }
        Self { counts, clients }
    }

    /// Waits until so many further requests were answered.
    pub async fn passes(&self, further: usize) {
        let good = || self.counts.good.load(Ordering::Relaxed);
        let (wanted, deadline) = (good() + further, Instant::now() + PATIENCE);
        while good() < wanted {
            assert!(Instant::now() < deadline, "the load stands still");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets every client finish its request.
    pub async fn stop(self) -> Tally {
        self.counts.stop.store(true, Ordering::Relaxed);
        let bad = timeout(PATIENCE, self.clients.join_all()).await;
        Tally {
            bad: bad.expect("the load ends").concat(),
            good: self.counts.good.load(Ordering::Relaxed),
            reconnects: self.counts.reconnects.load(Ordering::Relaxed),
        }
    }
}

/// One client; a connection that was told to go is replaced before the next request.
async fn run(address: SocketAddr, counts: Arc<Counts>) -> Vec<String> {
    let mut bad = Vec::new();
    loop {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        loop {
            if counts.stop.load(Ordering::Relaxed) || bad.len() > 100 {
                return bad;
            }
            let Ok(ready) = sender.ready().await else {
                counts.reconnects.fetch_add(1, Ordering::Relaxed);
                break;
            };
            sender = ready;
            let (response, _) = sender.send_request(head("GET", "/", &[]), true).unwrap();
            match whole(response).await {
                Ok(answer) if answer.head.status() == 200 => {
                    counts.good.fetch_add(1, Ordering::Relaxed);
                }
                Ok(answer) => bad.push(format!("{answer:?}")),
                Err(error) => bad.push(format!("{error:?}")),
            }
        }
    }
}
