//! Nodes at a glance.

use axum::extract::{Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use weir_core::content_coding::{AcceptEncoding, Coding, names_etag};
use weir_proto::node::v1 as pb;

use super::Shown;
use super::engines::{invalid, not_found, told};
use crate::overview::{Document, Error};

#[derive(Deserialize)]
pub(super) struct OverviewQuery {
    /// All nodes.
    #[serde(default)]
    mesh: bool,
    /// One other node.
    #[serde(default)]
    node: String,
    /// History from this slot on.
    #[serde(default)]
    since: u64,
    /// Samples of each series.
    #[serde(default)]
    samples: u32,
}

pub(super) async fn get(
    State(shown): State<Shown>,
    Query(query): Query<OverviewQuery>,
    headers: HeaderMap,
) -> Response {
    let request = pb::OverviewRequest {
        mesh: query.mesh,
        node: query.node,
        since_slot: query.since,
        samples_max: query.samples,
        buckets: false,
    };
    match shown.overview.document(&request).await {
        Ok(document) => answer(&headers, &document).await,
        Err(error @ (Error::NodeAndMesh(_) | Error::SamplesMax(_))) => invalid(error.to_string()),
        Err(error @ Error::UnknownNode(_)) => not_found(error.to_string()),
        Err(error @ Error::Away { .. }) => told(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            &error.to_string(),
        ),
    }
}

async fn answer(headers: &HeaderMap, document: &Document) -> Response {
    let common = [
        (ETAG, document.etag.clone()),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (VARY, "accept-encoding".to_owned()),
    ];
    if is_known(headers, &document.etag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let json = [(CONTENT_TYPE, "application/json")];
    let coding = AcceptEncoding::of(headers).choose(&[Coding::Gzip]);
    if coding == Some(Coding::Gzip)
        && let Some(gzip) = document.gzip().await
    {
        return (common, json, [(CONTENT_ENCODING, "gzip")], gzip).into_response();
    }
    (common, json, document.json.clone()).into_response()
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let Ok(etag) = HeaderValue::from_str(etag) else {
        return false;
    };
    let mut lists = headers.get_all(IF_NONE_MATCH).iter();
    lists.any(|list| names_etag(list, &etag))
}
