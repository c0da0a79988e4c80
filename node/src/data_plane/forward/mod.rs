//! Forwarding: pick a backend, send, and pass its answer on.
//!
//! A request is sent again only when no byte of it can have reached a backend: no connection came about,
//! or the pooled connection had closed before it took the request.

mod spans;

use std::rc::Rc;
use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use weir_core::proxy;

use super::answer::Reason;
use super::body::{BackendBody, BodyLimits, ResponseBody, grpc_unavailable};
use super::core::Core;
use super::exchange::{Attempt, Exchange};
use super::picking::Affinity;
use super::pool::{Lease, SendError};
use super::prepare::prepare;
use super::request::{Refused, Routed, Upgrade, add_cookie};
use super::routing::{Place, Service};
use super::trace::At;
use super::tunnel;
use super::upload::{UploadBody, UploadProgress, UploadState};
use crate::config::{Ingress, Protocol, Timeouts};

/// Backends that one request tries before it gives up.
const BACKENDS_TRIED_MAX: usize = 3;
/// Pooled connections that may turn out closed before a fresh one is opened.
const STALE_CONNECTIONS_MAX: usize = 2;

/// A request on its way: what every try shares.
struct Forwarding<'a> {
    core: &'a Rc<Core>,
    limits: &'a Ingress,
    routed: &'a Routed,
    timeouts: Timeouts,
    deadline: Option<(Instant, Reason)>,
    exchange: Box<Exchange>,
    affinity: Affinity,
    sticky_cookie: Option<String>,
    /// The try that is under way, in the trace.
    try_span: Option<At>,
    /// Tries before that.
    tries: u8,
}

/// Sends the request to a backend of its service and returns the answer with its body still running.
pub(super) async fn forward(
    core: &Rc<Core>,
    limits: &Ingress,
    routed: &Routed,
    request: Request<Option<Incoming>>,
    mut exchange: Box<Exchange>,
    upgrade: Option<Upgrade>,
) -> Result<Response<ResponseBody>, Refused> {
    let service = routed.service();
    if upgrade.is_some() && service.settings.protocol == Protocol::Http2 {
        return Err(Refused {
            reason: Reason::UpgradeRefused,
            exchange,
        });
    }
    let affinity = Affinity::of(core, routed, &request);
    let timeouts = routed
        .settings()
        .timeouts
        .unwrap_or(service.settings.timeouts);
    let deadline = deadline(
        &timeouts,
        request.headers(),
        exchange.started,
        routed.asked.grpc,
    );
    let request = prepare(routed, request, upgrade.as_ref(), &mut exchange);
    let mut forwarding = Forwarding {
        core,
        limits,
        routed,
        timeouts,
        deadline,
        exchange,
        affinity,
        sticky_cookie: None,
        try_span: None,
        tries: 0,
    };
    let answered = match deadline {
        Some((at, reason)) => timeout_at(at, forwarding.send(request))
            .await
            .unwrap_or(Err(reason)),
        None => forwarding.send(request).await,
    };
    match answered {
        Ok(response) => forwarding.pass_on(response, upgrade),
        Err(reason) => Err(forwarding.refuse(reason)),
    }
}

impl Forwarding<'_> {
    /// Tries backends until one answers or the request must not be sent again.
    async fn send(
        &mut self,
        mut request: Box<Request<UploadBody>>,
    ) -> Result<Response<Incoming>, Reason> {
        let routed = self.routed;
        let service = routed.service();
        let mut tried = Tried::default();
        let mut last_reason = unavailable(service);
        let mut begun = self.exchange.started;
        loop {
            let picked = self
                .affinity
                .pick(self.core, service, tried.as_slice(), begun);
            let Some(picked) = picked else {
                return Err(last_reason);
            };
            self.note_pick(picked.place, picked.why, begun);
            self.sticky_cookie = picked.cookie;
            match self.attempt(picked.place, request, begun).await {
                Ok(response) => return Ok(response),
                Err(Failed::Sent(reason)) => return Err(reason),
                Err(Failed::NotSent(back, reason)) => {
                    request = back;
                    last_reason = reason;
                }
            }
            if tried.push(picked.index).is_err() {
                return Err(last_reason);
            }
            self.core.metrics().replays.increment();
            begun = Instant::now();
        }
    }

    /// One backend: over a pooled connection if there is one, else over a new one.
    async fn attempt(
        &mut self,
        place: Place,
        mut request: Box<Request<UploadBody>>,
        begun: Instant,
    ) -> Result<Response<Incoming>, Failed> {
        let routed = self.routed;
        let service = routed.service();
        let backend = service.backend_at(place);
        let what = (request.method(), begun);
        let attempt = Attempt::begin(self.core, &routed.routing, routed.service, place, what);
        self.exchange.attempt = Some(attempt);
        let pool = self.core.pool(service, backend);
        let mut stale = 0;
        loop {
            let fresh = stale >= STALE_CONNECTIONS_MAX;
            let asked_at = Instant::now();
            let mut lease = match pool.lease(self.timeouts.connect, fresh).await {
                Ok(lease) => lease,
                Err(reason) => {
                    self.note_connect(place, asked_at, Some(reason));
                    self.blame(reason);
                    return Err(Failed::NotSent(request, reason));
                }
            };
            if !lease.reused {
                self.note_connect(place, asked_at, None);
            }
            self.begin_upstream_span(place, &mut request);
            let sent = if lease.reused { begun } else { Instant::now() };
            match self.send_over(&mut lease, request, sent).await {
                Ok(response) => {
                    self.judge(service, &response, begun);
                    self.exchange.lease = Some(lease);
                    return Ok(response);
                }
                Err(Failed::NotSent(back, reason)) => {
                    self.end_upstream_span(None, Some(reason.as_str()));
                    if !lease.reused || fresh {
                        self.blame(reason);
                        return Err(Failed::NotSent(back, reason));
                    }
                    self.core.metrics().replays.increment();
                    stale += 1;
                    request = back;
                }
                Err(sent) => return Err(sent),
            }
        }
    }

    async fn send_over(
        &self,
        lease: &mut Lease,
        request: Box<Request<UploadBody>>,
        started: Instant,
    ) -> Result<Response<Incoming>, Failed> {
        let upload = self.exchange.upload.as_deref();
        let sent = lease.send(request);
        tokio::pin!(sent);
        let mut look_again = started + self.first_wait(upload);
        loop {
            match timeout_at(look_again, &mut sent).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(SendError::NotSent(request))) => {
                    return Err(Failed::NotSent(request, Reason::BackendReset));
                }
                Ok(Err(SendError::Sent(error))) => {
                    return Err(Failed::Sent(reason_of(&error, upload)));
                }
                Err(_) => match self.overdue(upload, started) {
                    Ok(reason) => return Err(Failed::Sent(reason)),
                    Err(due) => look_again = due,
                },
            }
        }
    }

    fn first_wait(&self, upload: Option<&UploadProgress>) -> Duration {
        match upload {
            None => self.timeouts.read,
            Some(_) => self
                .timeouts
                .read
                .min(self.timeouts.send)
                .min(self.limits.body_idle_timeout),
        }
    }

    /// Why the wait for the response head is over, or until when it may go on.
    fn overdue(
        &self,
        upload: Option<&UploadProgress>,
        started: Instant,
    ) -> Result<Reason, Instant> {
        let (since, limit, reason) = match upload.map(|upload| (upload.state(), upload.since())) {
            None => (started, self.timeouts.read, Reason::ReadTimeout),
            Some((UploadState::Done, since)) => (since, self.timeouts.read, Reason::ReadTimeout),
            Some((UploadState::WaitingForBackend, since)) => {
                (since, self.timeouts.send, Reason::SendTimeout)
            }
            // A gRPC stream may rest as long as its deadline allows.
            Some((UploadState::WaitingForClient, since)) if self.routed.asked.grpc => {
                (since, self.timeouts.read, Reason::StreamIdle)
            }
            Some((UploadState::WaitingForClient, since)) => (
                since,
                self.limits.body_idle_timeout,
                Reason::ClientBodyTimeout,
            ),
            Some((UploadState::ClientFailed, _)) => return Ok(Reason::ClientBodyCut),
        };
        let due = since + limit;
        if Instant::now() >= due {
            Ok(reason)
        } else {
            Err(due)
        }
    }

    /// Tells balancer and passive health what the response head means.
    fn judge(&mut self, service: &Service, response: &Response<Incoming>, begun: Instant) {
        let status = response.status();
        let failed = service.settings.failure_statuses.contains(&status.as_u16())
            || (self.routed.asked.grpc && grpc_unavailable(response.headers()));
        if let Some(attempt) = &mut self.exchange.attempt {
            attempt.answered(status);
            if failed {
                attempt.failed(retry_after(response.headers()));
            } else {
                let now = Instant::now();
                attempt.succeeded(now, now - begun);
            }
        }
        let error = (failed || status.is_server_error()).then_some("failure status");
        self.end_upstream_span(Some(status), error);
    }

    fn blame(&mut self, reason: Reason) {
        if let Some(attempt) = &mut self.exchange.attempt {
            attempt.broke(reason);
            if reason.blames_backend() {
                attempt.failed(None);
            }
        }
    }

    /// Whether it was the backend, and not the client, that used up the time of the exchange.
    fn backend_used_time(&self) -> bool {
        let Some(upload) = &self.exchange.upload else {
            return true;
        };
        match upload.state() {
            UploadState::WaitingForBackend => true,
            // A client that leaves its backend little time has used it up itself.
            UploadState::Done => upload.since().elapsed() >= upload.since() - self.exchange.started,
            UploadState::WaitingForClient | UploadState::ClientFailed => false,
        }
    }

    fn refuse(mut self, reason: Reason) -> Refused {
        let backend_used_time = self.backend_used_time();
        match (&mut self.exchange.attempt, reason) {
            (Some(attempt), Reason::TotalTimeout) if backend_used_time => attempt.failed(None),
            (Some(attempt), Reason::DeadlineExceeded) => {
                // The client's impatience is not the backend's fault for sure, but it was that slow.
                let now = Instant::now();
                attempt.succeeded(now, now - self.exchange.started);
            }
            _ => {}
        }
        self.end_upstream_span(None, Some(reason.as_str()));
        Refused {
            reason,
            exchange: self.exchange,
        }
    }

    fn pass_on(
        self,
        mut response: Response<Incoming>,
        upgrade: Option<Upgrade>,
    ) -> Result<Response<ResponseBody>, Refused> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch_protocols(response, upgrade);
        }
        if !has_one_framing(response.headers_mut())
            || proxy::strip_hop_by_hop(response.headers_mut()).is_err()
        {
            return Err(self.refuse(Reason::BackendInvalid));
        }
        if let Some(cookie) = &self.sticky_cookie {
            add_cookie(response.headers_mut(), cookie);
        }
        let mut exchange = self.exchange;
        exchange.answered(response.status());
        trace_by_head(&mut exchange, response.headers());
        let limits = BodyLimits {
            read_timeout: self.timeouts.read,
            // A gRPC stream may rest as long as its deadline allows.
            upload_idle_timeout: (!self.routed.asked.grpc).then_some(self.limits.body_idle_timeout),
            deadline: self.deadline,
            grpc_trailers: self.routed.grpc_trailers,
        };
        Ok(response.map(|from_backend| {
            ResponseBody::backend(BackendBody::new(from_backend, exchange, limits))
        }))
    }

    /// The backend said 101: its connection and the client's become one tunnel.
    fn switch_protocols(
        mut self,
        mut response: Response<Incoming>,
        upgrade: Option<Upgrade>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let (Some(asked), Some(lease)) = (upgrade, self.exchange.lease.take()) else {
            return Err(self.refuse(Reason::BackendInvalid));
        };
        let protocol = response
            .headers()
            .get(UPGRADE)
            .cloned()
            .unwrap_or(asked.protocol);
        let backend = hyper::upgrade::on(&mut response);
        let headers = response.headers_mut();
        if proxy::strip_hop_by_hop(headers).is_err() {
            return Err(self.refuse(Reason::BackendInvalid));
        }
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
        if let Some(cookie) = &self.sticky_cookie {
            add_cookie(headers, cookie);
        }
        self.exchange.answered(response.status());
        lease.leave_to_tunnel().drive_tunnel(tunnel::run(
            asked.client,
            backend,
            self.timeouts.idle,
            self.exchange,
            asked.open,
        ));
        Ok(response.map(|_| ResponseBody::empty()))
    }
}

/// Streams last as long as their readers like: that is not slow, and an event stream has no end to be told at.
fn trace_by_head(exchange: &mut Exchange, headers: &HeaderMap) {
    let media_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |t| t.as_bytes());
    let begins_with = |name: &[u8]| {
        let start = media_type.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    if begins_with(b"text/event-stream") {
        exchange.tell_trace();
    } else if begins_with(b"application/grpc") {
        exchange.judge_by_head();
    }
}

/// Why a try gave no answer.
enum Failed {
    /// No byte reached the backend.
    NotSent(Box<Request<UploadBody>>, Reason),
    /// The backend may have seen the request.
    Sent(Reason),
}

/// Indices that one request tried, without an allocation.
#[derive(Default)]
struct Tried {
    indices: [usize; BACKENDS_TRIED_MAX],
    len: usize,
    count: usize,
}

impl Tried {
    fn as_slice(&self) -> &[usize] {
        &self.indices[..self.len]
    }

    /// Remembers a candidate; `Err` when no further backend may be tried.
    fn push(&mut self, index: Option<usize>) -> Result<(), ()> {
        self.count += 1;
        if let Some(index) = index {
            self.indices[self.len] = index;
            self.len += 1;
        }
        if self.count < BACKENDS_TRIED_MAX {
            Ok(())
        } else {
            Err(())
        }
    }
}

fn unavailable(service: &Service) -> Reason {
    if service.backends.is_empty() {
        Reason::NoBackend
    } else {
        Reason::AllBackendsOut
    }
}

pub(super) fn deadline(
    timeouts: &Timeouts,
    headers: &HeaderMap,
    started: Instant,
    grpc: bool,
) -> Option<(Instant, Reason)> {
    let total = timeouts
        .total
        .map(|total| (started + total, Reason::TotalTimeout));
    let client = grpc
        .then(|| headers.get("grpc-timeout").and_then(proxy::parse_timeout))
        .flatten()
        .and_then(|within| started.checked_add(within))
        .map(|at| (at, Reason::DeadlineExceeded));
    [total, client]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
}

/// The transfer coding wins over a length (RFC 9112 section 6.3); only `chunked` was decoded.
fn has_one_framing(headers: &mut HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return true;
    };
    let only_chunked =
        codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    headers.remove(CONTENT_LENGTH);
    only_chunked
}

/// How long the backend asks to be left alone, as far as it is in seconds (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn reason_of(error: &hyper::Error, upload: Option<&UploadProgress>) -> Reason {
    if upload.is_some_and(|upload| upload.state() == UploadState::ClientFailed) {
        Reason::ClientBodyCut
    } else if error.is_parse() || error.is_parse_too_large() {
        Reason::BackendInvalid
    } else {
        Reason::BackendReset
    }
}
