//! One request: admit, route, forward, respond.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, EXPECT, HOST, SET_COOKIE, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use weir_core::proxy::{self, Presence};
use weir_core::route::{Route, RouteRequest, normalise_path};

use super::accept::OpenConnection;
use super::activity::Running;
use super::answer::Reason;
use super::body::ResponseBody;
use super::broadcast;
use super::cache;
use super::compress::{self, Offer};
use super::connection::Client;
use super::core::Core;
use super::exchange::Exchange;
use super::facing::{Caller, Facing, tell_of_client};
use super::logged::Logged;
use super::origin;
use super::routing::{LocalRouting, Routing, Service};
use super::stream_watch::StreamWatch;
use super::trace::{Fact, REQUEST_ID, RequestTrace};
use crate::config::RouteSettings;
use crate::telemetry::logs::in_trace;

/// Answers one request. Never fails: what goes wrong becomes an answer with its reason.
///
/// The request counts on its connection from the call on, before the answer is first polled: the
/// connection must not take itself for idle in between.
pub(super) fn serve(
    core: Rc<Core>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> {
    let running = Running::begin(&client.activity);
    let watch = (request.version() == Version::HTTP_2).then(Rc::<StreamWatch>::default);
    client.next_stream.set(watch.clone());
    answer(core, client, request, running, watch)
}

async fn answer(
    core: Rc<Core>,
    client: Rc<Client>,
    mut request: Request<Incoming>,
    running: Running,
    watch: Option<Rc<StreamWatch>>,
) -> Result<Response<ResponseBody>, Infallible> {
    let started = Instant::now();
    let mut exchange = Exchange::begin(&core, running, request.method(), started);
    exchange.watch = watch;
    exchange.trace = begin_trace(&core, &client, &mut request, started);
    exchange.logged = Logged::begin(&core, &client, &request);
    let presence = Presence::of(request.headers());
    let grpc = presence.has_content_type() && proxy::is_grpc(request.headers());
    let upgrade =
        presence.has_upgrade() && proxy::expects_upgrade(request.version(), request.headers());
    let asked = Asked {
        presence,
        grpc,
        upgrade,
    };
    let http1 = request.version() <= Version::HTTP_11;
    let mut last = false;
    let trace_id = exchange.trace_id();
    let handled = std::pin::pin!(handle(&core, &client, request, asked, exchange));
    let mut response = match in_trace(trace_id, handled).await {
        Ok(response) => response,
        Err(Refused {
            reason,
            mut exchange,
        }) => {
            exchange.failed(reason);
            // The rest of the body will not be read, so there is no way to the next request.
            last = http1 && exchange.has_unread_upload();
            let mut answer = reason.answer(grpc);
            exchange.tell_id(answer.headers_mut());
            answer
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // The guard let everything after an upgrade's head pass unseen: no further request may follow.
        last |= upgrade || (http1 && core.leaving.since().is_some());
    }
    if last {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if http1 {
        // Nobody looks at its bytes from here on.
        response.body_mut().goes_by(&client.sends);
    }
    Ok(response.map(|body| body.in_trace(trace_id)))
}

/// What a look at the request's head told.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) presence: Presence,
    pub(super) grpc: bool,
    pub(super) upgrade: bool,
}

impl Asked {
    /// Whether a cache of the route has to do with it.
    pub(super) fn may_be_cached(self, route: &RouteSettings) -> bool {
        route.cache.is_some() && !self.upgrade && !self.grpc
    }
}

/// A request that the node answers itself.
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) exchange: Box<Exchange>,
}

/// A routed request, with what its way back needs.
#[derive(Clone)]
pub(super) struct Routed {
    pub(super) routing: LocalRouting,
    pub(super) route: usize,
    /// Into the services of `routing`.
    pub(super) service: usize,
    pub(super) client_address: IpAddr,
    /// The request says who its client is.
    pub(super) is_introduced: bool,
    pub(super) asked: Asked,
    /// What the client asked for, as backends are told; only for routes with a cache.
    pub(super) facing: Facing,
    /// In which codings the answer may be.
    pub(super) offer: Option<Rc<Offer>>,
    /// What cuts the answer short can be told in trailers.
    pub(super) grpc_trailers: bool,
}

impl Routed {
    pub(super) fn route(&self) -> &Route {
        self.routing
            .table
            .get(self.route)
            .expect("the index came from this table")
    }

    pub(super) fn service(&self) -> &Service {
        &self.routing.services[self.service]
    }

    /// The same to another node of the mesh.
    pub(super) fn to_peer(&self, peers: &Arc<Routing>, service: usize) -> Self {
        Self {
            routing: LocalRouting::new(peers),
            route: 0,
            service,
            ..self.clone()
        }
    }

    pub(super) fn settings(&self) -> &RouteSettings {
        &self.routing.routes[self.route]
    }
}

/// A client's wish to leave HTTP.
pub(super) struct Upgrade {
    pub(super) protocol: HeaderValue,
    pub(super) client: OnUpgrade,
    /// The connection that it was asked on.
    pub(super) open: Rc<OpenConnection>,
}

async fn handle(
    core: &Rc<Core>,
    client: &Client,
    mut request: Request<Incoming>,
    asked: Asked,
    mut exchange: Box<Exchange>,
) -> Result<Response<ResponseBody>, Refused> {
    if broadcast::is_meant(core, &mut request) {
        return broadcast::serve(core, client, request, asked, exchange).await;
    }
    let upgrade = if asked.upgrade {
        take_upgrade(client, &mut request)
    } else {
        None
    };
    // As the client asked, before a rewrite.
    exchange.watch_slowness(client.limits.slow_request, request.uri());
    let routed = match admit(core, &Caller::of(client), &mut request, asked) {
        Ok(routed) => routed,
        Err(reason) => return Err(Refused { reason, exchange }),
    };
    exchange.routed_to(&routed.routing, routed.route, routed.service);
    if let Some(logged) = &mut exchange.logged {
        logged.client = routed.client_address;
    }
    if let Some(trace) = &exchange.trace {
        exchange.admitted = Some(note_admission(trace, &routed, exchange.started));
    }
    let mut response = if asked.may_be_cached(routed.settings()) {
        cache::serve(core, client, &routed, request, exchange).await?
    } else {
        let request = request.map(Some);
        // On the heap: each connection has room for the rest of a request, and moves it for each.
        let sent = origin::send(core, &client.limits, &routed, request, exchange, upgrade);
        Box::pin(sent).await.map(cache::without_told)?
    };
    finish_response(core, client, &routed, &mut response);
    Ok(response)
}

pub(super) fn take_upgrade(client: &Client, request: &mut Request<Incoming>) -> Option<Upgrade> {
    let protocol = request.headers().get(UPGRADE)?.clone();
    // HTTP/2 is spoken with prior knowledge only (RFC 9113 section 3.1).
    let offered = !protocol.as_bytes().to_ascii_lowercase().starts_with(b"h2c");
    offered.then(|| Upgrade {
        protocol,
        client: hyper::upgrade::on(request),
        open: Rc::clone(&client.open),
    })
}

/// Checks the request, finds its route and makes it fit to be forwarded.
pub(super) fn admit<B>(
    core: &Core,
    caller: &Caller<'_>,
    request: &mut Request<B>,
    asked: Asked,
) -> Result<Routed, Reason> {
    proxy::check_method(request.method()).map_err(|_| Reason::MethodRefused)?;
    if asked.presence.has_via() {
        core.via
            .check(request.headers())
            .map_err(|_| Reason::LoopDetected)?;
    }
    if request.version() == Version::HTTP_2 {
        check_http2(caller, request)?;
    }
    normalise(request)?;
    let routing = core.routing();
    let (route, service, authority) = find_route(core, &routing, request)?;
    let offer = offer(core, &routing.routes[route], request, asked);
    strip_own(request.headers_mut(), asked.presence)?;
    let is_introduced = !may_stay_unknown(&routing, route, request, asked);
    let client_address = match is_introduced {
        true => tell_of_client(core, *caller, request, asked.presence),
        false => caller.ip.to_canonical(),
    };
    let facing = match authority {
        None => Facing::nothing(),
        Some(own) if asked.presence.tells_of_client() => Facing::of(request, own),
        Some(own) => Facing::untold(caller, own),
    };
    let mut routed = Routed {
        routing,
        route,
        service,
        client_address,
        is_introduced,
        asked,
        facing,
        offer,
        grpc_trailers: asked.grpc && request.version() == Version::HTTP_2,
    };
    if !routed.route().rewrite.is_empty() {
        routed.facing.before_rewrite(request);
        rewrite_target(routed.route(), request)?;
    }
    let route = routed.route();
    if !route.request_edits.is_empty() {
        route.request_edits.apply(request.headers_mut());
    }
    Ok(routed)
}

/// In which codings the answer may be; the cache sees to the conditions of its requests itself.
fn offer<B>(
    core: &Core,
    settings: &RouteSettings,
    request: &mut Request<B>,
    asked: Asked,
) -> Option<Rc<Offer>> {
    let route = settings.compression.as_ref()?;
    let offer = (!asked.grpc && !asked.upgrade).then(|| Offer::of(core, route, request))??;
    if settings.cache.is_none() {
        offer.tell_origin(request.headers_mut());
    }
    Some(offer)
}

/// What the guard checks of HTTP/1 heads and the parser of HTTP/2 does not.
fn check_http2<B>(caller: &Caller<'_>, request: &Request<B>) -> Result<(), Reason> {
    if request.headers().len() > caller.limits.headers_max {
        return Err(Reason::TooManyHeaders);
    }
    let target = request
        .uri()
        .path_and_query()
        .map_or("", PathAndQuery::as_str);
    if target.is_ascii() {
        Ok(())
    } else {
        Err(Reason::BadPath)
    }
}

/// Routes and backends see the path that the client means, without dot segments.
pub(super) fn normalise<B>(request: &mut Request<B>) -> Result<(), Reason> {
    let uri = request.uri();
    if uri.path() == "*" {
        return Ok(());
    }
    let Cow::Owned(path) = normalise_path(uri.path()).map_err(|_| Reason::BadPath)? else {
        return Ok(());
    };
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    set_path(request, target.parse().map_err(|_| Reason::BadPath)?)
}

fn set_path<B>(request: &mut Request<B>, target: PathAndQuery) -> Result<(), Reason> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.path_and_query = Some(target);
    *request.uri_mut() = parts.try_into().map_err(|_| Reason::BadPath)?;
    Ok(())
}

/// Route and service, and for a route with a cache the authority that the request is for.
fn find_route<B>(
    core: &Core,
    routing: &Routing,
    request: &Request<B>,
) -> Result<(usize, usize, Option<Rc<str>>), Reason> {
    let authority = proxy::effective_host(request.uri(), request.headers(), request.version())
        .map_err(|_| Reason::BadAuthority)?;
    let route = routing
        .table
        .find(&RouteRequest {
            host: &authority.routing_host(),
            path: request.uri().path(),
            method: request.method(),
            headers: request.headers(),
        })
        .ok_or(Reason::NoRoute)?;
    let target = &routing.table.get(route).ok_or(Reason::NoRoute)?.target;
    let service = core
        .with_rng(|rng| routing.service_index(target.choose(rng)))
        .ok_or(Reason::NoBackend)?;
    let is_cached = routing.routes[route].cache.is_some();
    let authority = is_cached.then(|| core.authority(authority.as_str()));
    Ok((route, service, authority))
}

/// Replaces what was meant for this node by what the backend shall know; tells the client's address.
pub(super) fn rewrite_headers<B>(
    core: &Core,
    caller: &Caller<'_>,
    request: &mut Request<B>,
    presence: Presence,
) -> Result<IpAddr, Reason> {
    strip_own(request.headers_mut(), presence)?;
    Ok(tell_of_client(core, *caller, request, presence))
}

/// Takes away what was meant for this node.
fn strip_own(headers: &mut HeaderMap, presence: Presence) -> Result<(), Reason> {
    if presence.has_hop_by_hop() {
        proxy::strip_hop_by_hop(headers).map_err(|_| Reason::BadRequest)?;
    }
    if presence.has_expect() {
        // The node itself says 100 as soon as a backend's connection asks for the body.
        headers.remove(EXPECT);
    }
    Ok(())
}

/// Whether the client may be introduced later: a cache that answers by itself tells nobody of it.
fn may_stay_unknown<B>(
    routing: &Routing,
    route: usize,
    request: &Request<B>,
    asked: Asked,
) -> bool {
    let is_edited = |route: &Route| !route.rewrite.is_empty() || !route.request_edits.is_empty();
    asked.may_be_cached(&routing.routes[route])
        && !asked.presence.tells_of_client()
        && request.uri().authority().is_none()
        && !routing.table.get(route).is_some_and(is_edited)
}

fn rewrite_target<B>(route: &Route, request: &mut Request<B>) -> Result<(), Reason> {
    let uri = request.uri();
    let new = route
        .rewrite
        .path_and_query(uri.path(), uri.query())
        .map_err(|_| Reason::BadPath)?;
    if let Some(target) = new {
        set_path(request, target)?;
    }
    if let Some(host) = route.rewrite.host() {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        (parts.scheme, parts.authority) = (None, None);
        *request.uri_mut() = parts.try_into().map_err(|_| Reason::BadPath)?;
        request.headers_mut().insert(HOST, host.clone());
    }
    Ok(())
}

fn finish_response(
    core: &Rc<Core>,
    client: &Client,
    routed: &Routed,
    response: &mut Response<ResponseBody>,
) {
    if let Some(offer) = &routed.offer {
        compress::finish(core, client, offer, response);
    }
    let from_backend = response.version();
    core.via.append(response.headers_mut(), from_backend);
    // The version is this node's own (RFC 9110 section 2.5), whatever the backend speaks.
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    let route = routed.route();
    if !route.response_edits.is_empty() {
        route.response_edits.apply(headers);
    }
}

/// Adds a cookie without touching those of the backend.
pub(super) fn add_cookie(headers: &mut HeaderMap, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        headers.append(SET_COOKIE, value);
    }
}

fn begin_trace(
    core: &Core,
    client: &Client,
    request: &mut Request<Incoming>,
    started: Instant,
) -> Option<RequestTrace> {
    let ip = client.peer.ip();
    let is_trusted = |headers: &HeaderMap| {
        let trusted = &client.limits.forwarding.trusted;
        let is_proxy = trusted.iter().any(|net| net.contains(&ip.to_canonical()));
        is_proxy || core.is_hop(ip, headers)
    };
    let trace = core
        .tracer
        .begin("ingress", request.headers_mut(), started, is_trusted)?;
    trace.named(request.headers().get(REQUEST_ID));
    let uri = request.uri();
    let authority = uri.authority().map(|host| host.as_str());
    let host = match authority {
        Some(host) => HeaderValue::from_str(host).ok(),
        None => request.headers().get(HOST).cloned(),
    };
    trace.fact(Fact::Asked {
        method: request.method().clone(),
        target: uri.path_and_query().cloned(),
        host,
        version: request.version(),
        scheme: "http",
        client: client.peer,
    });
    Some(trace)
}

/// When it ended.
fn note_admission(trace: &RequestTrace, routed: &Routed, started: Instant) -> Instant {
    trace.routed(routed.settings().trace_share());
    let admitted = Instant::now();
    let step = trace.step_until("admission", started, admitted);
    trace.tell(
        step,
        Fact::Routed {
            routing: routed.routing.clone(),
            route: routed.route,
            service: routed.service,
        },
    );
    admitted
}
