//! Engines and ports of VPNs.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use weir_core::provision::{Refusal, RefusalCode};
use weir_proto::node::v1 as pb;

use super::cache::Document;
use super::{Shown, document};
use crate::engine_api::{Error, LINES_DEFAULT, LINES_MAX};
use crate::telemetry::spans::parent_of;

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 16 << 10;

/// The paths of engines and ports.
pub(super) fn router() -> Router<Shown> {
    Router::new()
        .route("/api/engines", get(list))
        .route("/api/engines/{id}", delete(stop))
        .route("/api/engines/{id}/logs", get(logs))
        .route("/api/provision", post(provision))
        .route("/api/provisioning", get(provisioning))
        .route("/api/ports", get(ports))
        .route("/api/ports/{vpn}", get(port).post(invalidate))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default)]
    mesh: bool,
}

async fn list(
    State(shown): State<Shown>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Response {
    let list = shown.engines.list(query.mesh).await;
    document(&headers, StatusCode::OK, &Document::of(&list))
}

#[derive(Deserialize)]
struct StopQuery {
    #[serde(default)]
    now: bool,
}

async fn stop(
    State(shown): State<Shown>,
    Path(engine_id): Path<String>,
    Query(query): Query<StopQuery>,
) -> Response {
    match shown.engines.stop_anywhere(&engine_id, query.now).await {
        Ok(()) => {
            let stops = json!({ "stops": engine_id });
            (StatusCode::ACCEPTED, axum::Json(stops)).into_response()
        }
        Err(error) => failed(&error),
    }
}

#[derive(Deserialize)]
struct LogsQuery {
    lines: Option<usize>,
}

async fn logs(
    State(shown): State<Shown>,
    Path(engine_id): Path<String>,
    Query(query): Query<LogsQuery>,
) -> Response {
    let lines_max = query.lines.unwrap_or(LINES_DEFAULT);
    if !(1..=LINES_MAX).contains(&lines_max) {
        let message = format!("lines: {lines_max} is out of bounds (1 to {LINES_MAX})");
        return wrong("lines", &message);
    }
    match shown.engines.logs_anywhere(&engine_id, lines_max).await {
        Ok(lines) => axum::Json(json!({ "lines": lines })).into_response(),
        Err(error) => failed(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    service: String,
    #[serde(default)]
    key: String,
}

#[derive(Serialize)]
struct Accepted {
    job_id: String,
    already: bool,
}

async fn provision(State(shown): State<Shown>, headers: HeaderMap, body: Bytes) -> Response {
    let wanted: Wanted = match serde_json::from_slice(&body) {
        Ok(wanted) => wanted,
        Err(error) => {
            let message = format!("body: it is no {{service, key?}}: {error}");
            return wrong("body", &message);
        }
    };
    let wished = shown
        .engines
        .provision(&wanted.service, &wanted.key, parent_of(&headers))
        .await;
    match wished {
        Ok(wished) => {
            let accepted = Accepted {
                job_id: wished.job_id,
                already: wished.already,
            };
            (StatusCode::ACCEPTED, axum::Json(accepted)).into_response()
        }
        Err(refusal) => blocked(&refusal),
    }
}

async fn provisioning(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let provisioning = shown.engines.provisioning();
    document(&headers, StatusCode::OK, &Document::of(&provisioning))
}

async fn ports(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let ports = shown.engines.ports();
    let tag = without_ages(ports.clone());
    document(&headers, StatusCode::OK, &Document::tagged(&ports, &tag))
}

async fn port(State(shown): State<Shown>, Path(vpn): Path<String>, headers: HeaderMap) -> Response {
    match shown.engines.port(&vpn, parent_of(&headers)).await {
        Ok(port) => axum::Json(port).into_response(),
        Err(error) => failed(&error),
    }
}

/// What is news: with time alone, and with look-ups, nothing is another.
fn without_ages(mut list: pb::ListPortsResponse) -> pb::ListPortsResponse {
    for port in &mut list.ports {
        (port.age_ms, port.counters) = (0, None);
        if let Some(picture) = &mut port.picture {
            picture.asked_age_ms = None;
            (picture.told_age_ms, picture.fallback_age_ms) = (0, 0);
        }
    }
    list
}

/// For a VPN that says that its port is another one, whatever it sends with that: the port is asked for anew.
async fn invalidate(State(shown): State<Shown>, Path(vpn): Path<String>) -> Response {
    match shown.engines.invalidate(&vpn, false).await {
        Ok(port) => (StatusCode::ACCEPTED, axum::Json(port)).into_response(),
        Err(error) => failed(&error),
    }
}

#[derive(Serialize)]
struct Blocked<'a> {
    error: &'static str,
    code: &'static str,
    message: &'a str,
    /// `null` when nobody knows.
    recovery_eta_seconds: Option<u64>,
    can_retry: bool,
    should_wait: bool,
    #[serde(flatten)]
    wrong: Option<Wrong<'a>>,
}

/// A value that is out of bounds.
#[derive(Serialize)]
struct Wrong<'a> {
    field: &'static str,
    value: &'a str,
    bound: &'a str,
}

fn blocked(refusal: &Refusal) -> Response {
    let code = match refusal.code {
        RefusalCode::UnknownService => StatusCode::NOT_FOUND,
        RefusalCode::InvalidKey => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let eta = refusal.retry_after_seconds();
    let body = axum::Json(Blocked {
        error: "provisioning_blocked",
        code: refusal.code.as_str(),
        message: &refusal.message,
        recovery_eta_seconds: eta,
        can_retry: refusal.can_retry(),
        should_wait: refusal.should_wait(),
        wrong: refusal.wrong.as_deref().map(|wrong| Wrong {
            field: wrong.field,
            value: &wrong.value,
            bound: &wrong.bound,
        }),
    });
    match eta {
        Some(eta) => (code, [(RETRY_AFTER, eta.to_string())], body).into_response(),
        None => (code, body).into_response(),
    }
}

fn failed(error: &Error) -> Response {
    let (code, kind) = match error {
        Error::UnknownEngine(_) | Error::UnknownVpn(_) | Error::Nowhere { .. } => {
            (StatusCode::NOT_FOUND, "not_found")
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    told(code, kind, &error.to_string())
}

pub(super) fn invalid(message: String) -> Response {
    told(StatusCode::BAD_REQUEST, "invalid_argument", &message)
}

/// A request of which one thing makes no sense.
pub(super) fn wrong(field: &str, message: &str) -> Response {
    let body = json!({ "error": "invalid_argument", "field": field, "message": message });
    (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
}

pub(super) fn not_found(message: String) -> Response {
    told(StatusCode::NOT_FOUND, "not_found", &message)
}

pub(super) fn told(code: StatusCode, error: &str, message: &str) -> Response {
    let body = json!({ "error": error, "message": message });
    (code, axum::Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn when_it_helps_to_come_back_is_in_the_head() {
        let open = Refusal::new(RefusalCode::CircuitBreaker, "too many failures");
        let answer = blocked(&open.clone().with_eta(Duration::from_millis(1_200)));
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[RETRY_AFTER], "2");
        assert!(!blocked(&open).headers().contains_key(RETRY_AFTER));
        let unknown = Refusal::new(RefusalCode::UnknownService, "no service `tv`");
        assert_eq!(blocked(&unknown).status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn every_refusal_has_its_code_its_status_and_whether_it_passes_by_http_and_by_grpc() {
        for code in RefusalCode::ALL {
            let status = match code.as_str() {
                "unknown_service" => 404,
                "invalid_key" => 400,
                _ => 503,
            };
            let refusal = Refusal::new(*code, "as it is");
            let told = crate::engine_api::refusal(&refusal);
            let answer = blocked(&refusal);
            assert_eq!(answer.status(), status, "{code}");
            let body = axum::body::to_bytes(answer.into_body(), 4_096)
                .await
                .unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["code"], code.as_str());
            assert_eq!(body["code"], told.code);
            assert_eq!(body["can_retry"], told.can_retry);
            assert_eq!(body["should_wait"], told.should_wait);
        }
    }
}
