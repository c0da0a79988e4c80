//! Requests to a service that has no engine wait for the first one.
//!
//! They are counted where they wait, on their core. Whoever decides how many engines there are is woken by the first
//! one and reads the sum, so no request waits for an actor. What wakes them is the picture in which the engine stands.
//!
//! Nothing is taken of a request's body meanwhile, so the HTTP/1 parser reads no further and does not see its client
//! leave: behind a body that has not come whole, behind one that waits for `100 Continue`, or behind a pipelined
//! request. So the socket is asked twice a second whether its client has hung up, whatever is still to be read. One
//! that closes only its own side counts as gone, as it does for the parser. One end is not seen: that of a client which
//! closes in order behind more of an upload than the sockets of both hold. It is on the client's machine until somebody
//! reads, so such a wait goes on until it is over by itself, after `wait_timeout` at the latest.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::answer::Reason;
use super::core::Core;
use super::exchange::Exchange;
use super::forward;
use super::request::Routed;
use super::routing::{LocalRouting, Routing, Service};
use crate::config::Scale;
use crate::telemetry::metrics::ServiceMetrics;

/// Between two looks whether the client is still there.
const CLIENT_LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Wakes whoever decides how many engines there are when requests begin to wait for a service. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WaitSignal(Arc<Notify>);

impl WaitSignal {
    /// Requests wait for a service for which none waited before.
    pub(crate) fn give(&self) {
        self.0.notify_one();
    }

    /// Waits until requests begin to wait; one signal is kept for whoever does not wait yet.
    pub(crate) async fn given(&self) {
        self.0.notified().await;
    }
}

/// Whether a request has to wait, or may not.
pub(super) fn is_needed(service: &Service) -> bool {
    service.candidates.is_empty() && scale(service).is_some_and(|scale| scale.wait_max > 0)
}

fn scale(service: &Service) -> Option<&Scale> {
    service
        .settings
        .engines
        .as_ref()
        .map(|engines| &engines.scale)
}

/// Counts a request among those that wait, until dropped: when it goes on, gives up, or its client leaves.
struct Place {
    core: usize,
    metrics: Arc<ServiceMetrics>,
}

impl Place {
    /// `None` when as many wait on this node as may. Cores that look at the same moment may let in one more each.
    fn take(core: &Core, service: &Service, wait_max: u32) -> Option<Self> {
        let waiting = service.metrics.waiting();
        if waiting >= u64::from(wait_max) {
            return None;
        }
        service.metrics.core(core.index).waiting.increment();
        if waiting == 0 {
            core.parts.wait_signal.give();
        }
        Some(Self {
            core: core.index,
            metrics: Arc::clone(&service.metrics),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.core(self.core).waiting.decrement();
    }
}

/// Waits until the service has somebody who takes work: the way there. Ends when the wait or the request is over, and
/// when the node drains or stops.
///
/// # Errors
/// Why it goes on to nobody.
pub(super) async fn for_engine(
    core: &Core,
    routed: &Routed,
    headers: &HeaderMap,
    exchange: &Exchange,
) -> Result<Routed, Reason> {
    let service = routed.service();
    let scale = scale(service).ok_or(Reason::NoBackend)?;
    let until = Instant::now() + scale.wait_timeout;
    let timeouts = routed.settings().timeouts;
    let timeouts = timeouts.unwrap_or(service.settings.timeouts);
    let own = forward::deadline(&timeouts, headers, exchange.started, routed.asked.grpc);
    let (until, late) = own
        .filter(|(at, _)| *at < until)
        .unwrap_or((until, Reason::EngineNotReady));
    let place = Place::take(core, service, scale.wait_max).ok_or(Reason::EngineWaitFull)?;
    let watching = exchange.watch_client();
    let found = timeout_at(until, look(core, routed, watching.is_some())).await;
    drop((place, watching));
    found.unwrap_or(Err(late))
}

async fn look(core: &Core, routed: &Routed, is_watched: bool) -> Result<Routed, Reason> {
    let mut revisions = core.parts.revisions.clone();
    loop {
        // Before the look, so that what changes meanwhile wakes.
        let leaves = core.leaving.changed();
        if core.leaving.since().is_some() {
            return Err(Reason::NodeLeaving);
        }
        revisions.mark_unchanged();
        let routing = core.routing();
        let name = &routed.service().settings.name;
        let at = routing.service_index(name).ok_or(Reason::NoBackend)?;
        if !is_needed(&routing.services[at]) {
            return Ok(moved(routed, routing, at));
        }
        tokio::select! {
            changed = revisions.changed() => changed.map_err(|_| Reason::NodeLeaving)?,
            () = leaves => {}
            // Polls the connection, which looks at its client then.
            () = sleep(CLIENT_LOOK_INTERVAL), if is_watched => {}
        }
    }
}

/// The same request in a newer picture. It keeps the route by which it came, whatever became of that.
fn moved(routed: &Routed, routing: LocalRouting, service: usize) -> Routed {
    let has_route = Arc::ptr_eq(&routing.table, &routed.routing.table);
    let routing = match has_route {
        true => routing,
        false => LocalRouting::new(&Arc::new(Routing {
            revision: routing.revision,
            zone: routing.zone.clone(),
            table: Arc::clone(&routed.routing.table),
            routes: Arc::clone(&routed.routing.routes),
            route_metrics: Arc::clone(&routed.routing.route_metrics),
            services: routing.services.clone(),
        })),
    };
    Routed {
        routing,
        service,
        ..routed.clone()
    }
}
