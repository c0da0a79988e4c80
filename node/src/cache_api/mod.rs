//! The cache as the outside sees and orders it: behind gRPC, the HTTP API and the metrics.

mod look;
mod purge;
mod resolve;
mod warm;

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_cache::{SCOPES, Store};
use weir_core::cache::{NotStored, UnixMs};
use weir_core::purge::Verdict;
use weir_proto::node::v1 as pb;

pub use self::warm::warm_result;
use crate::actors::cache_tier::CacheTierHandle;
use crate::actors::cache_warmer::{CacheWarmerHandle, NotWarmed};
use crate::data_plane::answer::Reason;
use crate::data_plane::routing::Routing;
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;
use crate::telemetry::cache::{CacheCoreMetrics, Outcome};
use crate::telemetry::counters::Counter;
use crate::telemetry::metrics::NodeMetrics;
use crate::wiring::Wired;

/// The cache, for whoever serves it. Cheap to clone.
#[derive(Clone)]
pub struct CacheApi {
    tier: CacheTierHandle,
    warmer: CacheWarmerHandle,
    routing: Snapshot<Routing>,
    metrics: NodeMetrics,
    clock: WallClock,
    node: Arc<str>,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense.
    #[error("{field}: {why}")]
    Invalid {
        /// Of the request.
        field: &'static str,
        /// The value and its bound, in words.
        why: String,
    },
    /// Nothing is kept for the request.
    #[error("nothing is kept for {uri} on this node")]
    NotKept {
        /// What was asked for.
        uri: String,
    },
    /// Nothing is fetched.
    #[error(transparent)]
    NotWarmed(#[from] NotWarmed),
}

impl Error {
    fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self::Invalid { field, why }
    }
}

impl CacheApi {
    /// The cache of a node.
    pub fn new(wired: &Wired) -> Self {
        Self {
            tier: wired.cache_tier.clone(),
            warmer: wired.cache_warmer.clone(),
            routing: wired.core_parts.routing.clone(),
            metrics: wired.core_parts.metrics.clone(),
            clock: wired.core_parts.clock,
            node: Arc::clone(&wired.core_parts.name),
        }
    }

    /// What other nodes are served with.
    pub fn tier(&self) -> &CacheTierHandle {
        &self.tier
    }

    fn store(&self) -> &Store<Reason> {
        self.tier.store()
    }

    fn now(&self) -> UnixMs {
        let now = self.clock.unix_now().as_millis();
        UnixMs(u64::try_from(now).unwrap_or(u64::MAX))
    }

    fn sum(&self, pick: impl Fn(&CacheCoreMetrics) -> &Counter) -> u64 {
        self.metrics.sum(|core| pick(&core.cache))
    }

    /// Of every route with a cache.
    fn namespaces(&self) -> BTreeSet<Arc<str>> {
        let routing = self.routing.load();
        let caches = routing
            .routes
            .iter()
            .filter_map(|route| route.cache.as_ref());
        caches.map(|cache| Arc::clone(&cache.namespace)).collect()
    }

    /// How much is kept, and what became of requests.
    pub fn stats(&self) -> pb::CacheStats {
        let store = self.store();
        let counts = store.purges.counts();
        let requests = Outcome::ALL.iter();
        let requests = requests.map(|outcome| {
            (
                outcome.name().to_owned(),
                self.sum(|core| core.requests(*outcome)),
            )
        });
        let not_stored = NotStored::ALL.iter();
        let not_stored =
            not_stored.map(|why| (why.to_string(), self.sum(|core| core.not_stored(*why))));
        let purges = SCOPES.iter().zip(counts.made);
        pb::CacheStats {
            node: self.node.to_string(),
            keys: store.keys(),
            bytes: store.bytes(),
            bytes_max: store.bytes_max(),
            entry_bytes_max: store.entry_bytes_max(),
            requests: requests.collect(),
            not_stored: not_stored.collect(),
            stores: self.sum(|core| &core.stores),
            refreshes: self.sum(|core| &core.refreshes),
            fills_broken: self.sum(|core| &core.fills_broken),
            invalidated: self.sum(|core| &core.invalidated),
            flights: store.flights.count() as u64,
            fill_bytes: store.fills.used_bytes(),
            purges: purges
                .map(|(scope, count)| ((*scope).to_owned(), count))
                .collect(),
            purges_received: counts.received,
            purge_floors: counts.floors,
            namespaces: self
                .namespaces()
                .iter()
                .map(|name| name.to_string())
                .collect(),
            peers: self.peers(),
        }
    }

    fn peers(&self) -> Vec<pb::CachePeerLink> {
        let last = *self.store().purges.last().borrow();
        let links = self.tier.peer_links();
        let link = links.iter().map(|link| pb::CachePeerLink {
            node: link.node.clone(),
            linked: link.is_linked,
            behind: last.saturating_sub(link.acked),
            listening: link.is_heard,
        });
        link.collect()
    }
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Stale => "stale",
        Verdict::Unsure => "unsure",
        Verdict::Gone => "gone",
    }
}
