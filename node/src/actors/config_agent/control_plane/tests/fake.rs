//! A control plane that the test plays, and a network in memory.

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use weir_proto::control::v1::control_message::Message;
use weir_proto::control::v1::node_sync_server::{NodeSync, NodeSyncServer};

use super::*;
use crate::ports::net::{BoxedStream, Endpoint, Net};

const BUFFER_BYTES: usize = 64 << 10;
/// No step takes longer in the time of these tests.
const PATIENCE: Duration = secs_of(300);

const fn secs_of(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A stream that the node opened.
pub(super) struct Opened {
    pub(super) at: Instant,
    pub(super) inbound: Streaming<pb::NodeMessage>,
    pub(super) out: mpsc::Sender<Result<pb::ControlMessage, Status>>,
}

impl Opened {
    /// What the node says next; `None` if it ended its side in order.
    pub(super) async fn next(&mut self) -> Option<pb::node_message::Message> {
        let next = timeout(PATIENCE, self.inbound.message()).await;
        let next = next
            .expect("it says something")
            .expect("it does not break off");
        next.and_then(|next| next.message)
    }

    /// The same without heartbeats.
    pub(super) async fn next_word(&mut self) -> Option<pb::node_message::Message> {
        loop {
            match self.next().await {
                Some(pb::node_message::Message::Heartbeat(_)) => {}
                other => return other,
            }
        }
    }

    pub(super) async fn hello(&mut self) -> pb::Hello {
        match self.next().await {
            Some(pb::node_message::Message::Hello(hello)) => hello,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn ack(&mut self) -> pb::Ack {
        match self.next_word().await {
            Some(pb::node_message::Message::Ack(ack)) => ack,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn say(&self, message: Message) {
        let message = pb::ControlMessage {
            message: Some(message),
        };
        self.out.send(Ok(message)).await.unwrap();
    }

    pub(super) async fn welcome(&self, heartbeat: Duration) {
        let welcome = pb::Welcome {
            heartbeat_interval_ms: heartbeat.as_millis().try_into().unwrap(),
            ..pb::Welcome::default()
        };
        self.say(Message::Welcome(welcome)).await;
    }
}

struct Fake(mpsc::UnboundedSender<Opened>);

#[tonic::async_trait]
impl NodeSync for Fake {
    type SyncStream = ReceiverStream<Result<pb::ControlMessage, Status>>;

    async fn sync(
        &self,
        request: Request<Streaming<pb::NodeMessage>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let (out, messages) = mpsc::channel(16);
        let opened = Opened {
            at: Instant::now(),
            inbound: request.into_inner(),
            out,
        };
        // The test may have ended.
        let _ = self.0.send(opened);
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

#[derive(Debug)]
struct Memory(mpsc::UnboundedSender<io::Result<DuplexStream>>);

impl Net for Memory {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, io::Result<BoxedStream>> {
        let (near, far) = tokio::io::duplex(BUFFER_BYTES);
        let sent = self.0.send(Ok(far));
        Box::pin(async move {
            sent.map_err(io::Error::other)?;
            Ok(Box::new(near) as BoxedStream)
        })
    }
}

/// A node's side at work, and the control plane to it.
pub(super) struct Link {
    opened: mpsc::UnboundedReceiver<Opened>,
    stop: watch::Sender<bool>,
    run: JoinHandle<()>,
}

impl Link {
    pub(super) fn start(wired: &Wired, taker: Taker) -> Self {
        let (connections, incoming) = mpsc::unbounded_channel();
        let (streams, opened) = mpsc::unbounded_channel();
        let server = Server::builder().add_service(NodeSyncServer::new(Fake(streams)));
        tokio::spawn(server.serve_with_incoming(UnboundedReceiverStream::new(incoming)));
        let settings = Settings {
            endpoints: vec!["127.0.0.1:1".parse().unwrap()],
            net: Arc::new(Memory(connections)),
            tls: None,
            token: None,
            hello: pb::Hello {
                node_id: "node-a".to_owned(),
                ..pb::Hello::default()
            },
            metrics: wired.core_parts.metrics.clone(),
            seed: 1,
        };
        let (stop, stopping) = watch::channel(false);
        let run = tokio::task::spawn_local(super::super::run(settings, taker, stopping));
        Self { opened, stop, run }
    }

    /// The next stream.
    pub(super) async fn opened(&mut self) -> Opened {
        let opened = timeout(PATIENCE, self.opened.recv()).await;
        opened.expect("it comes").unwrap()
    }

    /// The next stream after its hello.
    pub(super) async fn greeted(&mut self) -> (Opened, pb::Hello) {
        let mut opened = self.opened().await;
        let hello = opened.hello().await;
        (opened, hello)
    }

    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(super) async fn ended(self) {
        let ended = timeout(PATIENCE, self.run).await;
        ended.expect("it ends").unwrap();
    }
}
