//! One request's accounts: whatever way it ends, each is settled once, when its [`Exchange`] is dropped.

use std::rc::Rc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::Instant;
use weir_core::balance::{Outcome, failure_penalty};

use super::activity::{Running, Watching};
use super::answer::Reason;
use super::core::Core;
use super::logged::{Ended, Logged};
use super::pool::Lease;
use super::routing::{Backend, LocalRouting, Place};
use super::stream_watch::StreamWatch;
use super::trace::{REQUEST_ID, RequestTrace};
use super::upload::{UploadProgress, UploadState};
use crate::telemetry::http_client;
use crate::telemetry::http_server::KnownMethod;

/// One try on one backend, counted on it until dropped.
pub(super) struct Attempt {
    core: Rc<Core>,
    routing: LocalRouting,
    service: usize,
    place: Place,
    failed: bool,
    completed: bool,
    method: KnownMethod,
    begun: Instant,
    status: Option<StatusCode>,
    reason: Option<Reason>,
    is_counted: bool,
}

impl Attempt {
    pub(super) fn begin(
        core: &Rc<Core>,
        routing: &LocalRouting,
        service: usize,
        place: Place,
        (method, begun): (&Method, Instant),
    ) -> Self {
        let attempt = Self {
            core: Rc::clone(core),
            routing: routing.clone(),
            service,
            place,
            failed: false,
            completed: false,
            method: KnownMethod::from(method),
            begun,
            status: None,
            reason: None,
            is_counted: false,
        };
        attempt.backend().load.started(core.index);
        attempt
    }

    fn backend(&self) -> &Backend {
        self.routing.services[self.service].backend_at(self.place)
    }

    fn learned(&self, now: Instant, outcome: Outcome) {
        let load = &self.backend().load;
        load.learned(self.core.index, now.into_std(), outcome);
    }

    /// The backend's answer began.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Why nothing comes of it.
    pub(super) fn broke(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
    }

    /// Counts it as a request to the backend, once.
    fn count(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.is_counted, true) {
            let outcome = http_client::Outcome::of(self.status, self.reason, self.completed);
            let took = now.saturating_duration_since(self.begun);
            let client = &self.backend().client;
            client.ended(self.core.index, self.method, outcome, took);
        }
    }

    /// The backend answered at `now`, this long after it was picked.
    pub(super) fn succeeded(&self, now: Instant, latency: Duration) {
        self.learned(now, Outcome::Success { latency });
    }

    /// The backend failed; `retry_after` is how long it asked to be left alone. Counts once.
    pub(super) fn failed(&mut self, retry_after: Option<Duration>) {
        if !std::mem::replace(&mut self.failed, true) {
            let penalty = failure_penalty(retry_after);
            self.learned(Instant::now(), Outcome::Failure { penalty });
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_counted {
            self.count(Instant::now());
        }
        let well = self.completed && !self.failed;
        self.backend().load.finished(self.core.index, well);
    }
}

/// A request from its head to the last byte of its response.
pub(super) struct Exchange {
    core: Rc<Core>,
    /// On the client's connection; absent for what the cache fetches, which is no client's request.
    running: Option<Running>,
    /// Of a client's request.
    method: Option<KnownMethod>,
    pub(super) started: Instant,
    /// When it was found out where it goes, if anybody wants to know.
    pub(super) admitted: Option<Instant>,
    service: Option<(LocalRouting, usize)>,
    /// Of the same routing; nothing without it.
    route: usize,
    status: Option<StatusCode>,
    reason: Option<Reason>,
    complete: bool,
    /// The answer began before the upload had ended.
    answered_early: bool,
    ended: Option<Instant>,
    pub(super) attempt: Option<Attempt>,
    pub(super) lease: Option<Lease>,
    pub(super) upload: Option<Rc<UploadProgress>>,
    /// Watches an HTTP/2 client; HTTP/1 clients are watched by their connection.
    pub(super) watch: Option<Rc<StreamWatch>>,
    response_bytes: u64,
    pub(super) trace: Option<RequestTrace>,
    /// Of a trace that was told before the end.
    told_as: u128,
    /// What the access log tells, if there is one.
    pub(super) logged: Option<Box<Logged>>,
    /// What became of it in the cache.
    pub(super) cache: &'static str,
    slow: Option<SlowRequest>,
}

/// What the slow-request log tells.
struct SlowRequest {
    threshold: Duration,
    target: PathAndQuery,
}

impl Exchange {
    /// Boxed, because it travels through every step of the request.
    pub(super) fn begin(
        core: &Rc<Core>,
        running: Running,
        method: &Method,
        started: Instant,
    ) -> Box<Self> {
        core.metrics().requests_in_flight.increment();
        let method = KnownMethod::from(method);
        core.metrics().http.began(method);
        Self::new(core, Some((running, method)), started)
    }

    /// A fetch of the cache: accounts of backends only.
    pub(super) fn begin_for_cache(core: &Rc<Core>, started: Instant) -> Box<Self> {
        Self::new(core, None, started)
    }

    fn new(
        core: &Rc<Core>,
        of_client: Option<(Running, KnownMethod)>,
        started: Instant,
    ) -> Box<Self> {
        let (running, method) = of_client.unzip();
        Box::new(Self {
            core: Rc::clone(core),
            running,
            method,
            started,
            admitted: None,
            service: None,
            route: 0,
            status: None,
            reason: None,
            complete: false,
            answered_early: false,
            ended: None,
            attempt: None,
            lease: None,
            upload: None,
            watch: None,
            response_bytes: 0,
            trace: None,
            told_as: 0,
            logged: None,
            cache: "",
            slow: None,
        })
    }

    /// Has the HTTP/1 client watched for leaving until what is returned is dropped. HTTP/2 is read all the time, and
    /// what the cache fetches has no client.
    pub(super) fn watch_client(&self) -> Option<Watching> {
        let running = self.running.as_ref().filter(|_| self.watch.is_none());
        running.map(Running::watch_client)
    }

    pub(super) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// Tells the client by which id the request's trace is found.
    pub(super) fn tell_id(&self, headers: &mut HeaderMap) {
        if let Some(trace) = &self.trace {
            headers.insert(REQUEST_ID, trace.request_id());
        }
    }

    /// Has the request logged if it takes longer than `threshold`.
    pub(super) fn watch_slowness(&mut self, threshold: Option<Duration>, target: &Uri) {
        self.slow = threshold
            .zip(target.path_and_query().cloned())
            .map(|(threshold, target)| SlowRequest { threshold, target });
    }

    pub(super) fn routed_to(&mut self, routing: &LocalRouting, route: usize, service: usize) {
        self.route = route;
        self.service = Some((routing.clone(), service));
    }

    /// The response head is on its way to the client.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.answered_early = self.has_unread_upload();
    }

    /// Whether the request was slow is known by now: what follows lasts as long as its reader likes.
    pub(super) fn judge_by_head(&self) {
        if let Some(trace) = &self.trace {
            trace.judge_by_head();
        }
    }

    /// Tells the trace at the head of an answer that may never end, so that it holds no other's place.
    pub(super) fn tell_trace(&mut self) {
        if let Some(trace) = self.trace.take() {
            trace.judge_by_head();
            self.told_as = trace.id();
            let now = Instant::now();
            let took = now.saturating_duration_since(self.started);
            trace.ended((self.status, self.reason), (now, took));
        }
    }

    /// 0 without a trace.
    pub(super) fn trace_id(&self) -> u128 {
        self.trace.as_ref().map_or(self.told_as, RequestTrace::id)
    }

    pub(super) fn received(&mut self, response_bytes: usize) {
        self.response_bytes += response_bytes as u64;
    }

    /// The node answers itself or cuts the response, for `reason`.
    pub(super) fn failed(&mut self, reason: Reason) {
        self.reason = Some(reason);
        if self.status.is_none() {
            self.status = Some(reason.status());
            self.complete = true;
        }
        if self.running.is_some() {
            self.core.metrics().reasons[reason as usize].increment();
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.broke(reason);
            if reason.blames_backend() {
                attempt.failed(None);
            }
        }
    }

    /// Whether some of the request's body has not been taken from the client.
    pub(super) fn has_unread_upload(&self) -> bool {
        self.upload
            .as_ref()
            .is_some_and(|upload| upload.state() != UploadState::Done)
    }

    /// The response's last byte was handed on: its connection may serve again.
    pub(super) fn completed(&mut self) {
        self.complete = true;
        let now = Instant::now();
        self.ended = Some(now);
        if let Some(attempt) = &mut self.attempt {
            attempt.completed = true;
        }
        if let Some(lease) = self.lease.take() {
            match &self.upload {
                // What was handed over before the answer began may still wait to be sent.
                Some(upload) if self.answered_early || upload.state() != UploadState::Done => {
                    lease.finish_upload(upload);
                }
                _ => lease.release(now),
            }
        }
    }

    fn write_down(&mut self, took: Duration) {
        let Some(logged) = self.logged.take() else {
            return;
        };
        let service = self.service.as_ref();
        let service = service.map(|(routing, at)| routing.services[*at].settings.name.as_str());
        logged.write(
            &self.core,
            &Ended {
                status: self.status.map_or(0, |status| status.as_u16()),
                bytes_sent: self.response_bytes,
                bytes_received: self.upload.as_ref().map_or(0, |upload| upload.bytes()),
                took,
                service: service.unwrap_or_default(),
                backend: self
                    .attempt
                    .as_ref()
                    .map_or("", |attempt| attempt.backend().id.as_str()),
                cache: self.cache,
                reason: self.reason.map_or("", Reason::as_str),
                trace_id: self.trace_id(),
            },
        );
    }

    fn settle_service(&self, took: Duration) {
        let Some((routing, service)) = &self.service else {
            return;
        };
        let metrics = routing.services[*service].metrics.core(self.core.index);
        if let Some(status) = self.status {
            metrics.classes[usize::from(status.as_u16() / 100).min(5)].increment();
            metrics.latency.observe(took);
        }
        metrics.response_bytes.add(self.response_bytes);
        if let Some(upload) = &self.upload {
            metrics.request_bytes.add(upload.bytes());
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let cut = self.watch.as_ref().and_then(|watch| watch.cut());
        // Of a short answer the backend's part is complete even if the client took none of it.
        if let Some(reason) = cut.filter(|_| self.reason.is_none()) {
            self.failed(reason);
        }
        // One look at the clock for all accounts.
        let now = self.ended.unwrap_or_else(Instant::now);
        let took = now.saturating_duration_since(self.started);
        if let Some(running) = &mut self.running {
            running.end(now);
            let metrics = self.core.metrics();
            metrics.requests_in_flight.decrement();
            if let Some(method) = self.method {
                let route = self.service.as_ref().and_then(|(routing, _)| {
                    let route = routing.route_metrics.get(self.route)?.as_deref()?;
                    Some((route, self.core.index))
                });
                metrics.http.ended(method, self.status, took, route);
            }
            if !self.complete && self.reason.is_none() {
                metrics.requests_abandoned.increment();
            }
        }
        self.settle_service(took);
        if let Some(slow) = &self.slow
            && took > slow.threshold
            && let Some(left_out) = self.core.may_tell_slow(now)
        {
            let status = self.status.map_or(0, |status| status.as_u16());
            let trace_id = match self.trace_id() {
                0 => String::new(),
                id => format!("{id:032x}"),
            };
            let path = slow.target.path();
            let left_out = (left_out > 0).then_some(left_out);
            tracing::warn!(path, status, ?took, trace_id, left_out, "slow request");
        }
        self.write_down(took);
        if let Some(attempt) = &mut self.attempt {
            attempt.count(now);
        }
        if let Some(trace) = self.trace.take() {
            if self.running.is_some() {
                trace.of_service(self.service.take());
            }
            trace.ended((self.status, self.reason), (now, took));
        }
    }
}
