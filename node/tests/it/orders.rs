//! Orders cordon or drain a node: it says so, clients move away, and nobody loses a request.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::node_client::NodeClient;

use crate::client::{Answer, Broken, Client, Load};
use crate::common::{Backend, PATIENCE, Weir, read_until, scripted_backend, web};
use crate::faulty::read_head;
use crate::grpc::channel;
use crate::operator::wait_until;
use crate::steered::Steered;

/// "Within about a second", on a busy machine.
const SOON: Duration = Duration::from_secs(3);

pub const NONE: pb::SetOrdersRequest = orders(false, false);
pub const CORDON: pb::SetOrdersRequest = orders(true, false);
pub const DRAIN: pb::SetOrdersRequest = orders(false, true);

const fn orders(cordoned: bool, draining: bool) -> pb::SetOrdersRequest {
    pb::SetOrdersRequest { cordoned, draining }
}

/// Gives orders; the answer is the state after them.
pub async fn order(weir: &Weir, orders: pb::SetOrdersRequest) -> String {
    let mut node = NodeClient::new(channel(weir.grpc).await);
    node.set_orders(orders).await.unwrap().into_inner().state
}

/// A node before one steered backend.
async fn node() -> (Weir, Steered) {
    let backend = Steered::start("one").await;
    (Weir::start(&web(&[backend.address], "")).await, backend)
}

/// The same with one core: what one connection has heard there, all have.
pub async fn node_with_one_core() -> (Weir, Steered) {
    let backend = Steered::start("one").await;
    let config = web(&[backend.address], "");
    let weir = Weir::start_in("", &config, &[("WEIR_NODE__CORES", "1")]).await;
    (weir, backend)
}

/// Status code and verdict of `/api/health`, and what `grpc.health.v1` says of the node.
async fn health(weir: &Weir) -> (u16, String, ServingStatus) {
    let (code, body) = weir.get_api("/api/health").await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let mut client = HealthClient::new(channel(weir.grpc).await);
    let mut said = Vec::new();
    for service in ["", "weir.node.v1.LoadBalancer"] {
        let service = service.to_owned();
        let answer = client.check(HealthCheckRequest { service }).await.unwrap();
        said.push(answer.into_inner().status());
    }
    assert_eq!(said[0], said[1]);
    (code, body["status"].as_str().unwrap().to_owned(), said[0])
}

fn says(code: u16, verdict: &str, serving: ServingStatus) -> (u16, String, ServingStatus) {
    (code, verdict.to_owned(), serving)
}

/// A request on a connection that stays open.
async fn stays(client: &mut Client) -> bool {
    let answer = client.get("/").await.unwrap();
    answer.status == 200 && !answer.closes()
}

/// Waits until a new connection lives on; a core hears of an order a moment after the answer to it.
pub async fn lives_on(weir: &Weir) {
    wait_until(weir, "new connections live on", async || {
        let mut client = Client::connect(weir.ingress).await;
        stays(&mut client).await && stays(&mut client).await
    })
    .await;
}

/// Asserts that the node closes a connection soon and says nothing on it.
async fn closes_soon(client: &mut Client) {
    let ended = timeout(SOON, client.answer()).await.expect("it closes");
    assert_eq!(ended.unwrap_err(), Broken::Unanswered);
}

#[tokio::test]
async fn a_cordoned_node_says_so_and_serves_as_before() {
    let (weir, _backend) = node().await;
    let ready = says(200, "healthy", ServingStatus::Serving);
    let cordoned = says(503, "cordoned", ServingStatus::NotServing);
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..2 {
        assert_eq!(health(&weir).await, ready);
        assert_eq!(order(&weir, CORDON).await, "cordoned");
        assert_eq!(health(&weir).await, cordoned);
        let (_, status) = weir.command(&["status"]).await;
        assert!(status.contains("node-1 cordoned"), "{status}");
        assert!(stays(&mut client).await);
        assert!(stays(&mut Client::connect(weir.ingress).await).await);
        assert_eq!(order(&weir, NONE).await, "ready");
    }
    assert_eq!(health(&weir).await, ready);
    assert!(stays(&mut client).await);
}

#[tokio::test]
async fn a_draining_node_closes_idle_connections_and_serves_new_ones_once() {
    let (weir, _backend) = node().await;
    let mut used = Client::connect(weir.ingress).await;
    assert!(stays(&mut used).await);
    let mut unused = Client::connect(weir.ingress).await;
    weir.wait_for_metric("weir_connections_open", |count| count == 2.0)
        .await;

    assert_eq!(order(&weir, DRAIN).await, "draining");
    let draining = says(503, "draining", ServingStatus::NotServing);
    assert_eq!(health(&weir).await, draining);
    closes_soon(&mut used).await;
    closes_soon(&mut unused).await;
    for _ in 0..3 {
        let mut new = Client::connect(weir.ingress).await;
        let answer = new.get("/").await.unwrap();
        assert!(answer.status == 200 && answer.closes(), "{answer:?}");
        closes_soon(&mut new).await;
    }
    weir.wait_for_metric("weir_connections_open", |count| count == 0.0)
        .await;

    assert_eq!(order(&weir, NONE).await, "ready");
    lives_on(&weir).await;
}

#[tokio::test]
async fn a_drain_that_is_taken_back_in_time_closes_nothing() {
    let (weir, _backend) = node_with_one_core().await;
    let mut idle = Client::connect(weir.ingress).await;
    assert!(stays(&mut idle).await);
    for _ in 0..10 {
        order(&weir, DRAIN).await;
        order(&weir, NONE).await;
        lives_on(&weir).await;
    }
    assert!(stays(&mut idle).await);
}

#[tokio::test]
async fn what_runs_when_the_drain_begins_is_answered_with_a_close() {
    let (weir, backend) = node().await;
    let ingress = weir.ingress;
    let running = tokio::spawn(async move { Client::connect(ingress).await.get("/hold").await });
    wait_until(&weir, "it runs", async || backend.requests() == 1).await;
    order(&weir, DRAIN).await;
    // The idle connection closes although it came later; the request goes on.
    closes_soon(&mut Client::connect(ingress).await).await;
    backend.release();
    let answer: Answer = running.await.unwrap().unwrap();
    assert!(answer.text() == "one" && answer.closes(), "{answer:?}");
}

#[tokio::test]
async fn a_client_whose_answer_had_begun_may_send_one_more_request() {
    let (sender, mut streams) = mpsc::unbounded_channel::<TcpStream>();
    let address = scripted_backend(move |mut stream| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await;
            let begin = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbegun";
            stream.write_all(begin).await.unwrap();
            sender.send(stream).unwrap();
        }
    })
    .await;
    let weir = Weir::start(&web(&[address], "")).await;
    let mut client = weir.connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    for begun_before in [true, false] {
        client.write_all(request).await.unwrap();
        let head = read_until(&mut client, "begun").await;
        assert_eq!(head.contains("connection: close"), !begun_before, "{head}");
        let mut backend = timeout(PATIENCE, streams.recv()).await.unwrap().unwrap();
        if begun_before {
            order(&weir, DRAIN).await;
            // As long as an idle connection lives.
            closes_soon(&mut Client::connect(weir.ingress).await).await;
        }
        backend.write_all(b".").await.unwrap();
        drop(backend);
        read_until(&mut client, ".").await;
    }
    assert_eq!(crate::common::read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn a_head_that_has_begun_may_end() {
    let (weir, _backend) = node().await;
    let mut first = weir.connect().await;
    first.write_all(b"P").await.unwrap();
    let mut second = weir.connect().await;
    let whole = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    second.write_all(&whole[..]).await.unwrap();
    read_until(&mut second, "one").await;
    second.write_all(&whole[..20]).await.unwrap();
    order(&weir, DRAIN).await;
    closes_soon(&mut Client::connect(weir.ingress).await).await;
    first
        .write_all(b"OST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    second.write_all(&whole[20..]).await.unwrap();
    for mut client in [first, second] {
        let answer = crate::common::read_to_end(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_tunnel_goes_on_while_its_node_drains() {
    let backend = Backend::start("one").await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let url = format!("ws://{}/ws", weir.ingress);
    let (mut before, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    order(&weir, DRAIN).await;
    closes_soon(&mut Client::connect(weir.ingress).await).await;
    let (mut after, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    for socket in [&mut before, &mut after] {
        socket.send(Message::text("hello")).await.unwrap();
        let echo = socket.next().await.unwrap().unwrap();
        assert_eq!(echo, Message::text("hello"));
    }
    assert_eq!(weir.metric("weir_tunnels_open").await, 2.0);
    assert_eq!(weir.metric("weir_connections_open").await, 2.0);
}

#[tokio::test]
async fn a_stop_wins_over_every_order() {
    let (mut weir, backend) = node().await;
    let ingress = weir.ingress;
    let running = tokio::spawn(async move { Client::connect(ingress).await.get("/hold").await });
    wait_until(&weir, "it runs", async || backend.requests() == 1).await;
    order(&weir, DRAIN).await;
    weir.signal(Signal::TERM);
    let stopping = says(503, "stopping", ServingStatus::NotServing);
    wait_until(&weir, "it stops", async || health(&weir).await == stopping).await;
    assert_eq!(order(&weir, NONE).await, "stopping");
    assert_eq!(health(&weir).await, stopping);
    backend.release();
    assert!(running.await.unwrap().unwrap().closes());
    let ended = timeout(PATIENCE, weir.child.wait()).await;
    assert!(ended.expect("it ends").unwrap().success());
}

#[tokio::test]
async fn fifty_switches_under_load_lose_no_request() {
    let backend = Backend::start("one").await;
    let weir = Weir::start(&web(&[backend.address], "")).await;
    let load = Load::start(weir.ingress, 8);
    let h2_load = crate::orders_h2::Load::start(&weir, 4);
    let began = Instant::now();
    let states = [
        (CORDON, "cordoned"),
        (DRAIN, "draining"),
        (orders(true, true), "draining"),
        (DRAIN, "draining"),
        (NONE, "ready"),
    ];
    for (orders, state) in states.into_iter().cycle().take(50) {
        assert_eq!(order(&weir, orders).await, state);
        load.passes(40).await;
        h2_load.passes(20).await;
    }
    let (tally, h2_tally) = (load.stop().await, h2_load.stop().await);
    assert_eq!(tally.bad, Vec::<String>::new());
    assert_eq!(h2_tally.bad, Vec::<String>::new());
    assert!(tally.good >= 50 * 40 && h2_tally.good >= 50 * 20);
    // Every drain sent everybody away.
    assert!(tally.reconnects >= 10 * 8, "{tally:?}");
    assert!(h2_tally.reconnects >= 10 * 4, "{h2_tally:?}");
    let lost = weir.metric("weir_requests_abandoned_total").await;
    assert_eq!(lost, 0.0, "after {:?}", began.elapsed());
}
