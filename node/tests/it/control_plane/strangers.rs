//! Whoever speaks to the control plane as no node should: nobody else notices.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::control_message::Message;
use weir_proto::control::v1::node_message;
use weir_proto::control::v1::node_sync_client::NodeSyncClient;

use super::Node;
use super::plane::ControlPlane;
use crate::common::{PATIENCE, read_to_end};
use crate::grpc::channel;
use crate::operator::wait_until;
use crate::steered::Steered;

/// What an idle control plane may come to hold for a handful of such clients.
const GROWTH_MAX: u64 = 32 << 20;

/// A stream that says only what the test says.
struct Stranger {
    out: mpsc::Sender<pb::NodeMessage>,
    inbound: Streaming<pb::ControlMessage>,
}

impl Stranger {
    /// Opens a stream with this as its first word.
    async fn saying(plane: &ControlPlane, first: node_message::Message) -> Self {
        let (out, messages) = mpsc::channel(16);
        let mut client = NodeSyncClient::new(channel(plane.address).await);
        let stranger = client.sync(ReceiverStream::new(messages));
        out.send(said(first)).await.unwrap();
        let inbound = stranger.await.unwrap().into_inner();
        Self { out, inbound }
    }

    /// One that was let in.
    async fn welcome(plane: &ControlPlane, id: &str) -> Self {
        let mut stranger = Self::saying(plane, hello(id)).await;
        let first = stranger.next().await.unwrap();
        assert!(matches!(first, Message::Welcome(_)), "{first:?}");
        stranger
    }

    async fn say(&self, message: node_message::Message) {
        // It may have been ended.
        let _ = self.out.send(said(message)).await;
    }

    async fn next(&mut self) -> Result<Message, Status> {
        let next = timeout(PATIENCE, self.inbound.message()).await;
        let next = next.expect("it says something")?;
        next.and_then(|next| next.message)
            .ok_or_else(|| Status::cancelled("ended"))
    }

    /// The next push of a type.
    async fn push(&mut self, kind: pb::ResourceType) -> pb::Push {
        loop {
            if let Message::Push(push) = self.next().await.unwrap()
                && push.r#type() == kind
            {
                return push;
            }
        }
    }

    /// Reads on until the stream is ended.
    async fn ended(mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

fn said(message: node_message::Message) -> pb::NodeMessage {
    pb::NodeMessage {
        message: Some(message),
    }
}

fn hello(id: &str) -> node_message::Message {
    let subscribe = [
        pb::ResourceType::Profile,
        pb::ResourceType::Weights,
        pb::ResourceType::Endpoints,
        pb::ResourceType::Peers,
        pb::ResourceType::Orders,
    ];
    node_message::Message::Hello(pb::Hello {
        node_id: id.to_owned(),
        boot_id: "1".to_owned(),
        subscribe: subscribe.map(|kind| kind as i32).to_vec(),
        schema_version: 1,
        ..pb::Hello::default()
    })
}

fn ack(push: &pb::Push) -> pb::Ack {
    pb::Ack {
        nonce: push.nonce,
        r#type: push.r#type,
        version: push.version,
        status: pb::ApplyStatus::Applied as i32,
        ..pb::Ack::default()
    }
}

#[tokio::test]
async fn who_never_answers_costs_one_push_and_holds_nobody_up() {
    let plane = ControlPlane::start().await;
    let _node = Node::start("node-a", &plane, &[]).await;
    plane.sees_in_sync("node-a").await;
    let mut silent = Vec::new();
    for at in 0..4 {
        silent.push(Stranger::welcome(&plane, &format!("silent-{at}")).await);
    }
    let before = plane.resident_bytes();
    let filler = "x".repeat(60);
    for change in 0..20 {
        let name = format!("{filler}{change}");
        plane.weigh("web", &[(&name, 1)]).await;
        plane
            .tune(&[("ingress.header_timeout", &format!("{}ms", 5_000 + change))])
            .await;
        if change % 10 == 9 {
            plane.sees_in_sync("node-a").await;
        }
    }
    let grown = plane.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    // What they were told is what there was when they came, and nothing since.
    for mut stranger in silent {
        let mut profiles = 0;
        while let Ok(Ok(Some(message))) =
            timeout(Duration::from_millis(100), stranger.inbound.message()).await
        {
            if let Some(Message::Push(push)) = message.message {
                profiles += usize::from(push.r#type() == pb::ResourceType::Profile);
            }
        }
        assert_eq!(profiles, 1);
    }
}

#[tokio::test]
async fn who_answers_late_gets_the_newest_state_and_nothing_between() {
    let plane = ControlPlane::start().await;
    let mut late = Stranger::welcome(&plane, "late").await;
    let first = late.push(pb::ResourceType::Profile).await;
    for change in 0..10 {
        plane
            .tune(&[("ingress.header_timeout", &format!("{}ms", 5_000 + change))])
            .await;
    }
    late.say(node_message::Message::Ack(ack(&first))).await;
    let second = late.push(pb::ResourceType::Profile).await;
    let wanted = plane.node("late").await.wanted_hash;
    assert_eq!(second.resources[0].hash, wanted);
    assert_eq!(second.from_version, first.version);
    late.say(node_message::Message::Ack(ack(&second))).await;
    drop(late.out);
    plane
        .sees("late", "has left in order", |node| {
            node.presence() == pb::Presence::Away
        })
        .await;
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_why_and_ended() {
    let plane = ControlPlane::start().await;
    let is_refused = async |first, told: &str| {
        let status = Stranger::saying(&plane, first).await.ended().await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(told), "{status}");
    };
    let heartbeat = || node_message::Message::Heartbeat(pb::NodeHeartbeat::default());
    is_refused(heartbeat(), "the first message must be a hello").await;
    is_refused(
        hello("a/b"),
        "hello.node_id: `a/b` names no node (allowed: 1 to 63",
    )
    .await;
    is_refused(hello(&"x".repeat(1 << 10)), "hello.node_id").await;
    let huge = hello(&"x".repeat(1 << 20));
    let status = Stranger::saying(&plane, huge).await.ended().await;
    assert_eq!(status.code(), Code::OutOfRange, "no message is that large");

    let is_ended = async |after: node_message::Message, told: &str| {
        let stranger = Stranger::welcome(&plane, "stranger").await;
        stranger.say(after).await;
        let status = stranger.ended().await;
        assert!(status.message().contains(told), "{status}");
    };
    is_ended(hello("stranger"), "hello: was said already").await;
    let nonsense = pb::Ack {
        nonce: 77,
        r#type: pb::ResourceType::Weights as i32,
        ..pb::Ack::default()
    };
    is_ended(node_message::Message::Ack(nonsense.clone()), "ack.nonce").await;
    let nonsense = pb::Ack {
        r#type: 99,
        ..nonsense
    };
    is_ended(node_message::Message::Ack(nonsense), "ack.type").await;

    let mut hopeless = Stranger::welcome(&plane, "hopeless").await;
    for _ in 0..3 {
        let push = hopeless.push(pb::ResourceType::Profile).await;
        assert!(push.reset);
        let again = pb::Ack {
            resync: true,
            ..ack(&push)
        };
        hopeless.say(node_message::Message::Ack(again)).await;
    }
    let status = hopeless.ended().await;
    assert!(status.message().contains("ack.resync"), "{status}");
}

#[tokio::test]
async fn bytes_that_are_no_protocol_end_their_connection_alone() {
    let plane = ControlPlane::start().await;
    let _node = Node::start("node-a", &plane, &[]).await;
    plane.sees_connected("node-a").await;
    let garbage: Vec<u8> = (0..8_192).map(|_| fastrand::u8(..)).collect();
    for bytes in [&garbage[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(plane.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await;
    }
    plane.tune(&[("ingress.header_timeout", "7s")]).await;
    plane.sees_in_sync("node-a").await;
}

#[tokio::test]
async fn of_two_processes_with_one_id_the_younger_has_it_and_both_serve() {
    let plane = ControlPlane::start().await;
    let backend = Steered::start("one").await;
    let older = Node::start("node-a", &plane, &[backend.address]).await;
    let first = plane.sees_connected("node-a").await.boot_id;
    let younger = Node::start("node-a", &plane, &[backend.address]).await;
    let other = |node: &pb::NodeInfo| !node.boot_id.is_empty() && node.boot_id != first;
    let second = plane
        .sees("node-a", "is another process", other)
        .await
        .boot_id;
    older.says("sent away by the control plane").await;
    plane.tune(&[("ingress.header_timeout", "7s")]).await;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let node = plane.node("node-a").await;
        assert_eq!(
            (&node.boot_id, node.presence()),
            (&second, pb::Presence::Connected)
        );
        sleep(Duration::from_millis(50)).await;
    }
    plane.sees_in_sync("node-a").await;
    assert_eq!(
        younger
            .log()
            .matches("connected to the control plane")
            .count(),
        1
    );
    assert_eq!(
        older
            .log()
            .matches("connected to the control plane")
            .count(),
        1
    );
    for node in [&older, &younger] {
        assert!(node.get("/").await.ends_with("one"));
    }
    wait_until(&younger, "it is in force", async || {
        younger.effective(&plane, "ingress.header_timeout").await["value"] == "7s"
    })
    .await;
}
