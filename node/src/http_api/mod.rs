//! The node's HTTP API: status, health and metrics, cheap to poll; engines, ports and events.

mod answers;
mod broadcast;
mod cache;
mod dashboard;
mod debug;
mod disk;
mod engines;
mod events;
mod exposition;
mod logs;
mod openapi;
mod overview;
mod sites;
mod token;
mod traces;
mod values;
mod warm;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use opentelemetry_proto::tonic::metrics::v1::Metric;

use cache::Document;
pub use cache::{AGE_MAX_DEFAULT, Cached, StatusCache};
pub use disk::Disk;
use token::Token;
use weir_control_plane::governance::secret::Secret;

use crate::broadcast::Broadcast;
use crate::cache_api::CacheApi;
use crate::config::Ingress;
use crate::data_plane::routing::Routing;
use crate::debug_api::DebugApi;
use crate::describe;
use crate::engine_api::EngineApi;
use crate::events::Events;
use crate::logs_api::LogsApi;
use crate::overview::OverviewApi;
use crate::snapshot::Snapshot;
use crate::telemetry::access::AccessCounts;
use crate::telemetry::alerts::Alerts;
use crate::telemetry::metrics::{NodeMetrics, TextFormat};
use crate::telemetry::points::Window;
use crate::telemetry::spans::Tracer;
use crate::telemetry::{http_client, http_server};
use crate::trace_api::TraceApi;

/// What the API shows.
#[derive(Clone)]
pub struct Shown {
    /// Status and health, cached for a moment.
    pub status: StatusCache,
    /// Services and backends.
    pub routing: Snapshot<Routing>,
    /// Limits of clients, as they are in force.
    pub ingress: Snapshot<Ingress>,
    /// Room for what must survive the node.
    pub disk: Disk,
    /// Counters.
    pub metrics: NodeMetrics,
    /// What became of spans.
    pub tracer: Tracer,
    /// Engines and ports of VPNs.
    pub engines: EngineApi,
    /// What is kept of answers.
    pub cache: CacheApi,
    /// Messages to many.
    pub broadcast: Broadcast,
    /// What happens.
    pub events: Events,
    /// What became of lines of the access log.
    pub access_log: Arc<AccessCounts>,
    /// What was traced last.
    pub traces: TraceApi,
    /// What nodes write about themselves.
    pub logs: LogsApi,
    /// What the node itself does.
    pub debug: DebugApi,
    /// Nodes at a glance.
    pub overview: OverviewApi,
    /// What the node tells of itself when a limit is passed.
    pub alerts: Alerts,
}

/// All paths of the API; with a token only for those who carry it. What is under `/debug` has one of its own.
pub fn router(shown: Shown, token: Option<&Secret>) -> Router {
    let router = Router::new()
        .route("/api/status", get(status))
        .route("/api/health", get(health))
        .route("/api/services", get(services))
        .route("/api/events", get(events::list))
        .route("/api/traces/{id}", get(traces::get))
        .route("/api/logs", get(logs::list))
        .route("/api/overview", get(overview::get))
        .route("/api/openapi.json", get(openapi::get))
        .route("/metrics", get(metrics))
        .merge(engines::router())
        .merge(answers::router())
        .merge(values::router())
        .merge(warm::router())
        .merge(broadcast::router())
        .merge(dashboard::router())
        .method_not_allowed_fallback(not_allowed)
        .fallback(nowhere);
    let router = match token.map(Token::new) {
        Some(token) => router.layer(middleware::from_fn_with_state(
            token,
            token::refuse_strangers,
        )),
        None => router,
    };
    router
        .merge(debug::router(&shown))
        .layer(middleware::from_fn_with_state(
            shown.clone(),
            sites::refuse_others,
        ))
        .with_state(shown)
}

async fn nowhere(uri: Uri) -> Response {
    let path = uri.path();
    let message =
        format!("path: there is nothing at `{path}`; /api/openapi.json tells what there is");
    engines::not_found(message)
}

async fn not_allowed(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let message =
        format!("method: `{method}` is none of `{path}`; /api/openapi.json tells its methods");
    engines::told(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        &message,
    )
}

async fn status(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let cached = shown.status.now();
    document(&headers, StatusCode::OK, &cached.status_document)
}

/// 200 while the node wants new clients and every service has a backend that takes work, else 503.
async fn health(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let cached: std::sync::Arc<Cached> = shown.status.now();
    let code = if cached.serving {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    document(&headers, code, &cached.health_document)
}

fn document(headers: &HeaderMap, code: StatusCode, document: &Document) -> Response {
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == document.etag));
    let common = [
        (ETAG, document.etag.clone()),
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    if known && code == StatusCode::OK {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (
        code,
        common,
        [(CONTENT_TYPE, "application/json")],
        document.json.clone(),
    )
        .into_response()
}

async fn services(State(shown): State<Shown>) -> Response {
    let routing = shown.routing.load();
    let services: Vec<_> = routing
        .services
        .iter()
        .map(|s| describe::service(s))
        .collect();
    axum::Json(services).into_response()
}

/// What `/metrics` tells.
pub fn metrics_text(shown: &Shown, format: TextFormat) -> String {
    exposition::render(shown, format)
}

/// The same as points of that window, for an OTLP receiver.
pub fn metrics_points(shown: &Shown, window: Window) -> Vec<Metric> {
    let mut points = exposition::points(shown, window);
    let routing = shown.routing.load();
    let routes = &routing.route_metrics;
    points.extend(http_server::points(&shown.metrics, routes, window));
    points.extend(http_client::points(&routing, window));
    points
}

async fn metrics(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = TextFormat::of_accept(accept.unwrap_or_default());
    let text = metrics_text(&shown, format);
    ([(CONTENT_TYPE, format.content_type())], text).into_response()
}
