//! Values that applications put, as documents with an entity tag.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tonic::Code;
use weir_core::aside::VALUE_BYTES_MAX;
use weir_core::units::parse_duration;
use weir_proto::node::v1 as pb;

use super::Shown;
use super::answers::refused;
use super::engines::{invalid, told};
use crate::cache_api::Error;

/// The paths of values.
pub(super) fn router() -> Router<Shown> {
    Router::new()
        .route("/api/cache/values/{*key}", get(read).put(write))
        .layer(DefaultBodyLimit::max(VALUE_BYTES_MAX))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Asked {
    namespace: String,
    /// A duration, as `5m`.
    ttl: Option<String>,
    /// Between commas.
    tags: String,
}

impl Asked {
    fn key(&self, key: String) -> Option<pb::ValueKey> {
        let namespace = self.namespace.clone();
        Some(pb::ValueKey { key, namespace })
    }
}

type Target = (
    Result<Path<String>, PathRejection>,
    Result<Query<Asked>, QueryRejection>,
);

/// Key and query, or what is wrong with them.
fn target((key, asked): Target) -> Result<(String, Asked), String> {
    let Path(key) = key.map_err(|bad| format!("key: {}", bad.body_text()))?;
    let Query(asked) = asked.map_err(|bad| {
        let why = bad.body_text();
        format!("{why}; allowed: namespace, ttl, tags")
    })?;
    Ok((key, asked))
}

async fn read(State(shown): State<Shown>, at: Target, headers: HeaderMap) -> Response {
    let (key, asked) = match target(at) {
        Ok(target) => target,
        Err(why) => return invalid(why),
    };
    let request = pb::GetValueRequest {
        key: asked.key(key),
    };
    let value = match shown.cache.value(request, false).await {
        Ok(value) => value,
        Err(error) => return failed(&error),
    };
    let etag = format!("\"{}\"", value.version);
    let max_age = format!("max-age={}", value.ttl_ms / 1_000);
    let head = [(ETAG, etag.clone()), (CACHE_CONTROL, max_age)];
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok());
    let is_known = known.is_some_and(|tags| {
        tags.split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*")
    });
    match is_known {
        true => (StatusCode::NOT_MODIFIED, head).into_response(),
        false => {
            let octets = [(CONTENT_TYPE, "application/octet-stream")];
            (head, octets, value.value).into_response()
        }
    }
}

async fn write(
    State(shown): State<Shown>,
    at: Target,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (key, asked) = match target(at) {
        Ok(target) => target,
        Err(why) => return invalid(why),
    };
    let body = match body {
        Ok(body) => body,
        Err(bad) if bad.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let why = format!("value: more than {VALUE_BYTES_MAX} bytes, the longest that is kept");
            return told(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &why);
        }
        Err(bad) => return invalid(bad.body_text()),
    };
    let request = match put_request(asked, key, &headers, body) {
        Ok(request) => request,
        Err(why) => return invalid(why),
    };
    match shown.cache.put_value(request, false).await {
        Ok(put) => {
            let etag = [(ETAG, format!("\"{}\"", put.version))];
            (StatusCode::NO_CONTENT, etag).into_response()
        }
        Err(error) => failed(&error),
    }
}

fn put_request(
    asked: Asked,
    key: String,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<pb::PutValueRequest, String> {
    let ttl = asked.ttl.as_deref().map(parse_duration).transpose();
    let ttl = ttl.map_err(|error| format!("ttl: {error}"))?;
    if ttl.is_some_and(|ttl| ttl.as_millis() == 0) {
        return Err("ttl: 0, expected at least 1ms, or none for cache.aside_ttl".to_owned());
    }
    let ttl_ms = ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    let text = |name: HeaderName| {
        let value = headers.get(&name).map(axum::http::HeaderValue::to_str);
        value.transpose().map_err(|_| format!("{name}: is no text"))
    };
    let if_version = match text(IF_MATCH)? {
        None => None,
        Some(tag) => Some(one_tag(tag)?),
    };
    let if_absent = match text(IF_NONE_MATCH)? {
        None => false,
        Some("*") => true,
        Some(other) => return Err(format!("if-none-match: `{other}`, expected *")),
    };
    let tags = asked.tags.split(',').filter(|tag| !tag.is_empty());
    Ok(pb::PutValueRequest {
        tags: tags.map(str::to_owned).collect(),
        key: asked.key(key),
        value: body.to_vec(),
        ttl_ms,
        if_version,
        if_absent,
        lease: String::new(),
    })
}

fn one_tag(text: &str) -> Result<String, String> {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let inner = inner.filter(|inner| !inner.contains('"'));
    inner
        .map(str::to_owned)
        .ok_or_else(|| format!("if-match: `{text}`, expected one strong entity tag"))
}

fn failed(error: &Error) -> Response {
    let message = error.to_string();
    let (status, name) = match error.code() {
        Code::InvalidArgument => return refused(error),
        Code::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        Code::Aborted => (StatusCode::PRECONDITION_FAILED, "precondition_failed"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    told(status, name, &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> Result<pb::PutValueRequest, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: axum::http::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let asked = Asked {
            ttl: Some("5m".to_owned()),
            tags: "a,b".to_owned(),
            ..Asked::default()
        };
        put_request(asked, "k".to_owned(), &headers, Bytes::from_static(b"v"))
    }

    #[test]
    fn conditions_of_http_are_those_of_a_put() {
        let plain = of(&[]).unwrap();
        assert_eq!((plain.ttl_ms, plain.tags.len()), (300_000, 2));
        assert_eq!((plain.if_version, plain.if_absent), (None, false));
        let compared = of(&[("if-match", "\"1-2\"")]).unwrap();
        assert_eq!(compared.if_version.as_deref(), Some("1-2"));
        assert!(of(&[("if-none-match", "*")]).unwrap().if_absent);
        for (name, value) in [
            ("if-match", "W/\"1\""),
            ("if-match", "*"),
            ("if-none-match", "\"1\""),
        ] {
            let told = of(&[(name, value)]).unwrap_err();
            assert!(told.starts_with(name), "{told}");
        }
    }
}
