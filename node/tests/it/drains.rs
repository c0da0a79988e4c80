//! Draining, sticky cookies, consistent hashing, and a backend that is killed under load.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use weir_proto::node::v1::DrainRequest;
use weir_proto::node::v1::load_balancer_client::LoadBalancerClient;

use crate::client::{Broken, Client, Load};
use crate::common::{Backend, Weir, scripted_backend, web};
use crate::faulty::read_head;
use crate::operator::wait_until;
use crate::steered::Steered;

const IN_TURN: &str = "balance = { policy = \"round_robin\" }";

#[tokio::test]
async fn a_drained_backend_gets_nothing_new_and_finishes_what_runs() {
    let [one, two] = Steered::start_all(["one", "two"]).await;
    let weir = Weir::start(&web(&[one.address], IN_TURN)).await;
    let ingress = weir.ingress;
    let held = tokio::spawn(async move { Client::connect(ingress).await.get("/hold").await });
    wait_until(&weir, "it runs", async || one.requests() == 1).await;
    weir.edit(&web(&[one.address, two.address], IN_TURN));
    two.stands(&weir, "in").await;

    let id = one.address.to_string();
    let (code, text) = weir.command(&["services", "drain", "web", &id]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("draining"), "{text}");
    let mut client = Client::connect(weir.ingress).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.unwrap().text(), "two");
    }
    assert_eq!(one.requests(), 1);
    one.release();
    assert_eq!(held.await.unwrap().unwrap().text(), "one");
    one.stands(&weir, "drained").await;

    let (code, text) = weir.command(&["services", "undrain", "web", &id]).await;
    assert_eq!(code, 0, "{text}");
    wait_until(&weir, "it has work again", async || {
        client.get("/").await.unwrap().text() == "one"
    })
    .await;
}

#[tokio::test]
async fn what_still_runs_at_the_deadline_of_a_drain_is_cut() {
    let endless = scripted_backend(|mut stream: TcpStream| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut sent = stream.write_all(head).await;
        while sent.is_ok() {
            sent = stream.write_all(b"2\r\nx\n\r\n").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let silent = Steered::start("silent").await;
    for (address, path) in [(endless, "/"), (silent.address, "/hold")] {
        let weir = Weir::start(&web(&[address], IN_TURN)).await;
        let ingress = weir.ingress;
        let running = tokio::spawn(async move { Client::connect(ingress).await.get(path).await });
        weir.wait_for_metric("weir_backend_in_flight", |count| count == 1.0)
            .await;
        let url = format!("http://{}", weir.grpc);
        let mut api = LoadBalancerClient::connect(url).await.unwrap();
        let request = DrainRequest {
            service: "web".to_owned(),
            backend: address.to_string(),
            deadline_ms: Some(300),
        };
        api.drain(request).await.unwrap();
        match running.await.unwrap() {
            // The terminal chunk must be missing.
            Err(Broken::Cut(came)) => assert!(path == "/" && !came.ends_with("0\r\n\r\n")),
            Ok(answer) => assert!(path == "/hold" && answer.status == 502, "{answer:?}"),
            Err(Broken::Unanswered) => panic!("no answer"),
        }
        weir.wait_for_metric("weir_requests_in_flight", |count| count == 0.0)
            .await;
        assert_eq!(
            weir.backend(&address.to_string()).await["standing"],
            "drained"
        );
    }
}

#[tokio::test]
async fn a_sticky_client_stays_through_new_weights_and_moves_when_its_backend_drains() {
    let backends = Steered::start_all(["one", "two", "three"]).await;
    let addresses = backends.each_ref().map(|backend| backend.address);
    let keys = format!("{IN_TURN}\nsticky = {{}}");
    let weir = Weir::start(&web(&addresses, &keys)).await;
    let mut client = Client::connect(weir.ingress).await;
    let first = client.get("/").await.unwrap();
    let cookie = first.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\nCookie: {cookie}\r\n\r\n");
    let home = first.text();
    let id = backends
        .iter()
        .zip(["one", "two", "three"])
        .find(|(_, name)| *name == home)
        .unwrap()
        .0
        .address
        .to_string();

    for weight in ["7", "0"] {
        let set = ["services", "weight", "web", &id, weight];
        assert_eq!(weir.command(&set).await.0, 0);
        for _ in 0..10 {
            let answer = client.ask(&request).await.unwrap();
            assert_eq!(answer.text(), home, "weight {weight}");
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
    assert_eq!(weir.command(&["services", "drain", "web", &id]).await.0, 0);
    let moved = client.ask(&request).await.unwrap();
    assert_ne!(moved.text(), home);
    assert!(moved.header("set-cookie").is_some(), "{moved:?}");
}

#[tokio::test]
async fn a_hashed_header_keeps_a_client_on_its_backend() {
    let backends = Steered::start_all(["one", "two", "three"]).await;
    let addresses = backends.each_ref().map(|backend| backend.address);
    let keys = "balance = { policy = \"consistent_hash\", hash_on = \"header:x-user\" }";
    let weir = Weir::start(&web(&addresses, keys)).await;
    let mut homes = BTreeSet::new();
    for user in 0..20 {
        let mut seen = BTreeSet::new();
        for _ in 0..5 {
            let request = format!("GET / HTTP/1.1\r\nHost: test\r\nX-User: user-{user}\r\n\r\n");
            // From a connection of its own each time.
            let mut client = Client::connect(weir.ingress).await;
            seen.insert(client.ask(&request).await.unwrap().text());
        }
        assert_eq!(seen.len(), 1, "user {user} was at {seen:?}");
        homes.append(&mut seen);
    }
    assert_eq!(homes.len(), 3);
}

#[tokio::test]
async fn a_backend_that_is_killed_takes_nothing_down_but_what_ran_on_it() {
    const CONNECTIONS: usize = 32;
    let (stays, mut dies) = (Backend::start("stays").await, Backend::start("dies").await);
    let addresses: [SocketAddr; 2] = [stays.address, dies.address];
    let weir = Weir::start(&web(&addresses, IN_TURN)).await;
    let load = Load::start(weir.ingress, CONNECTIONS);
    load.passes(500).await;
    dies.child.start_kill().unwrap();
    dies.child.wait().await.unwrap();
    load.passes(1_000).await;
    let tally = load.stop().await;
    assert!(tally.bad.len() <= CONNECTIONS, "{tally:#?}");
    let told = |bad: &String| bad.contains("x-weir-reason: backend_");
    assert!(tally.bad.iter().all(told), "{tally:#?}");
    assert!(tally.good >= 1_500);
    assert_eq!(stays.address, addresses[0]);
}
