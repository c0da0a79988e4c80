//! Messages to many, as everything else of the node uses them.
//!
//! What is numbered, batched, kept and dropped is in [`weir_broadcast`]; here is who may come in, and by which way.
//! Each core has the subscribers of its own connections; the control thread has one shard for those of the HTTP API and
//! of gRPC, and one for the links to other nodes.

pub mod ask;
mod connections;
mod deliveries;
pub mod describe;
mod doors;
mod drain;
mod members;
pub mod mesh;
pub mod opening;
pub(crate) mod poll;
mod posted;
mod raw_json;
pub mod rights;
pub mod session;
pub(crate) mod socket;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::coop::unconstrained;
use weir_broadcast::{Counters, Draft, Published, Shard, Topics};
use weir_core::broadcast::Refused;
use weir_core::cache::UnixMs;

pub use self::connections::OpenConnection;
pub use self::deliveries::Deliveries;
use self::doors::Doors;
pub use self::doors::{Coming, Turned};
use self::mesh::{Mesh, MeshError, Receipt};
pub(crate) use self::posted::Posted;
use crate::config::{BroadcasterSettings, Config};
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;

/// How much longer than messages may wait a client's system may take nothing.
const LOST_GRACE: Duration = Duration::from_secs(20);

/// Messages to many. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Broadcast {
    topics: Arc<Topics>,
    settings: Snapshot<BroadcasterSettings>,
    doors: Arc<Doors>,
    cores: usize,
    clock: WallClock,
    mesh: Mesh,
}

/// What a publisher waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// Nothing but that this node has it.
    None,
    /// That the node that numbers the topic has it.
    #[default]
    Owner,
    /// That another one has it too.
    Replicated,
}

/// Why a message is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Something of it does not do.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The node that numbers it does not take it.
    #[error(transparent)]
    Mesh(MeshError),
}

impl From<MeshError> for PublishError {
    fn from(error: MeshError) -> Self {
        match error {
            MeshError::Refused(refused) => Self::Refused(refused),
            other => Self::Mesh(other),
        }
    }
}

impl Broadcast {
    /// No topics yet. `seed` is another one for each life of the node.
    pub fn new(config: &Config, clock: WallClock, seed: u64) -> Self {
        let settings = config.broadcaster.clone();
        let cores = config.node.cores;
        let topics = Topics::new(settings.limits, cores + 2, seed);
        let topics = topics.expect("the limits were checked with the configuration");
        Self {
            mesh: Mesh::new(&config.node.name, &topics, clock, seed),
            topics,
            doors: Arc::new(Doors::new(&settings)),
            settings: Snapshot::new(settings),
            cores,
            clock,
        }
    }

    /// Other bounds and rights, for whatever comes next.
    pub fn configure(&self, settings: &BroadcasterSettings) {
        if let Err(refused) = self.topics.configure(settings.limits) {
            tracing::error!(%refused, "bounds of messages stay as they are");
        }
        self.settings.publish(settings.clone());
        self.doors.configure(settings);
    }

    /// What holds.
    pub fn settings(&self) -> Arc<BroadcasterSettings> {
        self.settings.load()
    }

    /// Numbers, histories, and who is interested.
    pub const fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// The time by which messages are counted.
    pub fn now(&self) -> UnixMs {
        UnixMs(self.clock.unix_ms_now())
    }

    /// The shards that have clients: of the cores and of the control thread.
    pub const fn client_shards(&self) -> std::ops::RangeInclusive<usize> {
        0..=self.cores
    }

    /// The shard of clients on the control thread.
    pub const fn control_shard(&self) -> usize {
        self.cores
    }

    /// The shard of links to other nodes, on the control thread too.
    pub const fn link_shard(&self) -> usize {
        self.cores + 1
    }

    /// Something that each thread counts for itself, of those with clients.
    pub fn sum(&self, count: impl Fn(&Counters) -> u64) -> u64 {
        let shards = self.client_shards();
        let counters = shards.filter_map(|shard| self.topics.counters(shard));
        counters.map(|counters| count(&counters)).sum()
    }

    /// The shard with this number, for the thread of the caller; `None` if there is none. Each number has one.
    pub fn shard(&self, number: usize) -> Option<Rc<Shard>> {
        Shard::new(&self.topics, number)
    }

    /// Runs a shard for as long as it is polled, on the thread that has it.
    pub async fn run_shard(&self, shard: Option<Rc<Shard>>) {
        let Some(shard) = shard else {
            return;
        };
        let clock = self.clock;
        let run = shard.run(move || UnixMs(clock.unix_ms_now()));
        // It writes to many sockets, and gives way to others by its own measure.
        unconstrained(run).await;
    }

    /// Publishes a message, and waits for what the publisher wants to wait for.
    ///
    /// # Errors
    /// [`PublishError`]: it is not published.
    pub async fn publish(&self, draft: Draft, ack: Ack) -> Result<Published, PublishError> {
        Ok(self.deliver(draft, ack).await?.published)
    }

    /// The same, and whether a second node has it, which only [`Ack::Replicated`] waits for.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn deliver(&self, draft: Draft, ack: Ack) -> Result<Receipt, PublishError> {
        Ok(self.mesh.publish(draft, ack).await?)
    }

    /// How long a client's system may take nothing of what it is told.
    pub(crate) fn lost_after(&self) -> Duration {
        self.topics.limits().outbox.age_max + LOST_GRACE
    }

    /// The other nodes. Who subscribes to a topic awaits [`Mesh::follow`] before.
    pub const fn mesh(&self) -> &Mesh {
        &self.mesh
    }
}
