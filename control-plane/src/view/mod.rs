//! What the store holds, decoded, in the memory of this instance.
//!
//! Two tasks follow the store: one what operators want (`cfg/`), one what is there (`live/`). They publish immutable
//! pictures, at once for what operators want, gathered for what comes in crowds. Everyone else reads the pictures;
//! whoever writes asks the store itself.
//!
//! When the store is away the pictures stay as they were, and [`Standing::lost`] says why.

mod asker;
mod census;
mod cfg;
mod gather;
mod live;
mod outlets;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1 as pb;

use crate::clock::WallClock;
use crate::governance::tokens::TokenTable;
use crate::keys::Keys;
use crate::leases::Presences;
use crate::profiles::ProfileView;
use crate::store::Store;
use crate::store::follow::Options;
use crate::sync::resources::{Oversized, ResourceSet};

pub use asker::Asker;
pub use census::Census;

/// What operators want of each node.
pub type Orders = BTreeMap<String, NodeOrder>;

/// What operators want of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeOrder {
    /// What.
    pub orders: pb::NodeOrders,
    /// The store's revision that put it.
    pub revision: u64,
}

/// A node as the store knows it.
#[derive(Clone, Debug, Default)]
pub struct NodeRecord {
    /// While it is connected, and for a moment after.
    pub presence: Option<Arc<records::Presence>>,
    /// What it said last; stays when it leaves.
    pub status: Option<Arc<records::NodeStatus>>,
}

/// Every node, by its id.
pub type NodeRecords = BTreeMap<String, NodeRecord>;

/// What the store calls its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEpoch {
    /// The name.
    pub name: String,
    /// The store's revision that put it.
    pub revision: u64,
}

/// How far a part of the pictures is. It is told after them, so they are at least as far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The part was read at least once.
    pub complete: bool,
    /// The last change that is in it came with this revision of the store.
    pub revision: u64,
    /// Why the store cannot be followed at the moment.
    pub lost: Option<String>,
    /// How often the store turned out to be another one, or an older state of itself.
    pub replaced: u64,
    /// What the store calls its epoch; told by what operators want alone.
    pub epoch: Option<StoredEpoch>,
}

/// The pictures.
#[derive(Clone)]
pub struct View {
    /// Profiles of every scope.
    pub profiles: watch::Receiver<Arc<ProfileView>>,
    /// Weights, a resource a service.
    pub weights: watch::Receiver<Arc<ResourceSet>>,
    /// Registered backends.
    pub endpoints: watch::Receiver<Arc<ResourceSet>>,
    /// Nodes that are connected.
    pub peers: watch::Receiver<Arc<ResourceSet>>,
    /// Orders.
    pub orders: watch::Receiver<Arc<Orders>>,
    /// Nodes.
    pub nodes: watch::Receiver<Arc<NodeRecords>>,
    /// How many nodes there are, connected or away, and which tokens they showed.
    pub nodes_census: watch::Receiver<Arc<Census>>,
    /// The same of registered backends.
    pub backends_census: watch::Receiver<Arc<Census>>,
    /// Instances of the control plane, with their addresses.
    pub instances: watch::Receiver<Arc<BTreeMap<String, String>>>,
    /// How far what operators want is.
    pub cfg: watch::Receiver<Standing>,
    /// How far what is there is.
    pub live: watch::Receiver<Standing>,
    /// Tells whether the store answers.
    pub asker: Asker,
}

impl View {
    /// Begins to follow the store; the tasks belong to `tasks`.
    pub fn follow(
        store: &Arc<dyn Store>,
        keys: &Keys,
        tokens: Arc<TokenTable>,
        presences: Arc<Presences>,
        clock: WallClock,
        seed: u64,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (cfg, cfg_out) = cfg::Follower::new(keys.clone(), tokens, clock);
        let (live, live_out) = live::Follower::new(keys.clone(), presences);
        tasks.spawn(cfg.run(Arc::clone(store), Options::new(seed)));
        tasks.spawn(live.run(Arc::clone(store), Options::new(seed.wrapping_add(1))));
        Self {
            profiles: cfg_out.profiles,
            weights: cfg_out.weights,
            orders: cfg_out.orders,
            cfg: cfg_out.standing,
            endpoints: live_out.endpoints,
            peers: live_out.peers,
            nodes: live_out.nodes,
            nodes_census: live_out.nodes_census,
            backends_census: live_out.backends_census,
            instances: live_out.instances,
            live: live_out.standing,
            asker: Asker::start(store, keys, tasks),
        }
    }

    /// What keeps nodes from being told all there is.
    pub fn oversized(&self) -> Vec<Oversized> {
        let sets = [
            (&self.endpoints, outlets::ENDPOINTS),
            (&self.peers, outlets::PEERS),
            (&self.weights, "weights"),
        ];
        let check = |(set, kind): (&watch::Receiver<Arc<ResourceSet>>, _)| {
            set.borrow().check_size(kind).err()
        };
        sets.into_iter().filter_map(check).collect()
    }

    /// Whether both parts were read once: what is not there is not there.
    pub fn is_complete(&self) -> bool {
        self.cfg.borrow().complete && self.live.borrow().complete
    }

    /// Waits until both parts were read once.
    pub async fn complete(&mut self) {
        for part in [&mut self.cfg, &mut self.live] {
            if part.wait_for(|standing| standing.complete).await.is_err() {
                // Without a sender there is no instance.
                return std::future::pending().await;
            }
        }
    }
}

/// Wakes who follows a standing only if it is another one.
fn tell(out: &watch::Sender<Standing>, standing: &Standing) {
    out.send_if_modified(|told| {
        let is_other = told != standing;
        if is_other {
            told.clone_from(standing);
        }
        is_other
    });
}
