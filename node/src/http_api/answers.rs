//! The cache: how it is, and purges.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::purge_request::Scope;

use super::cache::Document;
use super::engines::{invalid, wrong};
use super::{Shown, document};
use crate::cache_api::Error;

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 16 << 10;

/// The paths of the cache.
pub(super) fn router() -> Router<Shown> {
    Router::new()
        .route("/api/cache", get(stats))
        .route("/api/cache/purge", post(purge))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn stats(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    document(
        &headers,
        StatusCode::OK,
        &Document::of(&shown.cache.stats()),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Asked {
    url: Option<String>,
    tag: Option<String>,
    prefix: Option<String>,
    host: Option<String>,
    value: Option<String>,
    value_prefix: Option<String>,
    all: bool,
    namespace: String,
    soft: bool,
    wait: String,
    wait_ms: u64,
}

impl Asked {
    fn into_request(self) -> Result<pb::PurgeRequest, &'static str> {
        let asked = [
            self.url.map(Scope::Url),
            self.tag.map(Scope::Tag),
            self.prefix.map(Scope::Prefix),
            self.host.map(Scope::Host),
            self.value.map(Scope::Value),
            self.value_prefix.map(Scope::ValuePrefix),
            self.all.then_some(Scope::All(true)),
        ];
        let mut asked = asked.into_iter().flatten();
        match (asked.next(), asked.next()) {
            (scope, None) => Ok(pb::PurgeRequest {
                scope,
                namespace: self.namespace,
                soft: self.soft,
                wait: self.wait,
                wait_ms: self.wait_ms,
            }),
            _ => Err(
                "scope: only one of url, tag, prefix, host, value, value_prefix, all is purged at a time",
            ),
        }
    }
}

/// What makes no sense, and which field of the request that is.
pub(super) fn refused(error: &Error) -> Response {
    match error.field() {
        Some(field) => wrong(field, &error.to_string()),
        None => invalid(error.to_string()),
    }
}

async fn purge(State(shown): State<Shown>, body: Bytes) -> Response {
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return wrong("body", &format!("body: it is no purge: {error}")),
    };
    let request = match asked.into_request() {
        Ok(request) => request,
        Err(why) => return wrong("scope", why),
    };
    match shown.cache.purge(request).await {
        Ok(purged) => Json(purged).into_response(),
        Err(error) => refused(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_purged_at_a_time() {
        let read = |json| serde_json::from_str::<Asked>(json).unwrap().into_request();
        let one = read(r#"{"tag": "a", "soft": true, "wait": "all"}"#).unwrap();
        assert_eq!(one.scope, Some(Scope::Tag("a".to_owned())));
        assert!(one.soft && one.wait == "all");
        assert!(read(r#"{"tag": "a", "all": true}"#).is_err());
        assert_eq!(read("{}").unwrap().scope, None);
    }
}
