//! The cache: what is fetched because somebody says so.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use weir_proto::node::v1 as pb;

use super::Shown;
use super::answers::refused;
use super::engines::{told, wrong};
use crate::cache_api::{Error, warm_result};

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 1 << 20;

pub(super) fn router() -> Router<Shown> {
    Router::new()
        .route("/api/cache/warm", post(warm))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    urls: Vec<String>,
    hot: bool,
}

/// Answers when everything is done.
async fn warm(State(shown): State<Shown>, body: Bytes) -> Response {
    let Asked { urls, hot } = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return wrong("body", &format!("body: it is no order: {error}")),
    };
    match shown.cache.warm(pb::WarmRequest { urls, hot }).await {
        Ok((total, mut done)) => {
            let mut results = Vec::new();
            while let Some(done) = done.recv().await {
                results.push(warm_result(done, total));
            }
            Json(serde_json::json!({ "total": total, "results": results })).into_response()
        }
        Err(error @ Error::NotWarmed(_)) => {
            told(StatusCode::SERVICE_UNAVAILABLE, "busy", &error.to_string())
        }
        Err(error) => refused(&error),
    }
}
