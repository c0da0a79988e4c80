//! Clients of the API that are gone without a word.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use futures::StreamExt as _;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::MaybeTlsStream;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_client::BroadcastClient;

use super::{LIVE, socket};
use crate::common::{PATIENCE, Weir, read_until};
use crate::grpc::channel;

/// A way to the node on which nothing passes any more once it is cut; neither side is told.
async fn cable(to: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cut, mut is_cut) = watch::channel(false);
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut node = TcpStream::connect(to).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut node) => {}
            _ = async { is_cut.wait_for(|is_cut| *is_cut).await.map(drop) } => std::future::pending().await,
        }
    });
    (address, cut)
}

async fn subscribers(weir: &Weir) -> usize {
    let mut client = BroadcastClient::new(channel(weir.grpc).await);
    let open = client
        .list_connections(pb::ListConnectionsRequest::default())
        .await
        .unwrap();
    open.into_inner().connections.len()
}

#[tokio::test]
async fn a_subscriber_of_grpc_that_answers_no_ping_is_let_go() {
    let weir = Weir::start(LIVE).await;
    let (address, cut) = cable(weir.grpc).await;
    let mut client = BroadcastClient::new(channel(address).await);
    let request = pb::SubscribeRequest {
        topics: vec![pb::TopicSubscription {
            topic: "a".to_owned(),
            since: None,
        }],
        ..pb::SubscribeRequest::default()
    };
    let mut stream = client.subscribe(request).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    assert_eq!(subscribers(&weir).await, 1);
    cut.send_replace(true);
    let deadline = Instant::now() + 2 * PATIENCE;
    while subscribers(&weir).await > 0 {
        assert!(Instant::now() < deadline, "{}", weir.log());
        sleep(Duration::from_millis(200)).await;
    }
}

/// The node's own end of a connection, once it has it.
fn far_end(weir: &Weir, near: SocketAddr) -> Option<socket2::Socket> {
    let process = pidfd_open(weir.pid(), PidfdFlags::empty()).unwrap();
    let open = std::fs::read_dir(format!("/proc/{}/fd", weir.pid().as_raw_nonzero())).unwrap();
    let numbers = open.filter_map(|one| one.ok()?.file_name().to_str()?.parse().ok());
    let all = numbers.filter_map(|number| {
        let taken: OwnedFd = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?;
        Some(socket2::Socket::from(taken))
    });
    let mut all = all.filter(|socket| {
        let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
        peer == Some(near)
    });
    all.next()
}

#[tokio::test]
async fn the_system_gives_up_clients_whose_own_takes_nothing() {
    let weir = Weir::start(LIVE).await;
    let mut events = TcpStream::connect(weir.api).await.unwrap();
    let head = "GET /sse?topic=a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    events.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut events, "event: subscribed").await;
    let grpc = TcpStream::connect(weir.grpc).await.unwrap();
    let route = socket(&format!("ws://{}/live?topic=a", weir.ingress)).await;
    let MaybeTlsStream::Plain(route) = route.get_ref() else {
        panic!("no TLS was asked for");
    };
    crate::operator::wait_until(&weir, "all are held", async || {
        [&events, &grpc, route].iter().all(|near| {
            let far = far_end(&weir, near.local_addr().unwrap());
            // As long as messages may wait, and 20 s.
            let patience = far.and_then(|far| far.tcp_user_timeout().unwrap());
            patience == Some(Duration::from_secs(30))
        })
    })
    .await;
}
