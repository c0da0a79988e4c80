//! The servers of a node that are not its ingress: gRPC and the HTTP API, and what they show.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use weir_control_plane::governance::secret::Secret;

use crate::cache_api::CacheApi;
use crate::data_plane::{Cores, lost_client};
use crate::debug_api::DebugApi;
use crate::describe::StatusSource;
use crate::engine_api::EngineApi;
use crate::grpc::{self, Apis, LoadBalancerService};
use crate::http_api::{self, Disk, Shown, StatusCache};
use crate::logs_api::LogsApi;
use crate::overview::OverviewApi;
use crate::telemetry::logs::Logs;
use crate::trace_api::TraceApi;
use crate::wiring::Wired;

/// The wait after the process ran out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The status that everybody is shown.
pub fn status_of(wired: &Wired) -> StatusCache {
    let source = StatusSource {
        routing: wired.core_parts.routing.clone(),
        config: wired.config.clone(),
        metrics: wired.core_parts.metrics.clone(),
        started: Instant::now(),
        orders: wired.orders.clone(),
        control_plane: wired.control_plane.clone(),
        canary: wired.broadcast.mesh().canary_status(),
        spans: Arc::clone(wired.core_parts.tracer.counts()),
        cache: Arc::clone(&wired.core_parts.cache),
    };
    StatusCache::new(source, wired.status_age_max.clone())
}

/// Serves gRPC until `stop`.
///
/// # Errors
/// When the schema that reflection serves cannot be read.
pub(crate) fn serve_grpc(
    listener: TcpListener,
    wired: &Wired,
    (status, logs, overview): (StatusCache, &Logs, &OverviewApi),
    stop: &Arc<Notify>,
) -> Result<(), tonic_reflection::server::Error> {
    let tracer = wired.core_parts.tracer.weak();
    let service = LoadBalancerService::new(wired.load_balancer.clone(), tracer);
    let router = grpc::router(service, Apis::new(wired, status, logs, overview.clone()))?;
    let broadcast = wired.broadcast.clone();
    let incoming = accepted(listener, move || broadcast.lost_after());
    let stop = Arc::clone(stop);
    tokio::task::spawn_local(async move {
        let served = grpc::serve(router, incoming, async move { stop.notified().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "gRPC server ended");
        }
    });
    Ok(())
}

/// What the HTTP API shows of a node.
pub fn shown(
    wired: &Wired,
    cores: &Cores,
    logs: &Logs,
    status: StatusCache,
    overview: OverviewApi,
    disk: Disk,
) -> Shown {
    Shown {
        status,
        routing: wired.core_parts.routing.clone(),
        ingress: wired.core_parts.ingress.clone(),
        disk,
        metrics: wired.core_parts.metrics.clone(),
        // This task does not end before the last spans are sent.
        tracer: wired.core_parts.tracer.weak(),
        engines: EngineApi::new(wired),
        cache: CacheApi::new(wired),
        broadcast: wired.broadcast.clone(),
        events: wired.events.clone(),
        access_log: wired.core_parts.access_log.counts(),
        traces: TraceApi::new(wired),
        logs: LogsApi::new(wired, logs),
        overview,
        alerts: wired.alerts.clone(),
        debug: DebugApi::new(wired, cores),
    }
}

/// Serves the HTTP API; with a token only to those who carry it.
pub(crate) fn serve_api(listener: TcpListener, shown: Shown, token: Option<&Secret>) {
    let broadcast = shown.broadcast.clone();
    let listener = listener.tap_io(move |stream| attend(stream, broadcast.lost_after()));
    let service =
        http_api::router(shown, token).into_make_service_with_connect_info::<SocketAddr>();
    tokio::task::spawn_local(async move {
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "HTTP API ended");
        }
    });
}

/// What every connection of these servers has: nothing waits for more, and a client whose system takes nothing for so
/// long is given up, whatever it listens to.
fn attend(stream: &TcpStream, lost_after: Duration) {
    // One that the client closed already shows so when it is read.
    let _ = stream.set_nodelay(true);
    lost_client::give_up_after(stream, lost_after);
}

/// The connections of a listener. Without file descriptors it rests; the caller would ask at once again.
fn accepted(
    listener: TcpListener,
    lost_after: impl Fn() -> Duration,
) -> impl Stream<Item = io::Result<TcpStream>> {
    futures::stream::unfold((listener, lost_after), async |(listener, lost_after)| {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    attend(&stream, lost_after());
                    return Some((Ok(stream), (listener, lost_after)));
                }
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    })
}
