//! What an instance bounds: connections, the age of streams, its own end.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use weir_control_plane::server::Limits;
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::node_sync_client::NodeSyncClient;

use crate::api::Api;
use crate::etcd::Etcd;
use crate::instance::{PATIENCE, Plan};
use crate::node::{Manner, Node};
use crate::watcher::Shown;

#[tokio::test]
async fn who_comes_beyond_the_bound_is_closed_and_may_come_when_another_left() {
    let etcd = Etcd::start().await;
    let mut plan = Plan::new("cp-1", &[etcd.endpoint()]);
    plan.limits.connections_max = 2;
    let instance = plan.start().await;
    let node = Node::start("n1", &[instance.address()]);
    node.connected_to("cp-1").await;
    let mut held = TcpStream::connect(instance.address()).await.unwrap();
    let mut beyond = TcpStream::connect(instance.address()).await.unwrap();
    let read = timeout(PATIENCE, beyond.read(&mut [0; 64])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    // One that says nothing has a place all the same; the server speaks first.
    assert!(held.read(&mut [0; 64]).await.unwrap() > 0);
    drop(held);
    let api = Api::to(instance.address());
    api.until_status("there is a place again", |status| status.streams == 1)
        .await;
    assert_eq!(node.now().welcomes, 1);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let etcd = Etcd::start().await;
    let mut plan = Plan::new("cp-1", &[etcd.endpoint()]);
    plan.limits.silent_max = Duration::from_millis(500);
    let instance = plan.start().await;
    let mut silent = TcpStream::connect(instance.address()).await.unwrap();
    let mut greeting = Vec::new();
    let closed = timeout(Duration::from_secs(5), silent.read_to_end(&mut greeting)).await;
    closed.expect("it is closed").ok();
}

#[tokio::test]
async fn a_stream_is_renewed_when_it_is_old_and_nobody_notices() {
    let etcd = Etcd::start().await;
    let members = [etcd.endpoint()];
    let mut plan = Plan::new("cp-1", &members);
    plan.limits = Limits {
        stream_age: Duration::from_millis(500),
        ..Limits::default()
    };
    let first = plan.start().await;
    let second = Plan::new("cp-2", &members).start().await;
    let two = Api::to(second.address());
    two.set(1_001).await;
    let manner = Manner {
        // Long enough to be seen by whoever looks.
        away_for: Duration::from_millis(600),
        ..Manner::new("n1", &[first.address()])
    };
    let node = manner.start();
    let is_there = |node: &pb::NodeInfo| node.presence() == pb::Presence::Connected;
    two.until_node("n1", "there", is_there).await;
    let shown = Shown::by(&two).await;
    let seen = node.until("renewed", |seen| seen.welcomes >= 4).await;
    assert!(
        seen.go_aways
            .iter()
            .all(|reason| reason == "the stream is renewed")
    );
    let pushes = seen.pushes_of(pb::ResourceType::Profile);
    assert_eq!(pushes, 1, "what it holds is not told again");
    two.set(1_002).await;
    node.at(1_002).await;
    shown.always_connected();
}

#[tokio::test]
async fn an_instance_ends_although_a_call_does_not() {
    let etcd = Etcd::start().await;
    let mut instance = Plan::new("cp-1", &[etcd.endpoint()]).start().await;
    let place = format!("http://{}", instance.address());
    let channel = Endpoint::from_shared(place)
        .unwrap()
        .connect()
        .await
        .unwrap();
    // A stream that never says hello.
    let (_say, silent) = mpsc::channel::<pb::NodeMessage>(1);
    let mut client = NodeSyncClient::new(channel);
    let stream = client.sync(ReceiverStream::new(silent)).await.unwrap();
    let begun = Instant::now();
    instance.stop().await;
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    drop(stream);
}
