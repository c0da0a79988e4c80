//! What was traced last.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use weir_proto::node::v1 as pb;

use super::cache::Document;
use super::engines::{invalid, not_found};
use super::{Shown, document};
use crate::trace_api::Error;

#[derive(Deserialize)]
pub(super) struct TraceQuery {
    /// Only what this node has.
    #[serde(default)]
    local: bool,
}

pub(super) async fn get(
    State(shown): State<Shown>,
    Path(id): Path<String>,
    Query(TraceQuery { local }): Query<TraceQuery>,
    headers: HeaderMap,
) -> Response {
    match shown.traces.get(&pb::GetTraceRequest { id, local }).await {
        Ok(trace) => document(&headers, StatusCode::OK, &Document::of(&trace)),
        Err(error @ Error::NoId) => invalid(error.to_string()),
        Err(error) => not_found(error.to_string()),
    }
}
