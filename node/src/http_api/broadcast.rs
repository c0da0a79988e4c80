//! Messages to everyone over the API: subscribers by WebSocket, event stream and poll, publishing, topics, connections.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use weir_broadcast::Encoding;
use weir_core::websocket::{self, BadHandshake};
use weir_proto::node::v1 as pb;

use super::cache::Document;
use super::engines::{invalid, told};
use super::{Shown, document};
use crate::broadcast::rights::Face;
use crate::broadcast::{Coming, Posted, Turned, describe, poll, socket, stream};

/// Bytes of the longest message that profiles allow; what holds is looked at when it is published.
const BODY_BYTES_MAX: usize = 64 << 20;
/// How long a client may take to hand over its stream after the 101.
const HANDOVER_WAIT: Duration = Duration::from_secs(10);
/// Connections of an answer, unless it is said, and at most.
const CONNECTIONS_DEFAULT: usize = 100;
const CONNECTIONS_MAX: usize = 10_000;

/// The paths of messages.
pub(super) fn router() -> Router<Shown> {
    Router::new()
        .route("/ws", get(web_socket))
        .route("/sse", get(events))
        .route("/poll", get(long_poll))
        .route("/api/topics", get(topics))
        .route("/api/topics/{topic}", post(publish).get(history))
        .route("/api/topics/{topic}/presence", get(presence))
        .route("/api/connections", get(connections))
        .route("/api/connections/{id}", delete(disconnect))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

fn coming<B>(request: &axum::http::Request<B>) -> Coming {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or_else(|| ([0; 4], 0).into(), |info| info.0);
    Coming::of(Face::Api, peer, request.uri(), request.headers())
}

fn turned(turned: &Turned) -> Response {
    let head = [(CONTENT_TYPE, "application/json")];
    let mut response = (turned.status(), head, turned.document()).into_response();
    if let Some(seconds) = turned.retry_after_seconds() {
        let seconds = axum::http::HeaderValue::from_static(seconds);
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

async fn web_socket(State(shown): State<Shown>, mut request: Request) -> Response {
    let handshake = websocket::handshake(
        request.method(),
        request.version(),
        request.headers(),
        &socket::PROTOCOLS,
    );
    let handshake = match handshake {
        Ok(handshake) => handshake,
        Err(bad @ BadHandshake::Version) => {
            let version = [(SEC_WEBSOCKET_VERSION, websocket::VERSION)];
            let why = told(
                StatusCode::UPGRADE_REQUIRED,
                "invalid_argument",
                &bad.to_string(),
            );
            return (version, why).into_response();
        }
        Err(bad) => return invalid(bad.to_string()),
    };
    let form = socket::Form::of(&handshake, &shown.broadcast.settings());
    let coming = coming(&request);
    let upgrade = hyper::upgrade::on(&mut request);
    let opened = shown
        .broadcast
        .open_elsewhere(coming, form.encoding, move |session, opening| {
            let first = session.first(&opening);
            async move {
                if let Ok(Ok(stream)) = timeout(HANDOVER_WAIT, upgrade).await {
                    socket::run(TokioIo::new(stream), Bytes::new(), session, form, first).await;
                }
            }
        });
    if let Err(why) = opened.await {
        return turned(&why);
    }
    let mut response = (
        StatusCode::SWITCHING_PROTOCOLS,
        [(CONNECTION, "upgrade"), (UPGRADE, "websocket")],
        [(SEC_WEBSOCKET_ACCEPT, handshake.accept)],
    )
        .into_response();
    if let Some(protocol) = handshake.protocol.and_then(|at| socket::PROTOCOLS.get(at)) {
        let protocol = axum::http::HeaderValue::from_static(protocol);
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if let Some(extensions) = form.extensions {
        let extensions = axum::http::HeaderValue::from_static(extensions);
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
    }
    response
}

async fn events(State(shown): State<Shown>, request: Request) -> Response {
    let (sender, frames) = mpsc::channel(1);
    let serve = move |session, opening| stream::events(session, opening, sender);
    let opened = shown
        .broadcast
        .open_elsewhere(coming(&request), Encoding::Sse, serve);
    if let Err(why) = opened.await {
        return turned(&why);
    }
    let frames = ReceiverStream::new(frames).map(Ok::<Bytes, std::convert::Infallible>);
    let headers = stream::HEADERS.map(|(name, value)| (HeaderName::from_static(name), value));
    (headers, Body::from_stream(frames)).into_response()
}

async fn long_poll(State(shown): State<Shown>, request: Request) -> Response {
    polled(&shown, coming(&request)).await
}

async fn polled(shown: &Shown, coming: Coming) -> Response {
    let (tell, answer) = oneshot::channel();
    let serve = move |session, opening| async move {
        // Whoever asked may have gone.
        let _ = tell.send(poll::answer(session, &opening).await);
    };
    let opened = shown.broadcast.open_elsewhere(coming, Encoding::Sse, serve);
    if let Err(why) = opened.await {
        return turned(&why);
    }
    match answer.await {
        Ok(Ok(json)) => {
            let head = [
                (CONTENT_TYPE, "application/json"),
                (CACHE_CONTROL, "no-store"),
            ];
            (head, json).into_response()
        }
        Ok(Err(reason)) => turned(&Turned::Full(format!("cut: {}", reason.as_str()))),
        Err(_) => turned(&Turned::Full("the node goes".to_owned())),
    }
}

async fn publish(
    State(shown): State<Shown>,
    Path(topic): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // Who posts is known by its token alone.
    let coming = Coming::of(Face::Api, ([0; 4], 0).into(), &uri, &headers);
    let published = async {
        let posted = Posted::of(&coming, &headers, Some(&topic))?;
        posted.check(&shown.broadcast, &coming).await?;
        posted.publish(&shown.broadcast, body).await
    };
    match published.await {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(why) => turned(&why),
    }
}

async fn topics(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let mut all = shown.broadcast.topics().stats();
    all.sort_by(|one, other| one.topic.cmp(&other.topic));
    let topics = all.iter().map(|stat| {
        serde_json::json!({
            "topic": stat.topic.as_str(),
            "epoch": stat.position.epoch.to_string(),
            "offset": stat.position.offset,
            "floor": stat.floor,
            "kept_messages": stat.kept_messages,
            "kept_bytes": stat.kept_bytes,
        })
    });
    let topics: Vec<_> = topics.collect();
    let all = serde_json::json!({ "topics": topics });
    document(&headers, StatusCode::OK, &Document::of(&all))
}

/// What is kept: a poll that does not wait, from the start unless it says from where.
async fn history(
    State(shown): State<Shown>,
    Path(topic): Path<String>,
    request: Request,
) -> Response {
    let mut coming = coming(&request);
    coming.query = history_query(&topic, &coming.query);
    coming.only_looks = true;
    polled(&shown, coming).await
}

fn history_query(topic: &str, asked: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("topic", topic).append_pair("wait", "0s");
    if form_urlencoded::parse(asked.as_bytes()).all(|(key, _)| key != "since") {
        query.append_pair("since", "all");
    }
    query.extend_pairs(form_urlencoded::parse(asked.as_bytes()));
    query.finish()
}

async fn presence(
    State(shown): State<Shown>,
    Path(topic): Path<String>,
    headers: HeaderMap,
) -> Response {
    match shown
        .broadcast
        .presence(&pb::PresenceRequest {
            topic,
            local: false,
        })
        .await
    {
        Ok(present) => document(&headers, StatusCode::OK, &Document::of(&present)),
        Err(bad) => invalid(bad.to_string()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Which {
    by: String,
    limit: Option<usize>,
}

async fn connections(State(shown): State<Shown>, Query(asked): Query<Which>) -> Response {
    if !matches!(&*asked.by, "" | "lag") {
        return invalid(format!("by: `{}` is not lag", asked.by));
    }
    let limit = asked.limit.unwrap_or(CONNECTIONS_DEFAULT);
    if !(1..=CONNECTIONS_MAX).contains(&limit) {
        return invalid(format!("limit: {limit} is not from 1 to {CONNECTIONS_MAX}"));
    }
    let open = shown.broadcast.connections(limit).await;
    let connections = open.iter().map(|open| {
        // An id has more digits than a number of JavaScript.
        let described = describe::connection(open);
        let mut shown = serde_json::to_value(&described).unwrap_or_default();
        shown["id"] = described.id.to_string().into();
        shown
    });
    let connections: Vec<_> = connections.collect();
    axum::Json(serde_json::json!({ "connections": connections })).into_response()
}

async fn disconnect(State(shown): State<Shown>, Path(id): Path<u64>) -> Response {
    match shown.broadcast.disconnect(id).await {
        true => StatusCode::NO_CONTENT.into_response(),
        false => {
            let why = format!("id: no connection has {id}");
            told(StatusCode::NOT_FOUND, "not_found", &why)
        }
    }
}
