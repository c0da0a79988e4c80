//! Messages between nodes.
//!
//! ```text
//! publisher ─► Mesh::publish ─► this node numbers it ────────────────► Topics
//!                    │ another one does                                  ▲ │ held until the replica has it
//!                    └─► forward ══ Forward ══► that node: Topics        │ ▼
//!                                                 └─ shard of links ══ Link ══► copies of nodes that want it
//! ```
//!
//! One node numbers a topic: the first of those that live, by rendezvous hashing; the second one has a copy. Each node
//! holds a link to each other one, says what it wants of the topics that the other numbers, and is told as any
//! subscriber is; what comes goes into its own `Topics`, as a copy. `hub` keeps the links, on the control thread.
//! Publishers on any thread see a [`View`] of who lives.

mod canary;
mod following;
mod forward;
mod hub;
mod incoming;
mod outgoing;
mod owning;
mod passing;
mod peer;
#[cfg(test)]
mod tests;
mod view;
mod wire;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Streaming;
use weir_broadcast::{Draft, Published, Shard, Topics};
use weir_core::broadcast::{Position, Refused, TopicName};
use weir_core::cache::UnixMs;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::forward_response::What;

use self::forward::Job;
use self::hub::Said;
use super::Ack;
use crate::peers::{Peers, WayIn};
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;

pub use canary::CanaryStatus;
pub use forward::Forwarded;
pub use incoming::Linked;
pub use view::View;
pub(crate) use wire::MESSAGE_BYTES_MAX;

/// For another node to answer.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a message is tried while the node that numbers it does not take it.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(25);
/// How long a publisher waits for the replica.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a subscriber waits for its node to have what the owner has.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(2);
/// What links have said and is not looked at.
const SAID_MAX: usize = 1_024;

/// Why a message is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeshError {
    /// Something of it does not do.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The node that numbers it says so.
    #[error("node `{node}`, which numbers the topic: {why}")]
    RefusedThere {
        /// Which node.
        node: String,
        /// Its words.
        why: String,
    },
    /// It did not get there in time.
    #[error("node `{node}`, which numbers the topic, has not answered within 3 s")]
    Unreachable {
        /// Which node.
        node: String,
    },
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where it is; nowhere yet for one that nobody waits for.
    pub published: Published,
    /// A second node has it. Known only to who waits for it.
    pub is_replicated: bool,
}

/// The node's part of the mesh. Cheap to clone.
#[derive(Clone)]
pub struct Mesh(Arc<Shared>);

struct Shared {
    node: Arc<str>,
    topics: Arc<Topics>,
    clock: WallClock,
    seed: u64,
    view: Snapshot<View>,
    said: mpsc::Sender<Said>,
    /// Taken by whoever runs the hub.
    hears: Mutex<Option<mpsc::Receiver<Said>>>,
    /// Numbers of what is to be told from another: links, messages.
    numbers: AtomicU64,
    canary: Snapshot<CanaryStatus>,
    peers: OnceLock<Peers>,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh")
            .field("view", &self.0.view)
            .finish_non_exhaustive()
    }
}

impl Mesh {
    /// This node alone, until [`Self::run`]. `seed` is another one for each life of the node.
    pub fn new(node: &str, topics: &Arc<Topics>, clock: WallClock, seed: u64) -> Self {
        let (said, hears) = mpsc::channel(SAID_MAX);
        Self(Arc::new(Shared {
            node: node.into(),
            topics: Arc::clone(topics),
            clock,
            seed,
            view: Snapshot::new(View::alone(node)),
            said,
            hears: Mutex::new(Some(hears)),
            numbers: AtomicU64::new(0),
            canary: Snapshot::new(CanaryStatus::default()),
            peers: OnceLock::new(),
        }))
    }

    /// Keeps links to the other nodes and runs the shard of their connections, for as long as it is polled, within a
    /// `LocalSet`. Only the first call does.
    pub async fn run(&self, peers: Peers, link_shard: usize) {
        let Some(hears) = self.0.hears.lock().take() else {
            return;
        };
        let Some(shard) = Shard::for_links(&self.0.topics, link_shard) else {
            return;
        };
        let _ = self.0.peers.set(peers.clone());
        let canary = canary::run(self.clone(), Rc::clone(&shard));
        let hub = hub::run(self.clone(), peers, Rc::clone(&shard), hears);
        let works = async {
            shard.run(|| self.now()).await;
        };
        futures::future::join3(works, hub, canary).await;
    }

    /// Publishes a message on the node that numbers its topic.
    ///
    /// # Errors
    /// [`MeshError`]: it is not published, or at least nobody knows.
    pub async fn publish(&self, mut draft: Draft, ack: Ack) -> Result<Receipt, MeshError> {
        self.topics().check(&draft)?;
        if self.view().is_own(&draft.topic) {
            return self.number(draft, ack).await;
        }
        if draft.class.is_numbered() && draft.idempotency_key.is_none() {
            draft.idempotency_key = Some(self.new_key());
        }
        if ack != Ack::None {
            return self.send(draft, ack).await;
        }
        // Whatever it takes to get it there, its publisher does not wait for that.
        let view = self.view();
        let waits = view.ways.get(view.owner(&draft.topic));
        if waits.is_some_and(|way| way.capacity() == 0) {
            let node = view.owner(&draft.topic).to_owned();
            return Err(MeshError::Unreachable { node });
        }
        let mesh = self.clone();
        tokio::spawn(async move {
            if let Err(error) = mesh.send(draft, Ack::Owner).await {
                tracing::debug!(%error, "a message that nobody waits for is not published");
            }
        });
        Ok(Receipt {
            published: Published {
                position: Position::default(),
                is_duplicate: false,
            },
            is_replicated: false,
        })
    }

    async fn number(&self, draft: Draft, ack: Ack) -> Result<Receipt, MeshError> {
        if ack != Ack::Replicated {
            let published = self.topics().publish(draft, self.now())?;
            return Ok(Receipt {
                published,
                is_replicated: false,
            });
        }
        let (published, confirmed) = self.topics().publish_confirmed(draft, self.now())?;
        let is_replicated = match confirmed {
            Some(confirmed) => is_confirmed(confirmed).await,
            None => false,
        };
        Ok(Receipt {
            published,
            is_replicated,
        })
    }

    /// Sends it to whoever numbers it, as often as that is somebody who does not.
    async fn send(&self, draft: Draft, ack: Ack) -> Result<Receipt, MeshError> {
        let deadline = Instant::now() + PUBLISH_TIMEOUT;
        loop {
            let view = self.view();
            let node = view.owner(&draft.topic).to_owned();
            if *node == *self.0.node {
                return self.number(draft, ack).await;
            }
            let answer = match view.ways.get(&node) {
                Some(way) => self.ask(way, &draft, ack, deadline).await,
                None => None,
            };
            match answer {
                Some(What::Published(published)) => {
                    let (published, is_replicated) = wire::decode_published(published);
                    return Ok(Receipt {
                        published,
                        is_replicated,
                    });
                }
                Some(What::Refused(why)) => return Err(MeshError::RefusedThere { node, why }),
                Some(What::NotOwner(_)) | None => {}
            }
            if Instant::now() + TRY_AGAIN > deadline {
                return Err(MeshError::Unreachable { node });
            }
            sleep(TRY_AGAIN).await;
        }
    }

    async fn ask(
        &self,
        way: &mpsc::Sender<Job>,
        draft: &Draft,
        ack: Ack,
        deadline: Instant,
    ) -> Option<What> {
        let (answer, answered) = oneshot::channel();
        let message = wire::encode_draft(draft.clone(), ack);
        let wait = match ack {
            Ack::Replicated => deadline + ACK_TIMEOUT,
            Ack::None | Ack::Owner => deadline,
        };
        timeout_at(wait, async {
            way.send(Job { message, answer }).await.ok()?;
            answered.await.ok()
        })
        .await
        .ok()?
    }

    /// A key under which this node publishes one message, however often it tries.
    fn new_key(&self) -> Box<str> {
        format!("~{:x}.{:x}", self.0.seed, self.next_number()).into()
    }

    /// Until this node has what the owner of a topic has, and a subscriber may come: whether it has.
    pub async fn follow(&self, topic: &TopicName) -> bool {
        if self.view().is_own(topic) {
            return true;
        }
        let (in_step, told) = oneshot::channel();
        let follow = Said::Follow {
            topic: topic.clone(),
            in_step,
        };
        let waits = async {
            self.0.said.send(follow).await.ok()?;
            told.await.ok()
        };
        matches!(timeout(FOLLOW_TIMEOUT, waits).await, Ok(Some(())))
    }

    /// Where the same way in leads to other nodes that live.
    pub fn elsewhere(&self, way: WayIn) -> Vec<String> {
        let view = self.view();
        let peers = self.peers();
        let found = peers.map(|peers| peers.elsewhere(way, |node| view.is_live(node)));
        found.unwrap_or_default()
    }

    /// Ways to the other nodes; none before [`Self::run`].
    pub fn peers(&self) -> Option<&Peers> {
        self.0.peers.get()
    }

    /// Numbers nothing any more, and tells the others so once they have everything; the node goes.
    pub async fn leave(&self) {
        let (done, left) = oneshot::channel();
        if self.0.said.send(Said::Leave { done }).await.is_ok() {
            let _ = timeout(ACK_TIMEOUT, left).await;
        }
    }

    /// Who lives, and who numbers what.
    pub fn view(&self) -> Arc<View> {
        self.0.view.load()
    }

    /// How messages of other nodes come.
    pub fn canary(&self) -> Arc<CanaryStatus> {
        self.0.canary.load()
    }

    /// The same as it changes.
    pub fn canary_status(&self) -> Snapshot<CanaryStatus> {
        self.0.canary.clone()
    }

    /// What another node wants, and is told.
    pub fn link(&self, asked: Streaming<pb::LinkAsked>) -> Linked {
        incoming::serve(self, asked)
    }

    /// What another node forwards.
    pub fn forward(&self, requests: Streaming<pb::ForwardRequest>) -> Forwarded {
        forward::serve(self.clone(), requests)
    }

    pub(crate) fn topics(&self) -> &Arc<Topics> {
        &self.0.topics
    }

    pub(crate) fn now(&self) -> UnixMs {
        UnixMs(self.0.clock.unix_ms_now())
    }

    fn next_number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn hello(&self) -> pb::LinkHello {
        pb::LinkHello {
            node: self.0.node.to_string(),
            process: self.0.seed,
        }
    }
}

/// Whether the replica has a message; it may take so long.
async fn is_confirmed(confirmed: oneshot::Receiver<()>) -> bool {
    matches!(timeout(ACK_TIMEOUT, confirmed).await, Ok(Ok(())))
}
