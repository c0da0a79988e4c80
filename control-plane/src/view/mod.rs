//! What the store holds, decoded, in the memory of this instance.
//!
//! Two tasks follow the store: one what operators want (`cfg/`), one what is there (`live/`). They publish immutable
//! pictures, at once for what operators want, gathered for what comes in crowds. Everyone else reads the pictures;
//! whoever writes asks the store itself.
//!
//! When the store is away the pictures stay as they were, and [`Standing::lost`] says why.

mod cfg;
mod live;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1 as pb;

use crate::clock::WallClock;
use crate::governance::tokens::TokenTable;
use crate::keys::Keys;
use crate::profiles::ProfileView;
use crate::store::Store;
use crate::store::follow::Options;
use crate::sync::resources::ResourceSet;

/// What operators want of each node.
pub type Orders = BTreeMap<String, pb::NodeOrders>;

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

/// How far the pictures are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Both parts were read at least once.
    pub complete: bool,
    /// Why the store cannot be followed at the moment.
    pub lost: Option<String>,
    /// How often the store turned out to be another one, or an older state of itself.
    pub replaced: u64,
}

impl Standing {
    /// All was read.
    fn whole(&mut self) {
        self.complete = true;
        self.lost = None;
    }

    /// The store is followed again.
    fn again(&mut self, is_other: bool) {
        self.lost = None;
        self.replaced += u64::from(is_other);
    }
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
    /// Instances of the control plane, with their addresses.
    pub instances: watch::Receiver<Arc<BTreeMap<String, String>>>,
    /// How far what operators want is.
    pub cfg: watch::Receiver<Standing>,
    /// How far what is there is.
    pub live: watch::Receiver<Standing>,
}

impl View {
    /// Begins to follow the store; the tasks belong to `tasks`.
    pub fn follow(
        store: &Arc<dyn Store>,
        keys: &Keys,
        tokens: Arc<TokenTable>,
        clock: WallClock,
        seed: u64,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (cfg, cfg_out) = cfg::Follower::new(keys.clone(), tokens, clock);
        let (live, live_out) = live::Follower::new(keys.clone());
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
            instances: live_out.instances,
            live: live_out.standing,
        }
    }

    /// Waits until both parts were read once.
    pub async fn complete(&mut self) {
        // A sender that is gone ends the instance; whoever waits is dropped with it.
        let _ = self.cfg.wait_for(|standing| standing.complete).await;
        let _ = self.live.wait_for(|standing| standing.complete).await;
    }
}
