//! Routes with `broadcast`: subscribers and publishers come in here, on the core of their connection.
//!
//! One path is all: what asks for an upgrade becomes a WebSocket, what takes `text/event-stream` gets one, what is
//! posted is published, and everything else is a poll. HTTP/2 has no way to a WebSocket here (RFC 8441): it would be
//! one more way into the node, and browsers take HTTP/1.1 for it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::timeout;
use weir_broadcast::{Encoding, Shard};
use weir_core::proxy;
use weir_core::route::RouteRequest;
use weir_core::websocket::{self, BadHandshake};

use super::body::{BodyError, ResponseBody};
use super::client_io::{ClientIo, ClientStream};
use super::connection::Client;
use super::core::Core;
use super::exchange::Exchange;
use super::facing::Caller;
use super::request::{Asked, Refused, Upgrade, normalise, rewrite_headers, take_upgrade};
use super::stop::Stop;
use crate::broadcast::opening::Opening;
use crate::broadcast::rights::Face;
use crate::broadcast::{Coming, Posted, Turned, poll, socket, stream};

/// How long a client may take to hand over its stream after the 101.
const HANDOVER_WAIT: Duration = Duration::from_secs(10);
/// How long a message may take to come.
const MESSAGE_WAIT: Duration = Duration::from_secs(30);
/// Frames that wait for a response: the next is made when the one before is taken.
const FRAMES_MAX: usize = 1;

/// Sends this core's subscribers away when the node goes.
pub(super) async fn see_off(core: Rc<Core>, stop: Stop) {
    let Some(shard) = core.shard.clone() else {
        return;
    };
    let draw = || core.with_rng(|rng| rng.u64(..));
    core.parts.broadcast.see_off(&shard, stop, draw).await;
}

/// Whether a request is for such a route. Costs nothing where there is none.
pub(super) fn is_meant<B>(core: &Core, request: &mut Request<B>) -> bool {
    let routing = core.routing();
    if !core.has_broadcast() || normalise(request).is_err() {
        return false;
    }
    let authority = proxy::effective_host(request.uri(), request.headers(), request.version());
    let Ok(authority) = authority else {
        return false;
    };
    let route = routing.table.find(&RouteRequest {
        host: &authority.routing_host(),
        path: request.uri().path(),
        method: request.method(),
        headers: request.headers(),
    });
    route.is_some_and(|route| routing.routes[route].broadcast)
}

/// Answers a request for such a route.
pub(super) async fn serve(
    core: &Rc<Core>,
    client: &Client,
    mut request: Request<Incoming>,
    asked: Asked,
    exchange: Box<Exchange>,
) -> Result<Response<ResponseBody>, Refused> {
    if request.version() != Version::HTTP_2 {
        let patience = core.parts.broadcast.lost_after();
        client.activity.give_up_lost_after(patience);
    }
    let handshake = websocket::handshake(
        request.method(),
        request.version(),
        request.headers(),
        &socket::PROTOCOLS,
    );
    let upgrade = match asked.upgrade {
        true => take_upgrade(client, &mut request),
        false => None,
    };
    let address = rewrite_headers(core, &Caller::of(client), &mut request, asked.presence);
    let address = match address {
        Ok(address) => address,
        Err(reason) => return Err(Refused { reason, exchange }),
    };
    let peer = SocketAddr::new(address, client.peer.port());
    let coming = Coming::of(Face::Route, peer, request.uri(), request.headers());
    let visit = Visit {
        core: Rc::clone(core),
        coming,
        exchange,
    };
    Ok(match (upgrade, request.method()) {
        (Some(upgrade), _) => visit.socket(handshake, upgrade).await,
        (None, &Method::POST) => visit.publish(request).await,
        (None, &Method::GET) if takes_events(&request) => visit.events().await,
        (None, &Method::GET) => visit.poll().await,
        _ => visit.not_allowed(),
    })
}

fn takes_events<B>(request: &Request<B>) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.to_ascii_lowercase().contains("text/event-stream"))
}

/// A client's stream without what HTTP needs around it, and what was read of it.
fn hand_over(upgraded: Upgraded) -> Option<(ClientStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<ClientIo>>().ok()?;
    let (stream, held) = parts.io.into_inner().hand_over();
    // Most often there is neither, and nothing of what they are parts of is to be held.
    Some((stream, [&parts.read_buf[..], &held[..]].concat().into()))
}

/// A client on its way in.
struct Visit {
    core: Rc<Core>,
    coming: Coming,
    exchange: Box<Exchange>,
}

impl Visit {
    fn shard(&self) -> Result<Rc<Shard>, Turned> {
        let shard = self.core.shard.clone();
        shard.ok_or_else(|| Turned::Full("this thread takes no subscribers".to_owned()))
    }

    fn opening(&self) -> Result<Opening, Turned> {
        let last = self.coming.last_event_id.as_deref();
        Ok(Opening::of(&self.coming.query, last)?)
    }

    async fn socket(
        self,
        handshake: Result<websocket::Handshake, BadHandshake>,
        upgrade: Upgrade,
    ) -> Response<ResponseBody> {
        let handshake = match handshake {
            Ok(handshake) => handshake,
            Err(bad) => return self.no_socket(bad),
        };
        let settings = self.core.parts.broadcast.settings();
        let form = socket::Form::of(&handshake, &settings);
        let opened = async {
            let opening = self.opening()?;
            let broadcast = &self.core.parts.broadcast;
            let shard = self.shard()?;
            let session = broadcast.open(&shard, &self.coming, &opening, form.encoding);
            let session = session.await?;
            let first = session.first(&opening);
            Ok::<_, Turned>((session, first))
        };
        let (session, first) = match opened.await {
            Ok(opened) => opened,
            Err(turned) => return self.turned(&turned),
        };
        let Self {
            core, mut exchange, ..
        } = self;
        exchange.answered(StatusCode::SWITCHING_PROTOCOLS);
        exchange.tell_trace();
        let conversation = async move {
            let Ok(Ok(stream)) = timeout(HANDOVER_WAIT, upgrade.client).await else {
                return;
            };
            let Some((stream, ahead)) = hand_over(stream) else {
                return;
            };
            upgrade.open.needs_no_backend();
            core.metrics().tunnels_open.increment();
            socket::run(stream, ahead, session, form, first).await;
            core.metrics().tunnels_open.decrement();
            exchange.completed();
            drop(upgrade.open);
        };
        tokio::task::spawn_local(conversation);
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&handshake.accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = handshake.protocol.and_then(|at| socket::PROTOCOLS.get(at)) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        if let Some(extensions) = form.extensions {
            let extensions = HeaderValue::from_static(extensions);
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
        }
        response
    }

    async fn events(self) -> Response<ResponseBody> {
        let opened = async {
            let opening = self.opening()?;
            let broadcast = &self.core.parts.broadcast;
            let shard = self.shard()?;
            let session = broadcast.open(&shard, &self.coming, &opening, Encoding::Sse);
            Ok::<_, Turned>((session.await?, opening))
        };
        let (session, opening) = match opened.await {
            Ok(opened) => opened,
            Err(turned) => return self.turned(&turned),
        };
        let (sender, frames) = mpsc::channel(FRAMES_MAX);
        tokio::task::spawn_local(stream::events(session, opening, sender));
        let mut exchange = self.exchange;
        exchange.answered(StatusCode::OK);
        exchange.tell_trace();
        let mut response = Response::new(ResponseBody::told(ToldBody { frames, exchange }));
        let headers = response.headers_mut();
        for (name, value) in stream::HEADERS {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        response
    }

    async fn poll(self) -> Response<ResponseBody> {
        let answer = async {
            let opening = self.opening()?;
            let broadcast = &self.core.parts.broadcast;
            let shard = self.shard()?;
            let session = broadcast.open(&shard, &self.coming, &opening, Encoding::Sse);
            let session = session.await?;
            // A poll waits as long as its client wishes.
            self.exchange.judge_by_head();
            let answer = poll::answer(session, &opening).await;
            answer.map_err(|reason| Turned::Full(format!("cut: {}", reason.as_str())))
        };
        match answer.await {
            Ok(json) => self.document(StatusCode::OK, json),
            Err(turned) => self.turned(&turned),
        }
    }

    async fn publish(mut self, request: Request<Incoming>) -> Response<ResponseBody> {
        let broadcast = self.core.parts.broadcast.clone();
        let (head, body) = request.into_parts();
        let published = async {
            let posted = Posted::of(&self.coming, &head.headers, None)?;
            posted.check(&broadcast, &self.coming).await?;
            let max = broadcast.topics().limits().message_bytes_max;
            let body = timeout(MESSAGE_WAIT, Limited::new(body, max).collect()).await;
            let body = match body {
                Ok(Ok(body)) => body.to_bytes(),
                Ok(Err(_)) => return Err(Posted::too_long(max)),
                Err(_) => return Err(Posted::too_late(MESSAGE_WAIT)),
            };
            posted.publish(&broadcast, body).await
        };
        match published.await {
            Ok(json) => self.document(StatusCode::OK, json),
            Err(turned) => {
                // The rest of the body may not have been read.
                self.exchange.answered(turned.status());
                let mut response = self.turned(&turned);
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
                response
            }
        }
    }

    fn no_socket(self, bad: BadHandshake) -> Response<ResponseBody> {
        let status = match bad {
            BadHandshake::Version => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        };
        let told = serde_json::json!({ "error": "invalid_argument", "message": bad.to_string() });
        let mut response = self.document(status, told.to_string());
        if bad == BadHandshake::Version {
            let version = HeaderValue::from_static(websocket::VERSION);
            response
                .headers_mut()
                .insert(SEC_WEBSOCKET_VERSION, version);
        }
        response
    }

    fn not_allowed(self) -> Response<ResponseBody> {
        let told = "{\"error\":\"invalid_argument\",\"message\":\"method: is none of GET, POST\"}";
        let mut response = self.document(StatusCode::METHOD_NOT_ALLOWED, told.to_owned());
        let allowed = HeaderValue::from_static("GET, POST");
        response.headers_mut().insert(ALLOW, allowed);
        response
    }

    fn turned(self, turned: &Turned) -> Response<ResponseBody> {
        let mut response = self.document(turned.status(), turned.document());
        if let Some(seconds) = turned.retry_after_seconds() {
            let seconds = HeaderValue::from_static(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        if turned.status() == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }

    fn document(mut self, status: StatusCode, json: String) -> Response<ResponseBody> {
        self.exchange.answered(status);
        self.exchange.completed();
        let mut response = Response::new(ResponseBody::full(Bytes::from(json)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// An event stream on its way to the client. Its subscriber ends with it.
pub(super) struct ToldBody {
    frames: mpsc::Receiver<Bytes>,
    exchange: Box<Exchange>,
}

impl ToldBody {
    pub(super) fn exchange(&self) -> Option<&Exchange> {
        Some(&self.exchange)
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.frames.poll_recv(cx).map(|bytes| match bytes {
            Some(bytes) => {
                self.exchange.received(bytes.len());
                Some(Ok(Frame::data(bytes)))
            }
            None => {
                self.exchange.completed();
                None
            }
        })
    }
}
