//! One snapshot of the node's status for everyone who polls it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use weir_proto::node::v1 as pb;

use crate::describe::StatusSource;
use crate::orders::READY;
use crate::snapshot::Snapshot;

/// How old a snapshot may be, unless the node has been told something new since.
const AGE_MAX: Duration = Duration::from_secs(2);

/// Takes a snapshot when the last one is too old, however many ask.
#[derive(Clone)]
pub struct StatusCache {
    source: Arc<StatusSource>,
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
    /// A cache of what `source` tells.
    pub fn new(source: StatusSource) -> Self {
        Self {
            source: Arc::new(source),
            last: Snapshot::new(None),
        }
    }

    /// A snapshot no older than two seconds, nor than the last orders or offered configuration.
    pub fn now(&self) -> Arc<Cached> {
        let now = Instant::now();
        if let Some(cached) = &*self.last.load()
            && now.duration_since(cached.taken) < AGE_MAX
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
}

#[derive(Serialize)]
struct ServiceHealth<'a> {
    name: &'a str,
    healthy: u32,
    total: u32,
}

impl Cached {
    fn new(status: pb::Status, taken: Instant) -> Self {
        let serving =
            status.state == READY && status.services.iter().all(|service| service.healthy > 0);
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
    fn of(value: &impl Serialize) -> Self {
        let json = serde_json::to_string(value).expect("plain structs serialise");
        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        Self { json, etag }
    }
}
