//! `/debug`: what a running node does, for whoever shows the token of `[debug] token`.

use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use weir_control_plane::governance::secret::SecretRef;

use super::Shown;
use super::engines::told;
use crate::debug_api::cpu::{self, FREQUENCY_HZ};
use crate::debug_api::heap::{HeapView, NO_PROFILE};
use crate::debug_api::pprof;
use crate::token_digest::TokenDigest;

/// How long a profile may take, in seconds.
const SECONDS_MAX: u64 = 600;
const PROTOBUF: &str = "application/vnd.google.protobuf";

pub(super) fn router(shown: &Shown) -> Router<Shown> {
    Router::new()
        .route("/debug/profile/cpu", get(cpu_profile))
        .route("/debug/heap", get(heap))
        .route("/debug/heap/profile", get(heap_profile))
        .route("/debug/actors", get(actors))
        .route("/debug/tasks", get(tasks))
        .route_layer(middleware::from_fn_with_state(shown.clone(), allow))
}

/// Passes on who shows the token.
async fn allow(State(shown): State<Shown>, request: Request, next: Next) -> Response {
    let config = shown.engines.config();
    let Some(place) = config.debug.token.clone() else {
        return told(
            StatusCode::FORBIDDEN,
            "forbidden",
            "debug.token: nothing under /debug is answered until this key names a token",
        );
    };
    let token = shown_token(request.headers()).map(str::to_owned);
    let is_theirs = match token {
        Some(token) => tokio::task::spawn_blocking(move || is_token(&place, &token)).await,
        None => Ok(Ok(false)),
    };
    match is_theirs {
        Ok(Ok(true)) => next.run(request).await,
        Ok(Ok(false)) => {
            let message = "authorization: the token of debug.token is needed, as a bearer token";
            let mut answer = told(StatusCode::UNAUTHORIZED, "unauthorized", message);
            let challenge = HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            answer
        }
        Ok(Err(why)) => {
            let message = format!("debug.token: {why}");
            told(StatusCode::FORBIDDEN, "forbidden", &message)
        }
        Err(error) => failed(&error.to_string()),
    }
}

fn shown_token(headers: &HeaderMap) -> Option<&str> {
    let shown = headers.get(AUTHORIZATION)?.to_str().ok()?;
    shown.strip_prefix("Bearer ").map(str::trim)
}

/// Whether the secret is this token; may block for as long as a disk does.
fn is_token(place: &SecretRef, token: &str) -> Result<bool, String> {
    let secret = place.read().map_err(|error| error.to_string())?;
    Ok(TokenDigest::of(secret.expose()).is_of(token))
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    #[default]
    Svg,
    Pprof,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CpuQuery {
    seconds: Option<u64>,
    #[serde(default)]
    format: Form,
}

async fn cpu_profile(
    State(shown): State<Shown>,
    query: Result<Query<CpuQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejected) => {
            let message = format!(
                "{}; allowed: seconds=1 to {SECONDS_MAX}, format=svg or pprof",
                rejected.body_text()
            );
            return told(StatusCode::BAD_REQUEST, "bad_request", &message);
        }
    };
    let duration = shown.engines.config().telemetry.profile_duration;
    let seconds = query.seconds.unwrap_or(duration.as_secs().max(1));
    if !(1..=SECONDS_MAX).contains(&seconds) {
        let message = format!("seconds: `{seconds}`; allowed: 1 to {SECONDS_MAX}");
        return told(StatusCode::BAD_REQUEST, "bad_request", &message);
    }
    let Some(turn) = shown.debug.begin_profile() else {
        let message = "somebody profiles already; one profile is taken at a time";
        return told(StatusCode::CONFLICT, "conflict", message);
    };
    let profile = match cpu::profile(Duration::from_secs(seconds)).await {
        Ok(profile) => profile,
        Err(why) => return failed(&why),
    };
    drop(turn);
    let node = shown.engines.config().node.name.clone();
    let now = shown.debug.clock().unix_now();
    // A whole profile takes some milliseconds to be written, which the control thread does not have.
    let written = tokio::task::spawn_blocking(move || match query.format {
        Form::Pprof => {
            let bytes = pprof::encode(&profile.stacks, FREQUENCY_HZ, now, profile.duration);
            ([(CONTENT_TYPE, PROTOBUF)], bytes).into_response()
        }
        Form::Svg => {
            let samples = profile.stacks.total();
            let title = format!(
                "{node}: {samples} samples of {seconds} s, {FREQUENCY_HZ} in each second of a processor"
            );
            let svg = profile.stacks.svg(&title);
            ([(CONTENT_TYPE, "image/svg+xml")], svg).into_response()
        }
    });
    written
        .await
        .unwrap_or_else(|error| failed(&error.to_string()))
}

fn failed(why: &str) -> Response {
    told(StatusCode::INTERNAL_SERVER_ERROR, "internal", why)
}

async fn heap(State(shown): State<Shown>) -> Response {
    axum::Json(HeapView::of(&shown)).into_response()
}

async fn heap_profile() -> Response {
    told(StatusCode::NOT_IMPLEMENTED, "not_implemented", NO_PROFILE)
}

async fn actors(State(shown): State<Shown>) -> Response {
    axum::Json(shown.debug.actors()).into_response()
}

async fn tasks(State(shown): State<Shown>) -> Response {
    axum::Json(shown.debug.runtimes()).into_response()
}
