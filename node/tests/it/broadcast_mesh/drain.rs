//! A node that stops while its clients listen sends them to another one, where they miss nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use weir_core::broadcast::{TopicName, owners};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_client::BroadcastClient;

use crate::common::PATIENCE;
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;

const NAMES: [&str; 2] = ["node-a", "node-b"];
/// Of each kind.
const CLIENTS: usize = 12;
const WINDOW: Duration = Duration::from_millis(600);
const CONFIG: &str = "[broadcaster]\nanonymous = \"all\"\ndrain_window = \"600ms\"\n\
                      [[routes]]\npath_exact = \"/live\"\nbroadcast = true\n";
/// Between two messages of the publisher, and how many it publishes.
const SPACING: Duration = Duration::from_millis(5);
const MESSAGES: u64 = 160;
/// After this many of them the first node is told to stop.
const STOPS_AFTER: u64 = 40;

/// A topic that this node numbers while both live.
fn topic_of(owner: &str) -> String {
    let mut names = (0..).map(|n| TopicName::new(&format!("drain.{n}")).unwrap());
    let fits = names.find(|name| *owners(name, &NAMES).unwrap().owner == owner);
    fits.unwrap().to_string()
}

/// One way to a node.
enum Way {
    Socket(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
    Events(Lines<BufReader<TcpStream>>),
}

impl Way {
    async fn socket(address: &str, query: &str) -> Self {
        let url = format!("ws://{address}/live?{query}");
        let opened = timeout(PATIENCE, tokio_tungstenite::connect_async(&url)).await;
        Self::Socket(Box::new(opened.unwrap().unwrap().0))
    }

    async fn events(address: &str, query: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET /live?{query} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self::Events(BufReader::new(stream).lines())
    }

    /// What is told next; `None` when nothing more comes.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let text = match self {
                Self::Socket(socket) => match socket.next().await?.ok()? {
                    Message::Text(text) => text.to_string(),
                    Message::Close(_) => return None,
                    _ => continue,
                },
                Self::Events(lines) => {
                    let line = lines.next_line().await.ok()??;
                    match line.strip_prefix("data: ") {
                        Some(data) => data.to_owned(),
                        None => continue,
                    }
                }
            };
            return Some(serde_json::from_str(&text).unwrap());
        }
    }
}

/// A client, and what it was told.
struct Client {
    is_socket: bool,
    topics: Vec<String>,
    way: Way,
    positions: BTreeMap<String, String>,
    got: BTreeMap<String, Vec<u64>>,
    /// After how long it is to come to which node, once it is told.
    sent: Option<(Duration, String)>,
}

impl Client {
    async fn open(is_socket: bool, topics: &[String], address: &str) -> Self {
        let query = format!("topic={}", topics.join("&topic="));
        let mut client = Self {
            is_socket,
            topics: topics.to_vec(),
            way: Self::way(is_socket, address, &query).await,
            positions: BTreeMap::new(),
            got: BTreeMap::new(),
            sent: None,
        };
        while client.positions.len() < topics.len() {
            let told = timeout(PATIENCE, client.way.next()).await.unwrap().unwrap();
            client.takes(&told);
        }
        client
    }

    async fn way(is_socket: bool, address: &str, query: &str) -> Way {
        match is_socket {
            true => Way::socket(address, query).await,
            false => Way::events(address, query).await,
        }
    }

    /// Listens until it has everything; on the way to that it is sent elsewhere, and listens on until it is time to go.
    async fn follow(mut self) -> Self {
        let deadline = Instant::now() + PATIENCE;
        while self.sent.is_none() {
            let told = timeout_at(deadline, self.way.next()).await;
            self.takes(&told.unwrap().expect("it is sent away before it is cut"));
        }
        let (after, to) = self.sent.clone().unwrap();
        let goes_at = Instant::now() + after;
        while let Ok(told) = timeout_at(goes_at, self.way.next()).await {
            self.takes(&told.expect("it is not cut before it is to go"));
        }
        let positions = self.positions.iter();
        let since: Vec<_> = positions
            .map(|(topic, at)| format!("{topic}@{at}"))
            .collect();
        let topics = self.topics.join("&topic=");
        let query = format!("topic={topics}&since={}", since.join(","));
        self.way = Self::way(self.is_socket, &to, &query).await;
        while !self.has_all() {
            let told = timeout_at(deadline, self.way.next()).await;
            self.takes(&told.unwrap().expect("the other node stays"));
        }
        self
    }

    fn has_all(&self) -> bool {
        let has = |topic| self.got.get(topic).and_then(|got| got.last()) == Some(&MESSAGES);
        self.topics.iter().all(has)
    }

    fn takes(&mut self, told: &Value) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut note = |at: &Value, offset: &Value| {
            let position = format!("{}-{offset}", text(&at["epoch"]));
            self.positions.insert(text(&at["topic"]), position);
        };
        assert!(told["gap"].is_null(), "{told}");
        assert_ne!(told["recovered"]["ok"], false, "{told}");
        for topic in told["subscribed"]["topics"]
            .as_array()
            .into_iter()
            .flatten()
        {
            note(topic, &topic["offset"]);
        }
        let batch = &told["batch"];
        for message in batch["messages"].as_array().into_iter().flatten() {
            note(batch, &message["offset"]);
            let number = message["data"]["n"].as_u64().unwrap();
            self.got
                .entry(text(&batch["topic"]))
                .or_default()
                .push(number);
        }
        let reconnect = &told["reconnect"];
        if let Some(after_ms) = reconnect["after_ms"].as_u64() {
            let to = text(&reconnect["alternative"]);
            self.sent = Some((Duration::from_millis(after_ms), to));
        }
    }
}

async fn publish_all(nodes: &mut [Node], topics: &[String]) {
    let address = format!("http://{}", nodes[1].grpc);
    let mut publisher = BroadcastClient::connect(address).await.unwrap();
    for number in 1..=MESSAGES {
        if number == STOPS_AFTER {
            nodes[0].signal(Signal::TERM);
        }
        for topic in topics {
            let request = pb::PublishRequest {
                topic: topic.clone(),
                data: format!("{{\"n\":{number}}}").into(),
                content: pb::MessageContent::Json.into(),
                ack: pb::PublishAck::Owner.into(),
                ..pb::PublishRequest::default()
            };
            publisher.publish(request).await.unwrap();
        }
        sleep(SPACING).await;
    }
}

#[tokio::test]
async fn clients_of_a_node_that_stops_go_on_at_another_one_and_nothing_is_lost_or_doubled() {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let mut nodes = join_all(NAMES.map(|id| Node::start_as(id, &keys, CONFIG))).await;
    for node in &nodes {
        node.says("messages of a node are heard").await;
    }
    let topics = NAMES.map(topic_of).to_vec();
    let (from, to) = (nodes[0].ingress.to_string(), nodes[1].ingress.to_string());
    let opened = (0..2 * CLIENTS).map(|n| Client::open(n % 2 == 0, &topics, &from));
    let clients = join_all(opened).await;
    let followed = join_all(clients.into_iter().map(Client::follow));
    let (clients, ()) = tokio::join!(followed, publish_all(&mut nodes, &topics));

    let every: Vec<_> = (1..=MESSAGES).collect();
    let mut waits = BTreeSet::new();
    for client in &clients {
        for topic in &topics {
            assert_eq!(client.got[topic], every, "{}", nodes[1].log());
        }
        let (after, sent_to) = client.sent.as_ref().expect("everybody is sent away");
        assert_eq!((sent_to, *after <= WINDOW), (&to, true), "{after:?}");
        waits.insert(*after);
    }
    // They come back over the whole window, not all at once.
    assert!(waits.len() > CLIENTS, "{waits:?}");
    assert!(waits.last() > Some(&(WINDOW / 2)), "{waits:?}");
}
