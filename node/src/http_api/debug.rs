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
use tokio::time::timeout;
use weir_control_plane::governance::secret::SecretRef;
use weir_core::flame::Unit;
use weir_heap::Window;

use super::Shown;
use super::engines::told;
use crate::debug_api::cpu::{self, FREQUENCY_HZ};
use crate::debug_api::heap::HeapView;
use crate::debug_api::heap_profile::{self, HeapSamples, INTERVAL, INTERVALS};
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
        Some(token) => {
            let read = tokio::task::spawn_blocking(move || is_token(&place, &token));
            let wait = config.telemetry.dependency_timeout;
            match timeout(wait, read).await {
                Ok(is_theirs) => is_theirs,
                Err(_) => {
                    let message = format!("debug.token: could not be read within {wait:?}");
                    return told(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &message);
                }
            }
        }
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
            return bad_request(&message);
        }
    };
    let config = shown.engines.config();
    let (duration, wait) = (
        config.telemetry.profile_duration,
        config.telemetry.dependency_timeout,
    );
    let seconds = query.seconds.unwrap_or(duration.as_secs().max(1));
    if let Some(problem) = bad_seconds(seconds) {
        return bad_request(&problem);
    }
    let Some(turn) = shown.debug.begin_profile() else {
        return somebody_profiles();
    };
    let profile = match cpu::profile(Duration::from_secs(seconds), wait).await {
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
            let svg = profile.stacks.svg(&title, Unit::Samples);
            ([(CONTENT_TYPE, "image/svg+xml")], svg).into_response()
        }
    });
    written
        .await
        .unwrap_or_else(|error| failed(&error.to_string()))
}

fn bad_seconds(seconds: u64) -> Option<String> {
    let is_bad = !(1..=SECONDS_MAX).contains(&seconds);
    is_bad.then(|| format!("seconds: `{seconds}`; allowed: 1 to {SECONDS_MAX}"))
}

fn bad_request(message: &str) -> Response {
    told(StatusCode::BAD_REQUEST, "bad_request", message)
}

fn somebody_profiles() -> Response {
    let message = "somebody profiles already; one profile is taken at a time";
    told(StatusCode::CONFLICT, "conflict", message)
}

fn failed(why: &str) -> Response {
    told(StatusCode::INTERNAL_SERVER_ERROR, "internal", why)
}

async fn heap(State(shown): State<Shown>) -> Response {
    axum::Json(HeapView::of(&shown)).into_response()
}

/// What a flame graph of allocations shows.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Show {
    /// Bytes that are still in use at the end.
    #[default]
    InUse,
    /// All bytes that were allocated.
    Allocated,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeapQuery {
    seconds: Option<u64>,
    interval: Option<u64>,
    #[serde(default)]
    format: Form,
    #[serde(default)]
    show: Show,
}

impl HeapQuery {
    /// What is wrong with it.
    fn problem(&self) -> Option<String> {
        let (low, high) = INTERVALS.into_inner();
        let bad = self
            .interval
            .filter(|interval| !INTERVALS.contains(interval));
        let bad = bad.map(|bad| format!("interval: `{bad}`; allowed: {low} to {high} bytes"));
        self.seconds.and_then(bad_seconds).or(bad)
    }
}

async fn heap_profile(
    State(shown): State<Shown>,
    query: Result<Query<HeapQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejected) => {
            let (low, high) = INTERVALS.into_inner();
            return bad_request(&format!(
                "{}; allowed: seconds=1 to {SECONDS_MAX}, interval={low} to {high} bytes, \
                 format=svg or pprof, show=in_use or allocated",
                rejected.body_text(),
            ));
        }
    };
    if let Some(problem) = query.problem() {
        return bad_request(&problem);
    }
    let Some(turn) = shown.debug.begin_profile() else {
        return somebody_profiles();
    };
    let config = shown.engines.config();
    let wait = config.telemetry.dependency_timeout;
    let taken = match query.seconds.map(Duration::from_secs) {
        Some(duration) => {
            let interval = query.interval.unwrap_or(INTERVAL);
            let Some(window) = Window::begin(interval) else {
                return somebody_profiles();
            };
            heap_profile::of_window(window, duration, wait).await
        }
        None if config.telemetry.heap_sample_interval == 0 => {
            return bad_request(&format!(
                "seconds: missing, and telemetry.heap_sample_interval is 0; allowed: 1 to {SECONDS_MAX}"
            ));
        }
        None => heap_profile::since_start(wait).await,
    };
    let written = match taken {
        Ok(samples) => write_heap(&shown, query, samples).await,
        Err(why) => failed(&why),
    };
    drop(turn);
    written
}

async fn write_heap(shown: &Shown, query: HeapQuery, samples: HeapSamples) -> Response {
    let node = shown.engines.config().node.name.clone();
    let now = shown.debug.clock().unix_now();
    let written = tokio::task::spawn_blocking(move || match query.format {
        Form::Pprof => {
            let bytes = pprof::encode_heap(&samples, now);
            ([(CONTENT_TYPE, PROTOBUF)], bytes).into_response()
        }
        Form::Svg => {
            let svg = samples.svg(&node, matches!(query.show, Show::InUse));
            ([(CONTENT_TYPE, "image/svg+xml")], svg).into_response()
        }
    });
    written
        .await
        .unwrap_or_else(|error| failed(&error.to_string()))
}

async fn actors(State(shown): State<Shown>) -> Response {
    axum::Json(shown.debug.actors()).into_response()
}

async fn tasks(State(shown): State<Shown>) -> Response {
    axum::Json(shown.debug.runtimes()).into_response()
}
