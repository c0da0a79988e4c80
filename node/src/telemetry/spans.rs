//! Traces: the sampling decision, the spans of a request, and the bounded queue to the exporter.
//!
//! The decision comes first: a request that is not sampled costs one branch and allocates nothing. A
//! sampled one gathers its spans itself and hands them over when it ends; a full queue drops and counts.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Instant;
use weir_core::trace::{Sampler, TraceContext};

use crate::data_plane::answer::Reason;
use crate::snapshot::Snapshot;

/// The W3C trace context header.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Batches of spans that may wait for the exporter.
pub const BATCHES_WAITING_MAX: usize = 8_192;

/// What a span stands for, as OTLP knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A step inside the node.
    Internal,
    /// A request that the node received.
    Server,
    /// A request that the node sent.
    Client,
    /// Work that the node wants done, by whomever.
    Producer,
    /// Work that the node took.
    Consumer,
}

/// A named value of a span.
pub type Attribute = (&'static str, AttributeValue);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// One finished span.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The span above it.
    pub parent: Option<[u8; 8]>,
    /// What was done.
    pub name: &'static str,
    /// Its kind.
    pub kind: SpanKind,
    /// When it began.
    pub start: Instant,
    /// When it ended.
    pub end: Instant,
    /// What is worth knowing of it.
    pub attributes: Vec<Attribute>,
    /// Why it failed, if it did.
    pub error: Option<Cow<'static, str>>,
}

/// Decides what is sampled and takes finished spans.
#[derive(Clone, Debug)]
pub struct Tracer {
    queue: Queue,
    sampler: Snapshot<Sampler>,
    counts: Arc<SpanCounts>,
}

/// The way to the exporter, which ends when no tracer keeps it open any more.
#[derive(Clone, Debug)]
enum Queue {
    Off,
    KeptOpen(mpsc::Sender<Vec<Span>>),
    Used(mpsc::WeakSender<Vec<Span>>),
}

impl Queue {
    /// Hands spans over; false when they cannot be taken.
    fn take(&self, spans: Vec<Span>) -> bool {
        match self {
            Self::Off => false,
            Self::KeptOpen(queue) => queue.try_send(spans).is_ok(),
            Self::Used(queue) => {
                let queue = queue.upgrade();
                queue.is_some_and(|queue| queue.try_send(spans).is_ok())
            }
        }
    }
}

/// Made = sent + dropped + still waiting.
#[derive(Debug, Default)]
pub struct SpanCounts {
    /// Spans that were finished.
    pub made: AtomicU64,
    /// Spans that the receiver took.
    pub sent: AtomicU64,
    /// Spans lost to a full queue or a receiver that failed.
    pub dropped: AtomicU64,
}

impl Tracer {
    /// A tracer and the queue that its exporter reads.
    pub fn new(sampler: Sampler) -> (Self, mpsc::Receiver<Vec<Span>>) {
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
        let tracer = Self {
            queue: Queue::KeptOpen(sender),
            sampler: Snapshot::new(sampler),
            counts: Arc::default(),
        };
        (tracer, receiver)
    }

    /// A tracer that samples nothing.
    pub fn off() -> Self {
        let never = Sampler::new(0.0).expect("zero is a ratio");
        Self {
            queue: Queue::Off,
            sampler: Snapshot::new(never),
            counts: Arc::default(),
        }
    }

    /// The same, for a part that may outlive the node: it does not keep the exporter waiting for more.
    #[must_use]
    pub fn weak(&self) -> Self {
        let queue = match &self.queue {
            Queue::KeptOpen(queue) => Queue::Used(queue.downgrade()),
            other => other.clone(),
        };
        Self {
            queue,
            ..self.clone()
        }
    }

    /// Changes the sampling of traces that start from now on.
    pub fn set_sampler(&self, sampler: Sampler) {
        self.sampler.publish(sampler);
    }

    /// What became of the spans.
    pub fn counts(&self) -> &Arc<SpanCounts> {
        &self.counts
    }

    /// False when nothing is ever sampled.
    pub fn is_on(&self) -> bool {
        !matches!(self.queue, Queue::Off)
    }

    /// Begins a span under the caller's, when its trace is sampled.
    pub fn sample(&self, headers: &HeaderMap, rng: &mut fastrand::Rng) -> Option<Started> {
        if !self.is_on() {
            return None;
        }
        let parent = parent_of(headers);
        let is_sampled = self.sampler.load().decide(parent.as_ref(), rng);
        is_sampled.then(|| started(parent, true, rng))
    }

    /// Begins a span under this one, or a trace, sampled or not: its context tells. `None` when nothing ever is.
    pub fn begin(&self, parent: Option<TraceContext>, rng: &mut fastrand::Rng) -> Option<Started> {
        self.is_on().then(|| {
            let is_sampled = self.sampler.load().decide(parent.as_ref(), rng);
            started(parent, is_sampled, rng)
        })
    }

    /// Hands finished spans over; drops and counts them when too many wait.
    pub fn record(&self, spans: Vec<Span>) {
        if !self.is_on() {
            return;
        }
        let count = spans.len() as u64;
        self.counts.made.fetch_add(count, Ordering::Relaxed);
        if !self.queue.take(spans) {
            self.counts.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The span of a message from its mailbox to its handler's end, under the span that sent it.
    pub fn record_hop(
        &self,
        name: &'static str,
        sender: Option<TraceContext>,
        sent_at: Instant,
        taken_at: Instant,
    ) {
        let Some(sender) = sender.filter(|sender| sender.sampled) else {
            return;
        };
        let wait_us = (taken_at - sent_at).as_micros();
        self.record(vec![Span {
            context: sender.child(&mut fastrand::Rng::with_seed(span_seed(&sender, sent_at))),
            parent: Some(sender.parent_id),
            name,
            kind: SpanKind::Internal,
            start: sent_at,
            end: Instant::now(),
            attributes: vec![(
                "mailbox.wait_us",
                i64::try_from(wait_us).unwrap_or(i64::MAX).into(),
            )],
            error: None,
        }]);
    }
}

/// A sampled span that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The span above it.
    pub parent: Option<[u8; 8]>,
}

fn started(parent: Option<TraceContext>, is_sampled: bool, rng: &mut fastrand::Rng) -> Started {
    Started {
        context: match &parent {
            Some(parent) => parent.child(rng),
            None => TraceContext::root(rng, is_sampled),
        },
        parent: parent.map(|parent| parent.parent_id),
    }
}

/// The span that a caller says a request belongs to.
pub fn parent_of(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get(TRACEPARENT).and_then(TraceContext::parse)
}

/// An id for a span whose maker has no generator at hand: unique by its parent and its time.
fn span_seed(parent: &TraceContext, at: Instant) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    parent.hash(&mut hasher);
    at.hash(&mut hasher);
    hasher.finish()
}

/// The spans of one sampled request: the whole, its admission, and each pick and try of a backend.
#[derive(Debug)]
pub struct RequestTrace {
    whole: Span,
    steps: Vec<Span>,
}

impl RequestTrace {
    /// Begins the span of the whole request.
    pub fn begin(started: Started, start: Instant, attributes: Vec<Attribute>) -> Box<Self> {
        let whole = Span {
            context: started.context,
            parent: started.parent,
            name: "ingress",
            kind: SpanKind::Server,
            start,
            end: start,
            attributes,
            error: None,
        };
        Box::new(Self {
            whole,
            steps: Vec::with_capacity(4),
        })
    }

    /// The trace that it is part of, as W3C Trace Context writes it.
    pub fn trace_id(&self) -> String {
        let id = u128::from_be_bytes(self.whole.context.trace_id);
        format!("{id:032x}")
    }

    /// Adds to what is known of the whole request.
    pub fn note(&mut self, attribute: Attribute) {
        self.whole.attributes.push(attribute);
    }

    /// A step that began at `start` and ends now.
    pub fn step(
        &mut self,
        name: &'static str,
        start: Instant,
        attributes: Vec<Attribute>,
        rng: &mut fastrand::Rng,
    ) {
        let context = self.whole.context.child(rng);
        self.push(name, SpanKind::Internal, context, start, attributes);
    }

    /// Begins a try on a backend; the context is what the backend shall see.
    pub fn begin_upstream(
        &mut self,
        attributes: Vec<Attribute>,
        rng: &mut fastrand::Rng,
    ) -> TraceContext {
        let context = self.whole.context.child(rng);
        self.push(
            "upstream",
            SpanKind::Client,
            context,
            Instant::now(),
            attributes,
        );
        context
    }

    /// The try that began last ended, with `error` if it failed.
    pub fn end_upstream(&mut self, attribute: Option<Attribute>, error: Option<&'static str>) {
        if let Some(span) = self
            .steps
            .last_mut()
            .filter(|span| span.kind == SpanKind::Client)
        {
            span.end = Instant::now();
            span.attributes.extend(attribute);
            span.error = error.map(Cow::Borrowed);
        }
    }

    fn push(
        &mut self,
        name: &'static str,
        kind: SpanKind,
        context: TraceContext,
        start: Instant,
        attributes: Vec<Attribute>,
    ) {
        self.steps.push(Span {
            context,
            parent: Some(self.whole.context.parent_id),
            name,
            kind,
            start,
            end: Instant::now(),
            attributes,
            error: None,
        });
    }

    /// Ends the whole request and hands all spans over.
    pub fn finish(mut self, tracer: &Tracer, status: Option<StatusCode>, reason: Option<Reason>) {
        self.whole.end = Instant::now();
        if let Some(status) = status {
            self.note((
                "http.response.status_code",
                i64::from(status.as_u16()).into(),
            ));
        }
        if let Some(reason) = reason {
            self.note(("weir.reason", reason.as_str().into()));
            self.whole.error = Some(Cow::Borrowed(reason.as_str()));
        }
        let mut spans = self.steps;
        spans.push(self.whole);
        tracer.record(spans);
    }
}
