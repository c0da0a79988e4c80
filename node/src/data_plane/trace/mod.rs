//! The spans of requests, held on their core until they end and told only if they are worth it.
//!
//! Whether a request fails or is slow is known at its end. So every request gathers its steps as it goes, as facts that
//! cost no allocation: they are put into words only when the request is told. What holds them is used again.
//!
//! A request and what is fetched for it are one trail; it is settled when the last of them has ended.

mod facts;
mod trail;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;
use weir_core::trace::{
    Sampler, Sampling, TRACEPARENT, TRACESTATE, TailBudget, TraceContext, Worth, parent_of,
    sanitise,
};

pub(super) use self::facts::Fact;
pub(super) use self::trail::At;
use self::trail::Trail;
use super::answer::Reason;
use super::routing::LocalRouting;
use crate::ports::clock::WallClock;
use crate::snapshot::Reader;
use crate::telemetry::recent::Batch;
use crate::telemetry::spans::{SpanKind, Tracer};
use crate::telemetry::wire::SpanWriter;

/// How a client names a request; the node's own answers tell it, or the trace's id.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Trails that one core holds at a time; requests beyond are told only if they fail before they begin.
const HELD_MAX: usize = 4_096;
/// Requests of a core that are sampled within a second for no reason but that a caller says so whom nobody vouches for.
const FORCED_PER_SECOND_MAX: u32 = 1_000;
/// Trails that are kept to be used again.
const SPARE_MAX: usize = 256;
/// Longer names of requests are not taken.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What a core traces with.
#[derive(Debug)]
pub(super) struct CoreTracer {
    index: usize,
    tracer: Tracer,
    sampling: RefCell<Reader<Sampling>>,
    rng: RefCell<fastrand::Rng>,
    spare: RefCell<Vec<Rc<Trail>>>,
    writer: RefCell<SpanWriter>,
    held: Cell<usize>,
    budget: Cell<TailBudget>,
    forced: Cell<TailBudget>,
    began: Instant,
    clock: WallClock,
}

impl CoreTracer {
    pub(super) fn new(index: usize, tracer: &Tracer, clock: WallClock, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            index,
            sampling: RefCell::new(tracer.sampling_reader()),
            tracer: tracer.clone(),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            spare: RefCell::default(),
            writer: RefCell::default(),
            held: Cell::new(0),
            budget: Cell::default(),
            forced: Cell::default(),
            began: Instant::now(),
            clock,
        })
    }

    /// Begins the trail of a request, under the caller's span if it says one; takes from the headers what must not be
    /// passed on. `None` when the request will not be told, whatever becomes of it. A caller that `is_trusted` may have
    /// any number of requests sampled.
    pub(super) fn begin(
        self: &Rc<Self>,
        name: &'static str,
        headers: &mut HeaderMap,
        started: Instant,
        is_trusted: impl FnOnce(&HeaderMap) -> bool,
    ) -> Option<RequestTrace> {
        if !self.tracer.is_on() {
            return None;
        }
        let parent = self.parent(headers, is_trusted);
        let sampling = **self.sampling.borrow_mut().load();
        let mut rng = self.rng.borrow_mut();
        let sampled = sampling.head.decide(parent.as_ref(), &mut rng);
        if !sampled && !sampling.looks_back() {
            return None;
        }
        if self.held.get() >= HELD_MAX {
            self.tracer.counts().not_held();
            return None;
        }
        let context = match &parent {
            Some(parent) => TraceContext {
                sampled,
                ..parent.child(&mut rng)
            },
            None => TraceContext::root(&mut rng, sampled),
        };
        let spare = self.spare.borrow_mut().pop();
        let trail = spare.unwrap_or_default();
        let parent = parent.map(|parent| parent.parent_id);
        trail
            .state()
            .begin((name, SpanKind::Server), context, parent, started);
        self.held.set(self.held.get() + 1);
        Some(RequestTrace {
            home: Rc::clone(self),
            trail,
            of: At::WHOLE,
        })
    }

    fn parent(
        &self,
        headers: &mut HeaderMap,
        is_trusted: impl FnOnce(&HeaderMap) -> bool,
    ) -> Option<TraceContext> {
        if !headers.contains_key(TRACEPARENT) && !headers.contains_key(TRACESTATE) {
            return None;
        }
        let mut parent = parent_of(headers);
        if let Some(parent) = parent.as_mut().filter(|parent| parent.sampled)
            && !is_trusted(headers)
            && !self.within(&self.forced, FORCED_PER_SECOND_MAX)
        {
            parent.sampled = false;
            headers.insert(TRACEPARENT, parent.header_value());
        }
        sanitise(headers, parent.as_ref());
        parent
    }

    /// The last part of a trail has ended: it is told, or forgotten.
    fn settle(&self, trail: &Rc<Trail>) {
        let mut state = trail.state();
        let sampling = **self.sampling.borrow_mut().load();
        if let Some(worth) = sampling.worth(state.ended())
            && self.may_tell(worth, sampling.tail_per_second_max)
        {
            if !state.exemplify(self.index, self.clock.unix_ms_now()) {
                self.tracer.counts().not_kept();
            }
            let mut writer = self.writer.borrow_mut();
            let request_id = state.tell(worth, &self.clock, &mut writer);
            let batch = Batch::new(writer.finish(), request_id);
            self.tracer.keep(self.index, batch);
        }
        state.clear();
        drop(state);
        self.held.set(self.held.get().saturating_sub(1));
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(Rc::clone(trail));
        }
    }

    fn may_tell(&self, worth: Worth, per_second_max: u32) -> bool {
        worth == Worth::Sampled || self.within(&self.budget, per_second_max)
    }

    /// Takes one of a budget; counts when there is none.
    fn within(&self, budget: &Cell<TailBudget>, per_second_max: u32) -> bool {
        let mut left = budget.get();
        let may = left.take(self.began.elapsed().as_secs(), per_second_max);
        budget.set(left);
        if !may {
            self.tracer.counts().over_budget();
        }
        may
    }
}

/// A request, or a part of it that ends by itself, on its trail.
#[derive(Debug)]
pub(super) struct RequestTrace {
    home: Rc<CoreTracer>,
    trail: Rc<Trail>,
    of: At,
}

impl Clone for RequestTrace {
    fn clone(&self) -> Self {
        Self {
            home: Rc::clone(&self.home),
            trail: Rc::clone(&self.trail),
            of: self.of,
        }
    }
}

impl RequestTrace {
    /// The trace's id.
    pub(super) fn id(&self) -> u128 {
        u128::from_be_bytes(self.context_of(self.of).trace_id)
    }

    /// The client's name for the request, if it is one; else the trace's id.
    pub(super) fn request_id(&self) -> HeaderValue {
        self.trail.state().request_id()
    }

    /// Takes the client's name for the request.
    pub(super) fn named(&self, id: Option<&HeaderValue>) {
        let is_sound = |id: &&HeaderValue| {
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
                && id.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        if let Some(id) = id.filter(is_sound) {
            self.trail.state().name(id.clone());
        }
    }

    /// The route is known, which may have a share of its own; a caller's decision stands.
    pub(super) fn routed(&self, share: Option<Sampler>) {
        let mut state = self.trail.state();
        if let Some(share) = share.filter(|_| !state.has_parent()) {
            let sampled = share.decide(None, &mut self.home.rng.borrow_mut());
            state.sample(sampled);
        }
    }

    /// Adds to what is known of this part.
    #[inline]
    pub(super) fn fact(&self, fact: Fact) {
        self.trail.state().fact(self.of, fact);
    }

    /// A step that began at `start` and ends now.
    pub(super) fn step(&self, name: &'static str, start: Instant) -> At {
        self.step_until(name, start, Instant::now())
    }

    /// A step that began at `start` and ended at `end`.
    pub(super) fn step_until(&self, name: &'static str, start: Instant, end: Instant) -> At {
        self.begin_step((name, SpanKind::Internal), start, Some(end))
    }

    /// A step that begins at `start`; [`Self::end`] ends it.
    pub(super) fn open(&self, name: &'static str, kind: SpanKind, start: Instant) -> At {
        self.begin_step((name, kind), start, None)
    }

    fn begin_step(
        &self,
        what: (&'static str, SpanKind),
        start: Instant,
        end: Option<Instant>,
    ) -> At {
        let mut rng = self.home.rng.borrow_mut();
        self.trail
            .state()
            .step(what, self.of, (start, end), &mut rng)
    }

    /// Adds to what is known of a step.
    #[inline]
    pub(super) fn tell(&self, step: At, fact: Fact) {
        self.trail.state().fact(step, fact);
    }

    /// What whoever is asked in that step is told of the trace.
    pub(super) fn context_of(&self, step: At) -> TraceContext {
        self.trail.state().context_of(step)
    }

    /// A step ends now, with `error` if it failed.
    pub(super) fn end(&self, step: At, error: Option<&'static str>) {
        self.trail.state().end(step, Instant::now(), error);
    }

    /// A part that ends by itself, and which this one need not outlive.
    pub(super) fn branch(&self, name: &'static str, start: Instant) -> Self {
        let of = self.open(name, SpanKind::Internal, start);
        Self {
            home: Rc::clone(&self.home),
            trail: Rc::clone(&self.trail),
            of,
        }
    }

    /// This part has ended, and nothing is to be said of it.
    pub(super) fn over(&self) {
        self.end(self.of, None);
    }

    /// The service that took the request and counts it.
    pub(super) fn of_service(&self, service: Option<(LocalRouting, usize)>) {
        self.trail.state().of_service(service);
    }

    /// Whether the request was slow is decided by now; what follows lasts as long as its reader likes.
    pub(super) fn judge_by_head(&self) {
        self.trail.state().judge_by_head(Instant::now());
    }

    /// This part has ended so.
    pub(super) fn ended(
        &self,
        (status, reason): (Option<StatusCode>, Option<Reason>),
        (end, took): (Instant, Duration),
    ) {
        self.trail
            .state()
            .ended_so(self.of, (status, reason), (end, took));
    }
}

impl Drop for RequestTrace {
    fn drop(&mut self) {
        if Rc::strong_count(&self.trail) == 1 {
            self.home.settle(&self.trail);
        }
    }
}

#[cfg(test)]
mod tests;
