//! What one request did, step by step, until it is told or forgotten.

use std::cell::{RefCell, RefMut};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;
use weir_core::trace::{Ended, TraceContext, Worth};

use super::super::answer::Reason;
use super::super::routing::LocalRouting;
use super::facts::Fact;
use crate::ports::clock::WallClock;
use crate::telemetry::exemplars::Exemplar;
use crate::telemetry::spans::SpanKind;
use crate::telemetry::wire::{SpanHead, SpanWriter};

/// Steps of one request that are told; more are not.
const STEPS_MAX: usize = 48;

/// Which step of a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct At(u16);

impl At {
    /// The request itself.
    pub(super) const WHOLE: Self = Self(0);
    /// One that is not told.
    const NOWHERE: Self = Self(u16::MAX);

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What is known of a request so far; shared by what is done for it, all on one core.
#[derive(Debug, Default)]
pub(super) struct Trail(RefCell<State>);

impl Trail {
    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }
}

#[derive(Debug)]
struct Step {
    name: &'static str,
    kind: SpanKind,
    id: [u8; 8],
    under: At,
    start: Instant,
    end: Option<Instant>,
    error: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    trace_id: [u8; 16],
    parent: Option<[u8; 8]>,
    sampled: bool,
    request_id: Option<HeaderValue>,
    steps: Vec<Step>,
    facts: Vec<(At, Fact)>,
    failed: bool,
    took: Duration,
    /// From the request's start to the head of an answer whose end says nothing of how fast it was.
    head_took: Option<Duration>,
    service: Option<(LocalRouting, usize)>,
}

impl State {
    pub(super) fn begin(
        &mut self,
        (name, kind): (&'static str, SpanKind),
        context: TraceContext,
        parent: Option<[u8; 8]>,
        start: Instant,
    ) {
        self.trace_id = context.trace_id;
        self.parent = parent;
        self.sampled = context.sampled;
        self.steps.push(Step {
            name,
            kind,
            id: context.parent_id,
            under: At::NOWHERE,
            start,
            end: None,
            error: None,
        });
    }

    pub(super) fn clear(&mut self) {
        self.steps.clear();
        self.facts.clear();
        self.request_id = None;
        self.failed = false;
        self.took = Duration::ZERO;
        self.head_took = None;
        self.service = None;
    }

    /// The request is as slow as it is now: the rest of its answer lasts as long as its reader likes.
    pub(super) fn judge_by_head(&mut self, now: Instant) {
        let start = self.steps.first().map(|whole| whole.start);
        self.head_took = start.map(|start| now.saturating_duration_since(start));
    }

    /// The service that took the request.
    pub(super) fn of_service(&mut self, service: Option<(LocalRouting, usize)>) {
        self.service = service;
    }

    /// The request stands for its bucket of latency: it is told, and its service has counted it. False if the bucket
    /// could not take it.
    pub(super) fn exemplify(&self, core: usize, at_unix_ms: u64) -> bool {
        let (Some((routing, at)), false) = (&self.service, self.took.is_zero()) else {
            return true;
        };
        let took_us = self.took.as_micros();
        routing.services[*at]
            .metrics
            .core(core)
            .exemplars
            .note(Exemplar {
                trace_id: u128::from_be_bytes(self.trace_id),
                took_us: u64::try_from(took_us).unwrap_or(u64::MAX),
                at_unix_ms,
            })
    }

    pub(super) fn has_parent(&self) -> bool {
        self.parent.is_some()
    }

    pub(super) fn sample(&mut self, sampled: bool) {
        self.sampled = sampled;
    }

    pub(super) fn name(&mut self, id: HeaderValue) {
        self.request_id = Some(id);
    }

    pub(super) fn request_id(&self) -> HeaderValue {
        let of_trace = || {
            let id = u128::from_be_bytes(self.trace_id);
            HeaderValue::from_str(&format!("{id:032x}"))
                .unwrap_or(const { HeaderValue::from_static("") })
        };
        self.request_id.clone().unwrap_or_else(of_trace)
    }

    pub(super) fn context_of(&self, at: At) -> TraceContext {
        let step = self.steps.get(at.index()).or(self.steps.first());
        TraceContext {
            trace_id: self.trace_id,
            parent_id: step.map(|step| step.id).unwrap_or_default(),
            sampled: self.sampled,
        }
    }

    pub(super) fn step(
        &mut self,
        (name, kind): (&'static str, SpanKind),
        under: At,
        (start, end): (Instant, Option<Instant>),
        rng: &mut fastrand::Rng,
    ) -> At {
        let at = self.steps.len();
        if at == STEPS_MAX {
            return At::NOWHERE;
        }
        self.steps.push(Step {
            name,
            kind,
            id: rng.u64(1..).to_be_bytes(),
            under,
            start,
            end,
            error: None,
        });
        u16::try_from(at).map_or(At::NOWHERE, At)
    }

    #[inline]
    pub(super) fn fact(&mut self, at: At, fact: Fact) {
        if at != At::NOWHERE {
            self.facts.push((at, fact));
        }
    }

    pub(super) fn end(&mut self, at: At, end: Instant, error: Option<&'static str>) {
        if let Some(step) = self.steps.get_mut(at.index()) {
            step.end = Some(end);
            step.error = error;
        }
    }

    /// A part is over: the request itself, or what was done for it.
    pub(super) fn ended_so(
        &mut self,
        at: At,
        (status, reason): (Option<StatusCode>, Option<Reason>),
        (end, took): (Instant, Duration),
    ) {
        let failed = has_failed(status, reason);
        if let Some(status) = status {
            self.fact(at, Fact::Status(status));
        }
        if let Some(reason) = reason {
            self.fact(at, Fact::Text("weir.reason", reason.as_str()));
        }
        if failed {
            let error = Fact::Failure(status, reason);
            self.fact(at, error);
        }
        let error = failed.then(|| reason.map_or("failure status", Reason::as_str));
        self.end(at, end, error);
        if at == At::WHOLE {
            self.failed = failed;
            // A tunnel is as long as its user likes.
            let is_tunnel = status == Some(StatusCode::SWITCHING_PROTOCOLS);
            self.took = if is_tunnel { Duration::ZERO } else { took };
        }
    }

    pub(super) fn ended(&self) -> Ended {
        Ended {
            sampled: self.sampled,
            failed: self.failed,
            took: self.head_took.unwrap_or(self.took),
        }
    }

    /// Writes the spans, the request's own last; the client's name for it.
    pub(super) fn tell(
        &mut self,
        worth: Worth,
        clock: &WallClock,
        spans: &mut SpanWriter,
    ) -> Option<String> {
        self.fact(At::WHOLE, Fact::Text("weir.trace.kept", worth.as_str()));
        let last = Instant::now();
        for (at, step) in self.steps.iter().enumerate().rev() {
            let head = self.head(step, clock, last);
            let facts = self.facts.iter().filter(|(of, _)| of.index() == at);
            spans.span(&head, |attributes| {
                facts.for_each(|(_, fact)| fact.tell(attributes));
            });
        }
        let request_id = self.request_id.as_ref().and_then(|id| id.to_str().ok());
        request_id.map(str::to_owned)
    }

    fn head(&self, step: &Step, clock: &WallClock, last: Instant) -> SpanHead<'static> {
        let parent = match step.under {
            At::NOWHERE => self.parent,
            under => Some(self.context_of(under).parent_id),
        };
        SpanHead {
            trace_id: self.trace_id,
            id: step.id,
            parent,
            name: step.name,
            kind: step.kind,
            start_unix_ns: clock.unix_ns_at(step.start),
            end_unix_ns: clock.unix_ns_at(step.end.unwrap_or(last)),
            error: step.error,
        }
    }
}

/// The node or a backend failed it. A client that takes nothing but what is stored got what it asked for.
fn has_failed(status: Option<StatusCode>, reason: Option<Reason>) -> bool {
    let is_own = |reason: Reason| reason.status().is_server_error();
    match reason {
        Some(Reason::NotCached) => false,
        Some(reason) => is_own(reason) || status.is_some_and(|status| status.is_server_error()),
        None => status.is_some_and(|status| status.is_server_error()),
    }
}
