//! The streams of nodes (`weir.control.v1.NodeSync`).
//!
//! ```text
//! view ──► ResourceSet (weights, endpoints, peers) ─┐
//!     └──► ProfileView ──► Offer of this node ──────┼──► Lane, one a type ──► Push ──► node
//!     └──► orders of this node ─────────────────────┘         ▲                │
//! Sessions ◄── what the node says of itself ── Session ◄── Ack, heartbeat ◄────┘
//! ```
//!
//! One task a stream. It keeps no queue of changes: when something changes and no push of that type is in flight,
//! it compares what the node holds with what there is. However slow a node is, it costs one push and what the
//! sets share with everyone.

mod conflicts;
mod hello;
pub mod lane;
mod lanes;
mod out;
mod presence;
pub mod resources;
mod said;
mod service;
mod session;
mod sessions;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, watch};

use crate::clock::WallClock;
use crate::election;
use crate::governance::guard::Guard;
use crate::governance::tokens::TokenTable;
use crate::keys::Keys;
use crate::leases::Presences;
use crate::quota::Quota;
use crate::steps::Steps;
use crate::view::View;

pub use lanes::CATCH_UP_LIMIT;
pub use service::NodeSyncService;
pub use sessions::{Live, STREAMS_MAX, Sessions};

/// What every stream needs of its instance.
pub struct Parts {
    /// Where keys are.
    pub keys: Keys,
    /// The name of this instance.
    pub instance: Arc<str>,
    /// Time.
    pub clock: WallClock,
    /// What the store holds.
    pub view: View,
    /// What this instance says of its nodes in the store.
    pub presences: Arc<Presences>,
    /// Who is connected.
    pub sessions: Sessions,
    /// How many nodes are let in.
    pub quota: Mutex<Quota>,
    /// Who is let in; a stream ends when its token is revoked.
    pub guard: Guard,
    /// Tokens as the store has them.
    pub tokens: Arc<TokenTable>,
    /// Who leads.
    pub leader: watch::Receiver<election::Standing>,
    /// Within which versions compare; absent until the store was read.
    pub epoch: watch::Receiver<Option<Arc<str>>>,
    /// True when this instance stops.
    pub stop: watch::Receiver<bool>,
    /// How old a stream gets, within a tenth.
    pub stream_age: Duration,
    /// Seeds what is left to chance.
    pub seed: u64,
    /// Where the way of a profile is told.
    pub steps: Steps,
    /// Places of those who watch nodes.
    pub watchers: Arc<Semaphore>,
}

impl Parts {
    /// Waits until the store was read; until then nobody can tell what is not there.
    async fn ready(&self) -> Arc<str> {
        let (mut view, mut epoch) = (self.view.clone(), self.epoch.clone());
        view.complete().await;
        let named = epoch.wait_for(Option::is_some).await;
        let named = named.ok().and_then(|epoch| epoch.clone());
        match named {
            Some(epoch) => epoch,
            // Without a sender there is no instance.
            None => std::future::pending().await,
        }
    }

    fn epoch(&self) -> Option<Arc<str>> {
        self.epoch.borrow().clone()
    }

    fn leader_term(&self) -> u64 {
        self.leader.borrow().term
    }
}

/// Waits until the instance stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without a sender there is no instance.
    let _ = stop.wait_for(|stop| *stop).await;
}
