//! Nodes in one process with a network in memory that can be cut, and subscribers that check what they are told.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Server;
use weir_broadcast::{Connection, Draft, Encoding, Shard, Since, Topics, Writing};
use weir_core::broadcast::{Limits, Pattern, TopicName};
use weir_proto::control::v1::Peer as Listed;
use weir_proto::node::v1::delivery::What as Delivered;

use super::super::{Ack, Mesh, Receipt, wire};
use crate::actors::config_agent::control_plane::LinkStatus;
use crate::grpc::broadcast_peer;
use crate::peers::{PeerKey, Peers};
use crate::ports::clock::WallClock;
use crate::ports::net::{BoxedStream, Endpoint, Net};
use crate::snapshot::Snapshot;

/// Names of nodes are addresses without their port.
const PORT: &str = ":1";

#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Wires>);

#[derive(Debug)]
struct Wires {
    listeners: Mutex<BTreeMap<String, mpsc::UnboundedSender<DuplexStream>>>,
    /// Nodes that nothing comes to and nothing from.
    cut: watch::Sender<BTreeSet<String>>,
    /// Nodes whose process is gone.
    dead: watch::Sender<BTreeSet<String>>,
}

impl Default for Wires {
    fn default() -> Self {
        Self {
            listeners: Mutex::default(),
            cut: watch::Sender::new(BTreeSet::new()),
            dead: watch::Sender::new(BTreeSet::new()),
        }
    }
}

#[derive(Debug)]
struct From {
    node: String,
    wire: Wire,
}

impl Net for From {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<BoxedStream>> {
        Box::pin(async move {
            let to = to.as_str().trim_end_matches(PORT).to_owned();
            let wires = &self.wire.0;
            let ends = [self.node.clone(), to.clone()];
            if ends.iter().any(|end| wires.cut.borrow().contains(end)) {
                return std::future::pending().await;
            }
            let (near, mut inner) = duplex(1 << 16);
            let (mut outer, far) = duplex(1 << 16);
            let listener = wires.listeners.lock().get(&to).cloned();
            let taken = listener.is_some_and(|listener| listener.send(far).is_ok());
            if !taken {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (mut cut, mut dead) = (wires.cut.subscribe(), wires.dead.subscribe());
            tokio::spawn(async move {
                let has_one = |set: &BTreeSet<String>| ends.iter().any(|end| set.contains(end));
                tokio::select! {
                    _ = copy_bidirectional(&mut inner, &mut outer) => return,
                    _ = dead.wait_for(|set| has_one(set)) => return,
                    _ = cut.wait_for(|set| has_one(set)) => {}
                }
                // Nothing is closed, and nothing comes any more.
                let _held = (inner, outer);
                std::future::pending::<()>().await;
            });
            Ok(Box::new(near) as BoxedStream)
        })
    }
}

/// Several nodes.
pub(super) struct World {
    wire: Wire,
    pub(super) nodes: BTreeMap<String, Node>,
    listed: Snapshot<LinkStatus>,
    /// What nodes show each other and ask for, where they do.
    keys: BTreeMap<&'static str, PeerKey>,
}

pub(super) struct Node {
    pub(super) mesh: Mesh,
    pub(super) topics: Arc<Topics>,
    pub(super) shard: Rc<Shard>,
    tasks: Vec<AbortHandle>,
}

impl World {
    /// So many nodes, `a`, `b` and so on, linked to each other. Must run within a `LocalSet`.
    pub(super) async fn new(count: usize) -> Self {
        let world = Self::with_keys(count, BTreeMap::new()).await;
        for node in world.nodes.values() {
            assert_eq!(node.mesh.view().live.len(), count);
        }
        world
    }

    /// The same with what they show each other; one second later.
    pub(super) async fn with_keys(count: usize, keys: BTreeMap<&'static str, PeerKey>) -> Self {
        let mut world = Self {
            wire: Wire::default(),
            nodes: BTreeMap::new(),
            listed: Snapshot::new(LinkStatus::default()),
            keys,
        };
        for at in 0..count {
            let name = ["a", "b", "c", "d"][at];
            world.start(name, at as u64 + 1);
        }
        sleep(Duration::from_secs(1)).await;
        world
    }

    /// Starts a node, also one that was killed.
    pub(super) fn start(&mut self, name: &str, seed: u64) {
        let topics = Topics::new(Limits::default(), 2, seed).unwrap();
        let mesh = Mesh::new(name, &topics, WallClock::system(), seed);
        let shard = Shard::new(&topics, 0).unwrap();
        let (listener, accepted) = mpsc::unbounded_channel();
        let net = From {
            node: name.to_owned(),
            wire: self.wire.clone(),
        };
        let key = self.keys.get(name).cloned().unwrap_or_default();
        let asks = key.asks();
        let peers = Peers::new(name, self.listed.clone(), Arc::new(net)).with_key(key);
        self.wire.0.dead.send_modify(|dead| _ = dead.remove(name));
        self.wire
            .0
            .listeners
            .lock()
            .insert(name.to_owned(), listener);
        let incoming = tokio_stream::StreamExt::map(
            UnboundedReceiverStream::new(accepted),
            Ok::<_, io::Error>,
        );
        let server = Server::builder().add_service(broadcast_peer::server(&mesh, asks));
        let serves = tokio::spawn(server.serve_with_incoming(incoming)).abort_handle();
        let (links, clients) = (mesh.clone(), Rc::clone(&shard));
        let runs = tokio::task::spawn_local(async move { links.run(peers, 1).await });
        let now = mesh.clone();
        let works = tokio::task::spawn_local(async move { clients.run(|| now.now()).await });
        let tasks = vec![serves, runs.abort_handle(), works.abort_handle()];
        let node = Node {
            mesh,
            topics,
            shard,
            tasks,
        };
        self.nodes.insert(name.to_owned(), node);
        self.list();
    }

    fn list(&self) {
        let peers = self.nodes.keys().map(|name| Listed {
            node_id: name.clone(),
            grpc_address: format!("{name}{PORT}"),
            http_api_address: format!("{name}:80"),
            ingress_addresses: vec!["0.0.0.0:8080".to_owned(), format!("{name}:8080")],
            ..Listed::default()
        });
        self.listed.publish(LinkStatus {
            peers: peers.collect(),
            ..LinkStatus::default()
        });
    }

    /// As `kill -9`.
    pub(super) fn kill(&mut self, name: &str) {
        self.wire.0.listeners.lock().remove(name);
        let node = self.nodes.remove(name).unwrap();
        for task in &node.tasks {
            task.abort();
        }
        self.wire
            .0
            .dead
            .send_modify(|dead| _ = dead.insert(name.to_owned()));
    }

    pub(super) fn cut(&self, name: &str) {
        self.wire
            .0
            .cut
            .send_modify(|cut| _ = cut.insert(name.to_owned()));
    }

    pub(super) fn heal(&self, name: &str) {
        self.wire.0.cut.send_modify(|cut| _ = cut.remove(name));
    }

    /// A topic that this node numbers and the other one keeps.
    pub(super) fn topic_of(&self, owner: &str, replica: &str) -> TopicName {
        let view = self.nodes.values().next().unwrap().mesh.view();
        let names = (0..).map(|n| TopicName::new(&format!("t.{n}")).unwrap());
        let mut fits =
            names.filter(|name| view.owner(name) == owner && view.replica(name) == Some(replica));
        fits.next().unwrap()
    }

    pub(super) async fn publish(
        &self,
        node: &str,
        topic: &TopicName,
        text: &str,
        ack: Ack,
    ) -> Receipt {
        let draft = Draft::new(topic.clone(), text.to_owned());
        self.nodes[node].mesh.publish(draft, ack).await.unwrap()
    }

    /// A subscriber on a node, once it has what the owner has.
    pub(super) async fn subscribe(
        &self,
        node: &str,
        topic: &TopicName,
        since: Since,
    ) -> Subscriber {
        let node = &self.nodes[node];
        assert!(node.mesh.follow(topic).await);
        let subscriber = Subscriber::new(node);
        let at = subscriber
            .connection
            .subscribe(topic, since, node.mesh.now())
            .unwrap();
        if since == Since::Now {
            let at = (at.epoch.0, at.offset);
            subscriber
                .told
                .borrow_mut()
                .at
                .insert(topic.to_string(), at);
        }
        subscriber
    }

    pub(super) fn subscribe_pattern(&self, node: &str, pattern: &str) -> Subscriber {
        let subscriber = Subscriber::new(&self.nodes[node]);
        let pattern = Pattern::new(pattern).unwrap();
        subscriber.connection.subscribe_pattern(&pattern).unwrap();
        subscriber
    }
}

/// What a subscriber was told.
#[derive(Default)]
pub(super) struct Told {
    /// The last position of each topic.
    at: BTreeMap<String, (u64, u64)>,
    pub(super) texts: Vec<String>,
    pub(super) gaps: Vec<(u64, u64)>,
    pub(super) restarts: usize,
}

pub(super) struct Subscriber {
    connection: Rc<Connection>,
    told: Rc<RefCell<Told>>,
    task: AbortHandle,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Subscriber {
    fn new(node: &Node) -> Self {
        let connection = Rc::new(node.shard.connect("test", Encoding::Grpc));
        let told = Rc::<RefCell<Told>>::default();
        let (reads, to, mesh) = (Rc::clone(&connection), Rc::clone(&told), node.mesh.clone());
        let task = tokio::task::spawn_local(async move {
            let mut writing = Writing::new();
            loop {
                reads.ready().await;
                if reads.take(&mut writing, || mesh.now()).is_err() {
                    return;
                }
                while let Some(frame) = writing.pop() {
                    to.borrow_mut()
                        .take(wire::decode_delivery(frame).unwrap().unwrap());
                }
            }
        });
        Self {
            connection,
            told,
            task: task.abort_handle(),
        }
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.told.borrow().texts.clone()
    }

    pub(super) fn restarts(&self) -> usize {
        self.told.borrow().restarts
    }

    pub(super) fn gaps(&self) -> Vec<(u64, u64)> {
        self.told.borrow().gaps.clone()
    }

    /// Until it has so many messages.
    pub(super) async fn has(&self, count: usize) {
        let waits = async {
            while self.told.borrow().texts.len() < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(20), waits).await;
        assert!(came.is_ok(), "{:?}", self.texts());
    }
}

impl Told {
    fn take(&mut self, what: Delivered) {
        match what {
            Delivered::Batch(batch) => {
                let at = self
                    .at
                    .entry(batch.topic.clone())
                    .or_insert((batch.epoch, batch.after));
                assert_eq!(
                    *at,
                    (batch.epoch, batch.after),
                    "a skip of {} is not told",
                    batch.topic
                );
                for message in batch.messages {
                    assert!(message.offset == 0 || message.offset > at.1, "not in order");
                    at.1 = at.1.max(message.offset);
                    self.texts
                        .push(String::from_utf8(message.data.to_vec()).unwrap());
                }
            }
            Delivered::Gap(gap) => {
                let first = (gap.epoch, gap.from - 1);
                let at = self.at.entry(gap.topic).or_insert(first);
                assert_eq!(*at, first);
                at.1 = gap.to;
                self.gaps.push((gap.from, gap.to));
            }
            Delivered::Recovered(recovered) => {
                let position = recovered.position.unwrap();
                let at = (position.epoch, position.offset);
                if !recovered.ok {
                    let before = self.at.get(&recovered.topic);
                    assert!(
                        before.is_none_or(|before| before.0 < at.0),
                        "an epoch comes back"
                    );
                    self.restarts += 1;
                }
                self.at.insert(recovered.topic, at);
            }
            _ => {}
        }
    }
}
