//! What happens on the node.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use super::cache::Document;
use super::engines::invalid;
use super::{Shown, document};
use crate::events::Asked;

#[derive(Deserialize)]
pub(super) struct EventsQuery {
    #[serde(default)]
    since: String,
    /// Several with commas between.
    #[serde(default)]
    kind: String,
}

pub(super) async fn list(
    State(shown): State<Shown>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Response {
    let asked = match Asked::parse(&query.since, [&*query.kind]) {
        Ok(asked) => asked,
        Err(bad) => return invalid(bad.to_string()),
    };
    let list = shown.events.list(&asked).await;
    // `next` moves with events that were not asked for.
    let tag = (&list.events, list.missed, list.restarted);
    document(&headers, StatusCode::OK, &Document::tagged(&list, &tag))
}
