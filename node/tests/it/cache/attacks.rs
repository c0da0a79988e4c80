//! What clients try on the cache, and what nodes of a mesh could be taken in by.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::cached;
use super::origin::Origin;
use super::peers::know_each_other;
use crate::client::{Answer, Client};
use crate::common::{PATIENCE, Weir, read_until};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

/// An address of this machine that no node has.
const STRANGER: &str = "127.0.0.2:0";

fn status_of_cache(answer: &Answer) -> &str {
    answer.header("cache-status").expect(&answer.head)
}

/// An origin that remembers the heads of requests.
async fn remembering(fields: &'static str) -> (Origin, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let origin = Origin::start(move |mut asked| {
        let seen = Arc::clone(&seen);
        async move {
            seen.lock().await.push(asked.head.clone());
            asked.answer("200 OK", fields, "here").await;
            asked
        }
    })
    .await;
    (origin, heads)
}

/// Two nodes; `own` says which origin each one has.
async fn mesh(own: [SocketAddr; 2], route: &str) -> (ControlPlane, Vec<Node>) {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let nodes = ["node-a", "node-b"]
        .into_iter()
        .zip(own)
        .map(|(id, origin)| {
            let config = format!(
                "[services.web]\nbackends = [\"{origin}\"]\n\
             [[routes]]\nname = \"shop\"\nservice = \"web\"\n{route}\n"
            );
            let keys = keys.clone();
            async move { Node::start_as(id, &keys, &config).await }
        });
    (plane, join_all(nodes).await)
}

/// A path whose answer the first node gets from the other one.
async fn path_of_the_other(client: &mut Client) -> String {
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        let path = format!("/probe/{number}");
        let answer = client.get(&path).await.unwrap();
        if status_of_cache(&answer).contains("detail=peer") {
            return path;
        }
        assert!(Instant::now() < deadline, "{}", answer.head);
        sleep(Duration::from_millis(10)).await;
    }
    unreachable!()
}

#[tokio::test]
async fn a_304_for_one_client_alone_is_handed_to_nobody_who_waited() {
    let origin = Origin::start(|mut asked| async move {
        let text = format!("answer {}", asked.number);
        match asked.number {
            1 => asked.answer("200 OK", "cache-control: max-age=0\r\netag: \"e\"\r\n", &text).await,
            _ if asked.head.contains("if-none-match") => {
                asked.wait().await;
                asked
                    .say("HTTP/1.1 304 Not Modified\r\ncache-control: private\r\netag: \"e\"\r\n\r\n")
                    .await;
            }
            _ => asked.answer("200 OK", "cache-control: private\r\n", &text).await,
        }
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    Client::connect(weir.ingress).await.get("/").await.unwrap();
    let mut crowd = JoinSet::new();
    for _ in 0..6 {
        let mut client = Client::connect(weir.ingress).await;
        crowd.spawn(async move { client.get("/").await.unwrap() });
    }
    origin.asked_at_least(2).await;
    // Whoever follows does so by now.
    sleep(Duration::from_millis(200)).await;
    origin.release(6);
    let answers = crowd.join_all().await;
    let first = answers.iter().filter(|answer| answer.text() == "answer 1");
    assert_eq!(
        first.count(),
        1,
        "the renewed answer is of one client alone"
    );
    assert!(
        answers
            .iter()
            .all(|answer| !status_of_cache(answer).contains("collapsed"))
    );
    assert_eq!(origin.asked(), 7);
}

#[tokio::test]
async fn addresses_of_clients_survive_a_hop_and_strangers_cannot_say_that_they_are_nodes() {
    let (origin, heads) = remembering("cache-control: max-age=600\r\n").await;
    let (_plane, nodes) = mesh([origin.address; 2], "cache = true").await;
    know_each_other(&nodes).await;
    let mut stranger = Client::connect_from(STRANGER, nodes[0].ingress).await;
    let mut hops = 0;
    for number in 0..20 {
        heads.lock().await.clear();
        let request =
            format!("GET /stranger/{number} HTTP/1.1\r\nHost: test\r\nX-Weir-Cache-Hop: 1\r\n\r\n");
        let answer = stranger.ask(&request).await.unwrap();
        assert_eq!(
            answer.header("x-weir-cache-fetched-at"),
            None,
            "{}",
            answer.head
        );
        hops += usize::from(status_of_cache(&answer).contains("detail=peer"));
        let head = heads.lock().await.join("").to_ascii_lowercase();
        assert!(head.contains("x-forwarded-for: 127.0.0.2"), "{head}");
        assert!(!head.contains("x-weir-cache-hop"), "{head}");
    }
    assert!(
        hops > 0,
        "what the other node owns is asked of it all the same"
    );
}

#[tokio::test]
async fn copies_on_other_nodes_do_not_begin_the_lifetime_of_a_rule_anew() {
    let (origin, _heads) = remembering("").await;
    let (_plane, nodes) = mesh([origin.address; 2], "cache = { ttl = \"60s\" }").await;
    let mut here = Client::connect(nodes[0].ingress).await;
    path_of_the_other(&mut here).await;
    let mut there = Client::connect(nodes[1].ingress).await;
    let mut path = String::new();
    for number in 0..100 {
        path = format!("/aged/{number}");
        // The first node has not seen it, and the other one owns it.
        let status = there.get(&path).await.unwrap();
        if !status_of_cache(&status).contains("detail=peer") {
            break;
        }
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let aged = there.get(&path).await.unwrap();
        if aged
            .header("age")
            .is_some_and(|age| age.parse::<u64>().unwrap() >= 3)
        {
            break;
        }
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(50)).await;
    }
    here.get(&path).await.unwrap();
    let copy = here.get(&path).await.unwrap();
    let status = status_of_cache(&copy);
    let ttl = status.split("; hit; ttl=").nth(1).expect(status);
    let ttl: i64 = ttl.split(';').next().unwrap().trim().parse().unwrap();
    assert!((1..=57).contains(&ttl), "{status}");
}

#[tokio::test]
async fn what_an_owner_says_of_itself_is_not_taken_for_the_origins_word() {
    let (origin, _heads) = remembering("cache-control: max-age=600\r\n").await;
    let (_plane, nodes) = mesh([origin.address; 2], "cache = true").await;
    let mut client = Client::connect(nodes[0].ingress).await;
    path_of_the_other(&mut client).await;
    // From now on the other node reaches no origin.
    let dead = crate::common::free_ports::<1>()[0];
    nodes[1].mend(&origin.address.to_string(), &dead.to_string());
    let mut other = Client::connect(nodes[1].ingress).await;
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        if other.get(&format!("/gone/{number}")).await.unwrap().status >= 500 {
            break;
        }
        assert!(Instant::now() < deadline, "it still reaches its origin");
        sleep(Duration::from_millis(20)).await;
    }
    for number in 0..20 {
        let answer = client.get(&format!("/own/{number}")).await.unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "here"),
            "{}",
            answer.head
        );
    }
}

#[tokio::test]
async fn fetches_whose_clients_left_are_bounded_in_number() {
    const CLIENTS: usize = 330;
    let origin = Origin::start(|asked| async move {
        asked.wait().await;
        asked
    })
    .await;
    let weir = cached(origin.address, "cache = true", "").await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut stream = weir.connect().await;
        let request = format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        clients.push(stream);
    }
    weir.wait_for_metric("weir_cache_flights", |flights| flights >= CLIENTS as f64)
        .await;
    drop(clients);
    let given_up = |given_up: f64| given_up >= (CLIENTS - 256) as f64;
    weir.wait_for_metric("weir_cache_fetches_given_up_total", given_up)
        .await;
    assert_eq!(weir.metric("weir_cache_fetches_unwanted").await, 256.0);
    assert_eq!(weir.metric("weir_cache_flights").await, 256.0);
}

/// A client that has asked and reads as little as can be.
async fn slow(weir: &Weir) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(weir.ingress).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    stream.write_all(request).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    stream
}

#[tokio::test]
async fn a_reader_of_one_byte_a_second_does_not_hold_up_the_others() {
    const BYTES: usize = 64 << 20;
    let origin = Origin::start(|mut asked| async move {
        let head =
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n";
        asked.say(head).await;
        asked.wait().await;
        let chunk = format!("100000\r\n{}\r\n", "x".repeat(0x10_0000));
        for _ in 0..BYTES / 0x10_0000 {
            asked.say(&chunk).await;
        }
        asked.say("0\r\n\r\n").await;
        asked
    })
    .await;
    let cache = "[routes.cache]\nbody_bytes_max = \"1MiB\"\n";
    let weir = cached(origin.address, cache, "").await;
    let mut slow = slow(&weir).await;
    let mut fast = weir.connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    fast.write_all(request).await.unwrap();
    read_until(&mut fast, "\r\n\r\n").await;
    assert_eq!(origin.asked(), 1, "both read one fetch");
    origin.release(1);
    let trickle = tokio::spawn(async move {
        while let Ok(1..) = slow.read(&mut [0]).await {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let mut whole = Vec::new();
    let read = timeout(2 * PATIENCE, fast.read_to_end(&mut whole)).await;
    read.expect("it is not held up").unwrap();
    assert!(
        whole.len() > BYTES && whole.ends_with(b"0\r\n\r\n"),
        "{}",
        whole.len()
    );
    trickle.abort();
}

#[tokio::test]
async fn an_origin_cannot_say_what_nodes_tell_each_other() {
    let told = "x-weir-cache-fetched-at: ffffffffffffffff-1\r\nx-weir-cache-stale: 1\r\n";
    for route in ["cache = true", ""] {
        let (origin, _heads) = remembering(told).await;
        let weir = cached(origin.address, route, "").await;
        let mut client = Client::connect(weir.ingress).await;
        for line in [
            "GET / HTTP/1.1\r\n",
            "GET /part HTTP/1.1\r\nRange: bytes=0-1\r\nCache-Control: no-store\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n",
        ] {
            let answer = client
                .ask(&format!("{line}Host: test\r\n\r\n"))
                .await
                .unwrap();
            assert_eq!(answer.text(), "here", "{line}");
            for name in ["x-weir-cache-fetched-at", "x-weir-cache-stale"] {
                assert_eq!(answer.header(name), None, "{}", answer.head);
            }
        }
    }
}
