//! What the request path reads: one immutable picture of routes, services and backends.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;
use weir_core::balance::sticky::{BackendTag, Sticky};
use weir_core::balance::{BackendLoad, Selector};
use weir_core::health::{BackendHealth, Standing};
use weir_core::ids::{BackendId, ServiceName};
use weir_core::route::RouteTable;

use crate::config::{RouteSettings, ServiceSettings};
use crate::ports::net::Endpoint;
use crate::telemetry::http_client::HttpClient;
use crate::telemetry::http_server::OfRoutes;
use crate::telemetry::metrics::ServiceMetrics;

/// The picture in the hands of one core. Cloning it touches nothing that another core touches.
#[derive(Clone, Debug)]
#[expect(
    clippy::redundant_allocation,
    reason = "the count of the outer pointer stays on this core"
)]
pub(super) struct LocalRouting(Rc<Arc<Routing>>);

impl LocalRouting {
    pub(super) fn new(routing: &Arc<Routing>) -> Self {
        Self(Rc::new(Arc::clone(routing)))
    }

    pub(super) fn is(&self, routing: &Arc<Routing>) -> bool {
        Arc::ptr_eq(&self.0, routing)
    }
}

impl Deref for LocalRouting {
    type Target = Routing;

    fn deref(&self) -> &Routing {
        &self.0
    }
}

/// The whole picture; a new one replaces it whenever anything changes.
#[derive(Debug)]
pub struct Routing {
    /// Grows by one with each publication.
    pub revision: u64,
    /// Where this node stands.
    pub zone: String,
    /// Finds a route.
    pub table: Arc<RouteTable>,
    /// What each route does; same order as in `table`.
    pub routes: Arc<[RouteSettings]>,
    /// How each route is counted; same order as in `table`.
    pub route_metrics: OfRoutes,
    /// Services in the order of their names.
    pub services: Vec<Arc<Service>>,
}

impl Routing {
    /// A node that knows nothing yet.
    pub fn empty() -> Self {
        Self {
            revision: 0,
            zone: String::new(),
            table: Arc::new(RouteTable::default()),
            routes: Arc::new([]),
            route_metrics: Arc::new([]),
            services: Vec::new(),
        }
    }

    /// The service of that name.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        Some(&self.services[self.service_index(name)?])
    }

    /// Where the service of that name is among [`Routing::services`].
    pub fn service_index(&self, name: &ServiceName) -> Option<usize> {
        self.services
            .binary_search_by(|service| service.settings.name.cmp(name))
            .ok()
    }
}

/// One service as the request path sees it.
#[derive(Debug)]
pub struct Service {
    /// As configured.
    pub settings: Arc<ServiceSettings>,
    /// Picks among `candidates`.
    pub selector: Selector,
    /// What may be picked; same order as in `selector`.
    pub candidates: Vec<Arc<Backend>>,
    /// Every backend, those that get no new work included, in configured order.
    pub backends: Vec<BackendView>,
    /// Sticky cookies, when configured.
    pub stickiness: Option<Stickiness>,
    /// True while so few backends are healthy that all of them get work.
    pub panic: bool,
    /// The service left the configuration and finishes what runs.
    pub removed: bool,
    /// Its counters.
    pub metrics: Arc<ServiceMetrics>,
}

/// Where a backend is in a [`Service`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Among the candidates.
    Candidate(usize),
    /// Among those that a sticky cookie may lead to.
    Sticky(usize),
}

impl Service {
    /// The backend at a place that was found in this very service.
    pub(super) fn backend_at(&self, place: Place) -> &Backend {
        match (place, &self.stickiness) {
            (Place::Candidate(at), _) => &self.candidates[at],
            (Place::Sticky(at), Some(stickiness)) => &stickiness.backends[at],
            (Place::Sticky(_), None) => unreachable!("sticky places come from stickiness"),
        }
    }
}

/// Who a sticky cookie may lead to: every backend that takes work, whatever its weight.
#[derive(Debug)]
pub struct Stickiness {
    /// Reads and writes cookies.
    pub sticky: Sticky,
    /// The names of `backends` in cookies; same order.
    pub tags: Vec<BackendTag>,
    /// The backends.
    pub backends: Vec<Arc<Backend>>,
}

/// One backend through all its standings.
#[derive(Debug)]
pub struct Backend {
    /// Unique in the service.
    pub id: BackendId,
    /// Unique in this run of the node; a backend that leaves and returns gets a new one.
    pub serial: u64,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What each core knows of its load.
    pub load: Arc<BackendLoad>,
    /// How requests to it are counted.
    pub client: HttpClient,
}

/// A backend with its standing, for people and for the pools.
#[derive(Clone, Debug)]
pub struct BackendView {
    /// The backend.
    pub backend: Arc<Backend>,
    /// Its configured or overridden share of new work.
    pub weight: u32,
    /// Where it stands.
    pub zone: String,
    /// Lower numbers are used first.
    pub priority: u32,
    /// Whether it gets work.
    pub standing: Standing,
    /// Tells why, at any later time.
    pub health: BackendHealth,
    /// Still finishing after it left the configuration.
    pub leaving: bool,
    /// When what still runs on it is cut; absent unless it drains.
    pub cut_at: Option<Instant>,
}
