//! What nodes write about themselves.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use weir_core::units::parse_duration;
use weir_proto::node::v1::LogsRequest;

use super::cache::Document;
use super::engines::invalid;
use super::{Shown, document};

#[derive(Deserialize)]
pub(super) struct LogsQuery {
    /// How old lines may be, such as `10m`.
    #[serde(default)]
    since: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    grep: String,
    #[serde(default)]
    lines: u32,
    #[serde(default)]
    mesh: bool,
}

pub(super) async fn list(
    State(shown): State<Shown>,
    Query(query): Query<LogsQuery>,
    headers: HeaderMap,
) -> Response {
    let since = match &*query.since {
        "" => Ok(None),
        text => parse_duration(text).map(Some),
    };
    let since_ms = match since {
        Ok(since) => since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        }),
        Err(error) => return invalid(format!("since: `{}`: {error}", query.since)),
    };
    let request = LogsRequest {
        since_ms,
        level: query.level,
        grep: query.grep,
        lines_max: query.lines,
        mesh: query.mesh,
    };
    let query = match shown.logs.query(&request) {
        Ok(query) => query,
        Err(bad) => return invalid(bad.to_string()),
    };
    let list = shown.logs.list(&query, request.mesh).await;
    document(&headers, StatusCode::OK, &Document::of(&list))
}
