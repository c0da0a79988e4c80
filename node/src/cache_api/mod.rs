//! The cache as the outside sees and orders it: behind gRPC, the HTTP API and the metrics.

mod look;
mod purge;
mod redis;
mod resolve;
mod values;
mod warm;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use tonic::Code;
use weir_cache::{SCOPES, Store};
use weir_core::cache::{NotStored, UnixMs};
use weir_core::purge::Verdict;
use weir_proto::node::v1 as pb;

pub use self::values::{ChangeStream, HOP, NOT_OWNER, VALUES, is_hop};
pub use self::warm::warm_result;
use crate::actors::cache_tier::CacheTierHandle;
use crate::actors::cache_warmer::{CacheWarmerHandle, NotWarmed};
use crate::actors::cdn_outbox::CdnOutboxHandle;
use crate::actors::config_agent::ConfigAgentHandle;
use crate::data_plane::answer::Reason;
use crate::data_plane::routing::Routing;
use crate::events::Events;
use crate::link::Refused;
use crate::ports::clock::WallClock;
use crate::snapshot::Snapshot;
use crate::telemetry::cache::{CacheCoreMetrics, Outcome, PeerFailure};
use crate::telemetry::counters::Counter;
use crate::telemetry::metrics::NodeMetrics;
use crate::wiring::Wired;

/// The cache, for whoever serves it. Cheap to clone.
#[derive(Clone)]
pub struct CacheApi {
    tier: CacheTierHandle,
    cdns: CdnOutboxHandle,
    warmer: CacheWarmerHandle,
    routing: Snapshot<Routing>,
    metrics: NodeMetrics,
    clock: WallClock,
    node: Arc<str>,
    config: ConfigAgentHandle,
    events: Events,
    /// Nodes that did not answer, and until when they are let alone.
    away: Snapshot<BTreeMap<String, Instant>>,
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
    /// There is no such value.
    #[error("there is no value of key `{key}` in namespace `{namespace}`")]
    NoValue {
        /// Which.
        key: String,
        /// Of that.
        namespace: String,
    },
    /// A condition of the request does not hold.
    #[error("{field}: {why}")]
    Precondition {
        /// Of the request.
        field: &'static str,
        /// What it says and what is so.
        why: String,
    },
    /// As much is under way as there may be.
    #[error("{what}: {why}")]
    Busy {
        /// Of what.
        what: &'static str,
        /// The bound, in words.
        why: String,
    },
    /// The node that owns the key does not answer.
    #[error("node {node}, which owns the key, does not answer: {why}")]
    Away {
        /// Which.
        node: String,
        /// In words.
        why: String,
    },
    /// The node that was asked knows another owner of the key than the node that asked.
    #[error(
        "node {node} does not own the key, but {owner}: nodes differ in who there is, ask again"
    )]
    NotOwner {
        /// The one that was asked.
        node: String,
        /// Whom that one takes for the owner.
        owner: String,
    },
    /// What the node said that owns the key.
    #[error("{message}")]
    Told {
        /// A code of gRPC.
        code: i32,
        /// In words.
        message: String,
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

    /// What of the request is wrong, where one thing is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Invalid { field, .. } | Self::Precondition { field, .. } => Some(field),
            _ => None,
        }
    }

    /// What it is for callers over gRPC.
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } | Self::NotWarmed(NotWarmed::TooMany(_)) => Code::InvalidArgument,
            Self::NotKept { .. } | Self::NoValue { .. } => Code::NotFound,
            // A test-and-set that failed: who asks reads anew and tries again.
            Self::Precondition { .. } => Code::Aborted,
            Self::Busy { .. } => Code::ResourceExhausted,
            Self::Away { .. } | Self::NotOwner { .. } => Code::Unavailable,
            Self::Told { code, .. } => Code::from(*code),
            Self::NotWarmed(NotWarmed::Busy(_) | NotWarmed::Refused(Refused::Full)) => {
                Code::ResourceExhausted
            }
            Self::NotWarmed(NotWarmed::Refused(Refused::Away)) => Code::Unavailable,
            Self::NotWarmed(NotWarmed::Refused(Refused::Late)) => Code::DeadlineExceeded,
        }
    }
}

impl CacheApi {
    /// The cache of a node.
    pub fn new(wired: &Wired) -> Self {
        Self {
            tier: wired.cache_tier.clone(),
            cdns: wired.cdns.clone(),
            warmer: wired.cache_warmer.clone(),
            routing: wired.core_parts.routing.clone(),
            metrics: wired.core_parts.metrics.clone(),
            clock: wired.core_parts.clock,
            node: Arc::clone(&wired.core_parts.name),
            config: wired.config.clone(),
            events: wired.events.clone(),
            away: Snapshot::new(BTreeMap::new()),
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
        let peers_failed = PeerFailure::ALL.iter();
        let peers_failed: BTreeMap<_, _> = peers_failed
            .map(|why| {
                let count = self.sum(|core| core.peers_failed(*why));
                (why.name().to_owned(), count)
            })
            .collect();
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
            cdns: self.cdn_standings(),
            fetches_unwanted: store.flights.unwanted() as u64,
            fetches_given_up: self.sum(|core| &core.fetches_given_up),
            redis: self.redis(),
            peers_failed: peers_failed.values().sum(),
            peers_failed_by: peers_failed,
        }
    }

    fn cdn_standings(&self) -> Vec<pb::CdnStanding> {
        let standings = self.cdns.standing();
        let standing = standings.iter().map(|cdn| pb::CdnStanding {
            name: cdn.name.clone(),
            waiting: cdn.waiting,
            told: cdn.told,
            refused: cdn.refused,
            failures: cdn.failures,
            oldest_s: cdn.oldest_s,
            problem: cdn.problem.clone(),
        });
        standing.collect()
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
