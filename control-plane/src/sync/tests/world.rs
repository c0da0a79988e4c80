//! An instance without a store and a network: the test says what it sees.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status, Streaming};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::control_message::Message;
use weir_proto::control::v1::node_message;
use weir_proto::control::v1::node_sync_client::NodeSyncClient;
use weir_proto::control::v1::node_sync_server::NodeSyncServer;

use crate::clock::NowUnixMs;
use crate::clock::WallClock;
use crate::election;
use crate::governance::guard::{Access, Guard};
use crate::governance::identity::Identity;
use crate::governance::tokens::TokenTable;
use crate::keys::Keys;
use crate::leases::{Buckets, Options, Presences};
use crate::quota::{Bounds, Quota};
use crate::store::{
    Entry, Error, Lease, LeaseId, List, Page, Revision, Store, Txn, TxnOutcome, Watch, WatchStream,
};
use crate::sync::resources::ResourceSet;
use crate::sync::{NodeSyncService, Parts, Sessions};
use crate::view::{Census, NodeRecords, Standing, View};

const BUFFER_BYTES: usize = 64 << 10;
/// No step takes longer in the time of these tests.
const PATIENCE: Duration = Duration::from_secs(300);
/// How old a stream gets, within a tenth.
pub(super) const STREAM_AGE: Duration = Duration::from_secs(1_800);
pub(super) const INSTANCE: &str = "cp-1";

/// A store that is away.
struct Away;

fn away<T: Send + 'static>() -> BoxFuture<'static, Result<T, Error>> {
    let error = Error::Unavailable {
        reason: "it is away".to_owned(),
    };
    async { Err(error) }.boxed()
}

impl Store for Away {
    fn get(&self, _: Bytes, _: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        away()
    }
    fn list(&self, _: List) -> BoxFuture<'_, Result<Page, Error>> {
        away()
    }
    fn txn(&self, _: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        away()
    }
    fn grant(&self, _: Duration) -> BoxFuture<'_, Result<Lease, Error>> {
        away()
    }
    fn keep_alive(&self, _: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        away()
    }
    fn revoke(&self, _: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        away()
    }
    fn watch(&self, _: Watch) -> BoxFuture<'_, Result<WatchStream, Error>> {
        away()
    }
    fn compact(&self, _: Revision) -> BoxFuture<'_, Result<(), Error>> {
        away()
    }
    fn status(&self) -> BoxFuture<'_, Result<crate::store::Status, Error>> {
        away()
    }
}

/// What the instance sees; whoever holds it changes that.
pub(super) struct World {
    pub(super) parts: Arc<Parts>,
    pub(super) weights: watch::Sender<Arc<ResourceSet>>,
    pub(super) endpoints: watch::Sender<Arc<ResourceSet>>,
    pub(super) nodes: watch::Sender<Arc<NodeRecords>>,
    pub(super) census: watch::Sender<Arc<Census>>,
    pub(super) live: watch::Sender<Standing>,
    pub(super) stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
    connections: mpsc::UnboundedSender<io::Result<DuplexStream>>,
}

/// What no test changes.
fn always<T>(value: T) -> watch::Receiver<T> {
    watch::channel(value).1
}

fn read() -> Standing {
    Standing {
        complete: true,
        ..Standing::default()
    }
}

impl World {
    /// An instance that has read its store.
    pub(super) fn new() -> Self {
        Self::with(Bounds::default())
    }

    /// One that follows this store.
    pub(super) fn following(store: Arc<dyn Store>) -> Self {
        Self::build(Bounds::default(), Some(store))
    }

    /// One that lets in as many.
    pub(super) fn with(bounds: Bounds) -> Self {
        Self::build(bounds, None)
    }

    fn build(bounds: Bounds, followed: Option<Arc<dyn Store>>) -> Self {
        let (weights, weights_in) = watch::channel(Arc::default());
        let (endpoints, endpoints_in) = watch::channel(Arc::default());
        let (nodes, nodes_in) = watch::channel(Arc::default());
        let (census, census_in) = watch::channel(Arc::default());
        let (live, live_in) = watch::channel(read());
        let (stop, stop_in) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let follows = followed.is_some();
        let store: Arc<dyn Store> = followed.unwrap_or(Arc::new(Away));
        let mut parts = parts(&store, bounds, stop_in, &mut tasks);
        if !follows {
            let view = &mut parts.view;
            (view.weights, view.endpoints) = (weights_in, endpoints_in);
            (view.nodes, view.nodes_census) = (nodes_in, census_in);
            (view.live, view.cfg) = (live_in, always(read()));
        }
        let parts = Arc::new(parts);
        Self {
            connections: serve(Arc::clone(&parts)),
            parts,
            weights,
            endpoints,
            nodes,
            census,
            live,
            stop,
            _tasks: tasks,
        }
    }

    async fn channel(&self) -> Channel {
        let connections = self.connections.clone();
        let connector = tower::service_fn(move |_| {
            let (near, far) = tokio::io::duplex(BUFFER_BYTES);
            let sent = connections.send(Ok(far));
            async move { sent.map(|()| TokioIo::new(near)).map_err(io::Error::other) }
        });
        let endpoint = Endpoint::from_static("http://instance");
        endpoint.connect_with_connector(connector).await.unwrap()
    }

    /// Opens a stream and says nothing.
    pub(super) async fn open(&self) -> Node {
        let (out, messages) = mpsc::channel(16);
        let mut client = NodeSyncClient::new(self.channel().await);
        let inbound = client.sync(ReceiverStream::new(messages)).await;
        Node {
            out,
            inbound: inbound.unwrap().into_inner(),
        }
    }

    /// Opens a stream and says hello.
    pub(super) async fn greet(&self, hello: pb::Hello) -> Node {
        let node = self.open().await;
        node.say(node_message::Message::Hello(hello)).await;
        node
    }

    /// A node that was let in.
    pub(super) async fn let_in(&self, hello: pb::Hello) -> Node {
        let mut node = self.greet(hello).await;
        let first = node.next().await.unwrap();
        assert!(matches!(first, Message::Welcome(_)), "{first:?}");
        node
    }
}

/// Those of an instance that follows a store.
fn parts(
    store: &Arc<dyn Store>,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Parts {
    let keys = Keys::new("default").unwrap();
    let buckets = Arc::new(Buckets::start(Arc::clone(store), Options::new(1)));
    let presences = Arc::new(Presences::start(Arc::clone(store), buckets, 1));
    let clock = WallClock::starting_at(Duration::from_secs(1_000));
    let tokens = Arc::new(TokenTable::new(keys.clone()));
    let (table, shown) = (Arc::clone(&tokens), Arc::clone(&presences));
    let now: NowUnixMs = Arc::new(move || clock.unix_ms_now());
    Parts {
        guard: Guard::new(Access::OpenLoopback, Arc::clone(&tokens), "default", now),
        view: View::follow(store, &keys, table, shown, clock, 1, tasks),
        tokens,
        keys,
        instance: INSTANCE.into(),
        clock,
        presences,
        sessions: Sessions::default(),
        quota: Mutex::new(Quota::of_nodes(bounds)),
        leader: always(election::Standing::default()),
        epoch: always(Some("epoch".into())),
        stop,
        stream_age: STREAM_AGE,
        seed: 1,
        steps: crate::steps::Steps::default(),
        watchers: Arc::new(tokio::sync::Semaphore::new(1)),
    }
}

fn serve(parts: Arc<Parts>) -> mpsc::UnboundedSender<io::Result<DuplexStream>> {
    let (connections, incoming) = mpsc::unbounded_channel();
    let service = NodeSyncService::new(parts);
    let local = |mut request: Request<()>| {
        request.extensions_mut().insert(Identity::local());
        Ok(request)
    };
    let server = Server::builder().add_service(NodeSyncServer::with_interceptor(service, local));
    tokio::spawn(server.serve_with_incoming(UnboundedReceiverStream::new(incoming)));
    connections
}

/// A node that the test plays.
pub(super) struct Node {
    out: mpsc::Sender<pb::NodeMessage>,
    inbound: Streaming<pb::ControlMessage>,
}

impl Node {
    pub(super) async fn say(&self, message: node_message::Message) {
        let message = pb::NodeMessage {
            message: Some(message),
        };
        // The stream may have been ended.
        let _ = self.out.send(message).await;
    }

    pub(super) async fn next(&mut self) -> Result<Message, Status> {
        let next = timeout(PATIENCE, self.inbound.message()).await;
        let next = next.expect("it says something or ends")?;
        next.and_then(|next| next.message)
            .ok_or_else(|| Status::ok("ended"))
    }

    /// The next push.
    pub(super) async fn push(&mut self) -> pb::Push {
        loop {
            match self.next().await {
                Ok(Message::Push(push)) => return push,
                Ok(Message::Heartbeat(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Whether a push comes within some seconds.
    pub(super) async fn is_pushed(&mut self) -> bool {
        timeout(Duration::from_secs(5), self.push()).await.is_ok()
    }

    pub(super) async fn go_away(&mut self) -> pb::GoAway {
        loop {
            match self.next().await {
                Ok(Message::GoAway(away)) => return away,
                Ok(_) => {}
                Err(status) => panic!("{status}"),
            }
        }
    }

    /// Reads on until the stream ends: why, and when.
    pub(super) async fn ended(mut self) -> (Status, Instant) {
        loop {
            if let Err(status) = self.next().await {
                return (status, Instant::now());
            }
        }
    }
}

/// The first words of a node that wants weights.
pub(super) fn hello(boot_id: &str) -> pb::Hello {
    pb::Hello {
        node_id: "node-a".to_owned(),
        boot_id: boot_id.to_owned(),
        subscribe: vec![pb::ResourceType::Weights as i32],
        ..pb::Hello::default()
    }
}

/// An answer to a push.
pub(super) fn ack(push: &pb::Push) -> node_message::Message {
    node_message::Message::Ack(pb::Ack {
        nonce: push.nonce,
        r#type: push.r#type,
        version: push.version,
        status: pb::ApplyStatus::Applied as i32,
        ..pb::Ack::default()
    })
}
