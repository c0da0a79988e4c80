//! One snapshot of the node's status for everyone who polls it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use weir_proto::node::v1 as pb;

use crate::actors::config_agent::control_plane::LinkStatus;
use crate::describe::StatusSource;
use crate::orders::READY;
use crate::snapshot::Snapshot;

/// How old a snapshot may be unless tuned otherwise.
pub const AGE_MAX_DEFAULT: Duration = Duration::from_secs(2);

/// Takes a snapshot when the last one is too old, however many ask.
#[derive(Clone)]
pub struct StatusCache {
    source: Arc<StatusSource>,
    age_max: Snapshot<Duration>,
    last: Snapshot<Option<Arc<Cached>>>,
}

/// A snapshot and its documents.
pub struct Cached {
    taken: Instant,
    /// The status itself.
    pub status: pb::Status,
    /// True while the node wants new clients and every service has a backend that takes work.
    pub serving: bool,
    pub(super) status_document: Document,
    pub(super) health_document: Document,
}

/// JSON with its entity tag.
pub(super) struct Document {
    pub(super) json: String,
    pub(super) etag: String,
}

impl StatusCache {
    /// A cache of what `source` tells. A snapshot may become as old as `age_max` says at each look; 0 takes
    /// a new one each time.
    pub fn new(source: StatusSource, age_max: Snapshot<Duration>) -> Self {
        Self {
            source: Arc::new(source),
            age_max,
            last: Snapshot::new(None),
        }
    }

    /// How the stream to the control plane is now.
    pub fn control_plane(&self) -> Arc<LinkStatus> {
        self.source.control_plane.load()
    }

    /// How old a snapshot may be.
    pub fn age_max(&self) -> Duration {
        *self.age_max.load()
    }

    /// A snapshot no older than the cache may let it become, nor than the last orders or offered configuration.
    pub fn now(&self) -> Arc<Cached> {
        let now = Instant::now();
        if let Some(cached) = &*self.last.load()
            && now.duration_since(cached.taken) < *self.age_max.load()
            && self.source.was_told_nothing_since(&cached.status)
        {
            return Arc::clone(cached);
        }
        let cached = Arc::new(Cached::new(self.source.status(), now));
        self.last.publish(Some(Arc::clone(&cached)));
        cached
    }
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'a str,
    healthy: u32,
    total: u32,
    services: Vec<ServiceHealth<'a>>,
    /// What is not right and takes the node out of no traffic.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

#[derive(Serialize)]
struct ServiceHealth<'a> {
    name: &'a str,
    healthy: u32,
    total: u32,
}

impl Cached {
    fn new(status: pb::Status, taken: Instant) -> Self {
        let takes_work = |service: &pb::ServiceStatus| service.healthy > 0 || service.asleep;
        let serving = status.state == READY && status.services.iter().all(takes_work);
        let (healthy, total) = status.services.iter().fold((0, 0), |sum, service| {
            (sum.0 + service.healthy, sum.1 + service.total)
        });
        let health = Health {
            status: match serving {
                false if status.state != READY => &status.state,
                true if total == 0 => "without backends",
                true if healthy == total => "healthy",
                true => "degraded",
                false => "unhealthy",
            },
            healthy,
            total,
            services: status
                .services
                .iter()
                .map(|service| ServiceHealth {
                    name: &service.name,
                    healthy: service.healthy,
                    total: service.total,
                })
                .collect(),
            warnings: &status.warnings,
        };
        let health_document = Document::of(&health);
        let status_document = Document::of(&status);
        Self {
            taken,
            status,
            serving,
            status_document,
            health_document,
        }
    }
}

impl Document {
    /// A document that says the same as others with this tag, to who asks for it again (RFC 9110, section 8.8.1).
    pub(super) fn tagged(value: &impl Serialize, tag: &impl Serialize) -> Self {
        let Self { etag, .. } = Self::of(tag);
        Self {
            json: Self::of(value).json,
            etag: format!("W/{etag}"),
        }
    }

    pub(super) fn of(value: &impl Serialize) -> Self {
        let json = serde_json::to_string(value).expect("plain structs serialise");
        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        Self { json, etag }
    }
}

#[cfg(test)]
mod tests {
    use weir_cache::{MemoryLimits, PurgeLimits, Purges, Store};
    use weir_core::purge::{DEFAULT_DRIFT_MAX_MS, HlcClock};

    use super::*;
    use crate::actors::config_agent::{ConfigAgentHandle, InForce};
    use crate::broadcast::mesh::CanaryStatus;
    use crate::config::{Config, Environment, Given};
    use crate::data_plane::routing::Routing;
    use crate::orders::{Orders, OrdersHandle};
    use crate::telemetry::metrics::NodeMetrics;

    const SECOND: Duration = Duration::from_secs(1);

    /// A cache, and what its status shows changes of.
    fn cache(age_max: &Snapshot<Duration>) -> (StatusCache, NodeMetrics, OrdersHandle) {
        let config = Config::parse("", &Environment::new(), &Given::default()).unwrap();
        let metrics = NodeMetrics::new(1);
        let (orders, _) = OrdersHandle::new();
        let memory = MemoryLimits {
            bytes_max: 1 << 20,
            entry_bytes_max: 1 << 10,
        };
        let clock = HlcClock::new(1, DEFAULT_DRIFT_MAX_MS);
        let purges = Purges::new(1, clock, PurgeLimits::default());
        let source = StatusSource {
            routing: Snapshot::new(Routing::empty()),
            config: ConfigAgentHandle::new(&Snapshot::new(InForce::first(config))),
            metrics: metrics.clone(),
            started: Instant::now(),
            orders: orders.clone(),
            control_plane: Snapshot::new(LinkStatus::default()),
            canary: Snapshot::new(CanaryStatus::default()),
            spans: Arc::default(),
            cache: Arc::new(Store::new(memory, 1, purges)),
        };
        (StatusCache::new(source, age_max.clone()), metrics, orders)
    }

    #[tokio::test(start_paused = true)]
    async fn a_canary_that_is_silent_is_told_and_takes_the_node_out_of_no_traffic() {
        let (cache, _, _) = cache(&Snapshot::new(Duration::ZERO));
        let before = cache.now();
        assert!(!before.health_document.json.contains("warnings"));
        assert!(before.status.warnings.is_empty());
        cache.source.canary.publish(CanaryStatus {
            from: Some("node-2".to_owned()),
            silent_for: Duration::from_secs(7),
            is_silent: true,
            ..CanaryStatus::default()
        });
        let now = cache.now();
        let told = r#""warnings":["canary from node-2 silent for 7s"]"#;
        assert!(
            now.health_document.json.contains(told),
            "{}",
            now.health_document.json
        );
        assert!(now.status_document.json.contains(told));
        let canary = now.status.canary.clone().unwrap();
        assert_eq!((&*canary.from, canary.silent_s), ("node-2", 7));
        assert!(canary.is_silent && now.serving);
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_is_replaced_when_it_is_as_old_as_it_may_become() {
        let age_max = Snapshot::new(AGE_MAX_DEFAULT);
        let (cache, metrics, _) = cache(&age_max);
        let connections = || cache.now().status.connections_open;
        assert_eq!(connections(), 0);
        metrics.core(0).connections_open.increment();
        tokio::time::advance(AGE_MAX_DEFAULT - SECOND).await;
        assert_eq!(connections(), 0);
        tokio::time::advance(SECOND).await;
        assert_eq!(connections(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_is_tuned_while_the_node_runs() {
        let age_max = Snapshot::new(AGE_MAX_DEFAULT);
        let (cache, metrics, _) = cache(&age_max);
        let connections = || cache.now().status.connections_open;
        assert_eq!(connections(), 0);
        metrics.core(0).connections_open.increment();
        age_max.publish(60 * SECOND);
        tokio::time::advance(59 * SECOND).await;
        assert_eq!(connections(), 0);
        age_max.publish(Duration::ZERO);
        assert_eq!(connections(), 1);
        metrics.core(0).connections_open.increment();
        assert_eq!(connections(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_seen_however_old_a_snapshot_may_become() {
        let (cache, _, orders) = cache(&Snapshot::new(60 * SECOND));
        assert_eq!(cache.now().status.state, READY);
        orders
            .obey(Orders {
                cordoned: true,
                draining: false,
            })
            .await;
        assert_eq!(cache.now().status.state, "cordoned");
    }
}
