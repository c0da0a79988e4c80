//! What this node tells of itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use weir_core::series::Ring;
use weir_proto::node::v1 as pb;

use super::describe::{self, RATE_SLOTS, Sums};
use super::fold::{BOUNDS, Fold};
use super::snapshot::{Snapshot, Source};
use crate::cache_api::CacheApi;
use crate::data_plane::routing::Routing;
use crate::describe as described;
use crate::engine_api::EngineApi;
use crate::events::{Events, KEPT_MAX, Page, Severity, Wanted};
use crate::http_api::{Cached, StatusCache};
use crate::ports::clock::WallClock;
use crate::ports::memory;
use crate::snapshot;
use crate::telemetry::alerts::{Alert, Alerts};
use crate::telemetry::history::History;
use crate::wiring::Wired;

/// Events of one node that are told.
const EVENTS_MAX: usize = 50;

/// Where all of it comes from, and what was told last.
pub(super) struct Own {
    status: StatusCache,
    routing: snapshot::Snapshot<Routing>,
    engines: EngineApi,
    cache: CacheApi,
    events: Events,
    history: History,
    alerts: Alerts,
    node: Arc<str>,
    clock: WallClock,
    last: Mutex<Option<(Arc<Cached>, Arc<Snapshot>)>>,
}

impl Own {
    /// Of a node, as old as its status may be.
    pub(super) fn new(wired: &Wired, status: StatusCache) -> Self {
        Self {
            status,
            routing: wired.core_parts.routing.clone(),
            engines: EngineApi::new(wired),
            cache: CacheApi::new(wired),
            events: wired.events.clone(),
            history: wired.history.clone(),
            alerts: wired.alerts.clone(),
            node: wired.peers.node().into(),
            clock: wired.core_parts.clock,
            last: Mutex::new(None),
        }
    }

    /// What is told now.
    pub(super) async fn now(&self) -> Arc<Snapshot> {
        let status = self.status.now();
        let mut last = self.last.lock().await;
        if let Some((of, snapshot)) = &*last
            && Arc::ptr_eq(of, &status)
        {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(self.take(&status.status).await);
        *last = Some((status, Arc::clone(&snapshot)));
        snapshot
    }

    /// How old a status may be.
    pub(super) fn age_max(&self) -> Duration {
        self.status.age_max()
    }

    /// By the node's clock.
    pub(super) fn unix_ms_now(&self) -> u64 {
        self.clock.unix_ms_now()
    }

    /// How it was.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    async fn take(&self, status: &pb::Status) -> Snapshot {
        let (sums, slots) = self.history.look(|ring, interval_ms| {
            let slots = ring.first_slot()..ring.next_slot();
            (sums(ring, interval_ms, ring.next_slot()), slots)
        });
        let process = self.history.process();
        let ports = self.ports();
        let link = self.status.control_plane();
        let control = status.control_plane.clone().unwrap_or_default();
        let limit = memory::limit_bytes().unwrap_or(0);
        let (alerts, now) = (self.alerts.now(), self.unix_ms_now());
        let mut problems = describe::problems(status, self.engines.own_problems(), &ports);
        problems.extend(alerts.iter().filter_map(|alert| alert.problem(now)));
        let node = pb::NodeOverview {
            node: self.node.to_string(),
            resources: Some(describe::resources(&sums, &process, limit)),
            profile: Some(describe::profile(&control, &link)),
            rates: Some(describe::rates(&sums)),
            cache: Some(describe::cache(&sums, &self.cache.stats())),
            events: self.events().await,
            problems,
            alerts: alerts.iter().map(Alert::describe).collect(),
            status: Some(status.clone()),
        };
        let mut fold = Fold::new(BOUNDS);
        fold.add(pb::OverviewAnswer {
            node: self.node.to_string(),
            nodes: vec![node],
            services: self.services(status),
            engines: self.engines.own(),
            ports,
            ..pb::OverviewAnswer::default()
        });
        let mut answer = fold.finish(&self.node, self.unix_ms_now());
        answer.rates = Some(describe::rates(&sums));
        Snapshot::new(answer, slots, Source::Own(self.history.clone()))
    }

    fn services(&self, status: &pb::Status) -> Vec<pb::ServiceOverview> {
        let routing = self.routing.load();
        let statuses = status.services.iter();
        let statuses: BTreeMap<&str, &pb::ServiceStatus> =
            statuses.map(|one| (&*one.name, one)).collect();
        let services = routing.services.iter().filter_map(|service| {
            // One that came since then is told of next time.
            let of = statuses.get(service.settings.name.as_str())?;
            let service = described::service(service);
            Some(describe::service(service, of, &self.node))
        });
        services.collect()
    }

    fn ports(&self) -> Vec<pb::VpnPort> {
        let mut ports = self.engines.ports().ports;
        ports.iter_mut().for_each(|port| port.picture = None);
        ports
    }

    /// The newest first.
    async fn events(&self) -> Vec<pb::Event> {
        let page = self.events.read(None, &Wanted::default(), KEPT_MAX).await;
        let events = page.events.iter().rev();
        let rare = events.filter(|event| event.severity > Severity::Debug);
        let newest = rare.take(EVENTS_MAX).cloned();
        let page = Page {
            events: newest.collect(),
            ..Page::default()
        };
        self.events.described(&page, None).events
    }
}

/// Sums of the last slots before `end`.
pub(super) fn sums(ring: &Ring, interval_ms: u64, end: u64) -> Sums {
    let (sums, slots) = ring.sum(end.saturating_sub(RATE_SLOTS)..end);
    Sums {
        sums,
        window_ms: slots * interval_ms,
    }
}
