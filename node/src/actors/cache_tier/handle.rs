//! What everyone else holds of the tiers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use weir_cache::Store;
use weir_core::purge::{Hardness, Scope, Wait};
use weir_proto::node::v1::{PurgesSeen, PurgesTold};

use super::tell::{MESSAGES_AHEAD_MAX, Telling};
use super::{Await, Configure, Links, Parts, PeerLink, Standing, unix_ms};
use crate::data_plane::answer::Reason;
use crate::link::{Refused, Timed};
use crate::peers::Peers;
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;

/// How long a caller waits for the actor beyond what it waits for other nodes.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// What other nodes are told, as it leaves.
pub type Told = Pin<Box<dyn Stream<Item = Result<PurgesTold, Status>> + Send>>;

/// The tiers, for everyone else. Cheap to clone.
#[derive(Clone)]
pub struct CacheTierHandle {
    pub(crate) links: Links,
    store: Arc<Store<Reason>>,
    peers: Peers,
    clock: WallClock,
    table: Snapshot<Vec<PeerLink>>,
    streams: Arc<AtomicU64>,
}

impl CacheTierHandle {
    /// A handle to an actor of these parts.
    pub fn new(parts: &Parts) -> Self {
        Self {
            links: Links::new(),
            store: Arc::clone(&parts.store),
            peers: parts.peers.clone(),
            clock: parts.clock,
            table: parts.table.clone(),
            streams: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Hands over what the configuration says of the tiers.
    ///
    /// # Errors
    /// [`Refused`] when it was not taken in time.
    pub async fn configure(&self, part: Configure, within: Duration) -> Result<Timed<()>, Refused> {
        self.links.configure.ask_timed(part, within).await
    }

    /// The other nodes.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// What is kept.
    pub fn store(&self) -> &Arc<Store<Reason>> {
        &self.store
    }

    /// How far other nodes are.
    pub fn peer_links(&self) -> Arc<Vec<PeerLink>> {
        self.table.load()
    }

    /// Purges here, at once; the others are told. Returns the number of the last purge.
    pub fn purge_here(&self, scopes: Vec<Scope>, hardness: Hardness) -> u64 {
        let (purges, now) = (&self.store.purges, unix_ms(self.clock));
        let mut seq = 0;
        for scope in scopes {
            seq = purges.purge(scope, hardness, now).seq;
        }
        seq
    }

    /// Waits until every node that is there has a purge in force, at most `within`.
    pub async fn in_force_everywhere(&self, seq: u64, within: Duration) {
        self.standing(seq, Wait::All, within).await;
    }

    /// Where a purge of this process is in force, once it is where one waits for it, or after `within`.
    pub async fn standing(&self, seq: u64, wait: Wait, within: Duration) -> Standing {
        let (answer, answered) = oneshot::channel();
        let awaited = Await {
            seq,
            wait,
            within,
            answer,
        };
        let here = || {
            let missing = self.peers.others();
            Standing {
                acked: 1,
                total: missing.len() + 1,
                missing,
            }
        };
        if self.links.wait.offer(awaited).is_err() {
            return here();
        }
        let answered = tokio::time::timeout(within + ASK_TIMEOUT, answered).await;
        answered.ok().and_then(Result::ok).unwrap_or_else(here)
    }

    /// Tells another node of purges, from what it says it has seen.
    pub fn tell<S>(&self, seen: S) -> Told
    where
        S: Stream<Item = Result<PurgesSeen, Status>> + Send + Unpin + 'static,
    {
        let (told, out) = mpsc::channel(MESSAGES_AHEAD_MAX);
        let telling = Telling {
            links: self.links.clone(),
            store: Arc::clone(&self.store),
            clock: self.clock,
            stream: self.streams.fetch_add(1, Ordering::Relaxed),
            told,
        };
        tokio::spawn(telling.run(seen));
        Box::pin(ReceiverStream::new(out))
    }
}
