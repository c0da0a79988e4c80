//! Traces: what decides, finished spans, and the two places where they go: the bounded queue to the exporter and the
//! rings of what was told last.
//!
//! A request holds its steps itself (`data_plane/trace`) and hands its spans over when it ends, if it is worth
//! telling; a full queue drops and counts.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry_proto::tonic::trace::v1::span as pb;
use tokio::sync::mpsc;
use tokio::time::Instant;
use weir_core::trace::{Sampler, Sampling, TraceContext};
pub use weir_core::trace::{TRACEPARENT, parent_of};

use super::receiver::Receiver;
use super::recent::{Batch, Recent};
use super::wire::{SpanHead, SpanWriter};
use crate::ports::clock::WallClock;
use crate::snapshot::{Reader, Snapshot};

/// Batches of spans that may wait for the exporter.
pub const BATCHES_WAITING_MAX: usize = 8_192;
/// Bytes of memory that they may hold, about.
pub const BYTES_WAITING_MAX: u64 = 32 << 20;

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

impl SpanKind {
    /// Its number in OTLP.
    pub(super) fn number(self) -> u64 {
        let kind = match self {
            Self::Internal => pb::SpanKind::Internal,
            Self::Server => pb::SpanKind::Server,
            Self::Client => pb::SpanKind::Client,
            Self::Producer => pb::SpanKind::Producer,
            Self::Consumer => pb::SpanKind::Consumer,
        };
        kind as u64
    }
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

impl Span {
    fn write(&self, clock: &WallClock, into: &mut SpanWriter) {
        let head = SpanHead {
            trace_id: self.context.trace_id,
            id: self.context.parent_id,
            parent: self.parent,
            name: self.name,
            kind: self.kind,
            start_unix_ns: clock.unix_ns_at(self.start),
            end_unix_ns: clock.unix_ns_at(self.end),
            error: self.error.as_deref(),
        };
        into.span(&head, |attributes| {
            for (key, value) in &self.attributes {
                match value {
                    AttributeValue::Text(text) => attributes.text(key, text),
                    AttributeValue::Number(number) => attributes.number(key, *number),
                }
            }
        });
    }
}

/// Decides what is sampled and takes finished spans.
#[derive(Clone, Debug)]
pub struct Tracer {
    queue: Queue,
    recent: Option<Recent>,
    sampling: Snapshot<Sampling>,
    counts: Arc<SpanCounts>,
    clock: WallClock,
}

/// The way to the exporter, which ends when no tracer keeps it open any more.
#[derive(Clone, Debug)]
enum Queue {
    Off,
    KeptOpen(mpsc::Sender<Arc<Batch>>),
    Used(mpsc::WeakSender<Arc<Batch>>),
}

impl Queue {
    /// Hands spans over; false when they cannot be taken.
    fn take(&self, spans: Arc<Batch>) -> bool {
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
    /// Requests that were not traced because too many are held.
    pub requests_not_held: AtomicU64,
    /// Failed and slow requests that were not told, and others that were not sampled though their callers asked for it,
    /// because too many were within the second.
    pub requests_over_budget: AtomicU64,
    /// Traces and exemplars that were told and not kept on the node.
    pub not_kept: AtomicU64,
    /// Points of metrics that the receiver took.
    pub points_sent: AtomicU64,
    /// Points of metrics that it did not take, in time or at all.
    pub points_dropped: AtomicU64,
    /// Bytes of the batches that wait for the exporter; it gives back what it takes.
    pub waiting_bytes: AtomicU64,
    /// How the receiver is with spans.
    pub traces: Receiver,
    /// How it is with points of metrics.
    pub metrics: Receiver,
}

impl SpanCounts {
    /// Why the receiver does not take what it is sent, for each signal that it does not take.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        let all = [("traces", &self.traces), ("metrics", &self.metrics)];
        all.into_iter()
            .filter_map(|(signal, receiver)| receiver.problem(signal))
    }

    pub(crate) fn not_held(&self) {
        self.requests_not_held.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn not_kept(&self) {
        self.not_kept.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes room for a batch that is to wait; false when there is none.
    fn may_wait(&self, bytes: u64) -> bool {
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting.saturating_add(bytes) <= BYTES_WAITING_MAX;
        if !fits {
            self.no_more_waits(bytes);
        }
        fits
    }

    /// A batch waits no more.
    pub(crate) fn no_more_waits(&self, bytes: u64) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn over_budget(&self) {
        self.requests_over_budget.fetch_add(1, Ordering::Relaxed);
    }
}

impl Tracer {
    /// A tracer and the queue that its exporter reads.
    pub fn new(sampler: Sampler, clock: WallClock) -> (Self, mpsc::Receiver<Arc<Batch>>) {
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
        let tracer = Self {
            queue: Queue::KeptOpen(sender),
            ..Self::of(sampler, clock)
        };
        (tracer, receiver)
    }

    /// A tracer that samples nothing.
    pub fn off() -> Self {
        // It tells nothing that had a time.
        let clock = WallClock::starting_at(Duration::ZERO);
        Self::of(Sampler::new(0.0).expect("zero is a ratio"), clock)
    }

    fn of(sampler: Sampler, clock: WallClock) -> Self {
        Self {
            queue: Queue::Off,
            recent: None,
            sampling: Snapshot::new(Sampling::head_only(sampler)),
            counts: Arc::default(),
            clock,
        }
    }

    /// The same, which also keeps what was told last.
    #[must_use]
    pub fn with_recent(self, recent: Recent, clock: WallClock) -> Self {
        Self {
            recent: Some(recent),
            clock,
            ..self
        }
    }

    /// What was told last, if it is kept.
    pub fn recent(&self) -> Option<&Recent> {
        self.recent.as_ref()
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

    /// Changes what is traced of what begins from now on.
    pub fn set_sampling(&self, sampling: Sampling) {
        self.sampling.publish(sampling);
    }

    /// What is traced, for one core.
    pub fn sampling_reader(&self) -> Reader<Sampling> {
        self.sampling.reader()
    }

    /// What became of the spans.
    pub fn counts(&self) -> &Arc<SpanCounts> {
        &self.counts
    }

    /// False when nothing is ever sampled.
    pub fn is_on(&self) -> bool {
        self.recent.is_some() || !matches!(self.queue, Queue::Off)
    }

    /// Begins a span under the caller's, when its trace is sampled.
    pub fn sample(&self, headers: &HeaderMap, rng: &mut fastrand::Rng) -> Option<Started> {
        if !self.is_on() {
            return None;
        }
        let parent = parent_of(headers);
        let is_sampled = self.sampling.load().head.decide(parent.as_ref(), rng);
        is_sampled.then(|| started(parent, true, rng))
    }

    /// Begins a span under this one, or a trace, sampled or not: its context tells. `None` when nothing ever is.
    pub fn begin(&self, parent: Option<TraceContext>, rng: &mut fastrand::Rng) -> Option<Started> {
        self.is_on().then(|| {
            let is_sampled = self.sampling.load().head.decide(parent.as_ref(), rng);
            started(parent, is_sampled, rng)
        })
    }

    /// Hands finished spans of one trace over, the one above the others last.
    pub fn record(&self, spans: Vec<Span>) {
        let mut writer = SpanWriter::default();
        for span in &spans {
            span.write(&self.clock, &mut writer);
        }
        let batch = Batch::new(writer.finish(), None);
        if self
            .recent
            .as_ref()
            .is_some_and(|recent| !recent.keep_other(&batch))
        {
            self.counts.not_kept();
        }
        self.export(batch);
    }

    /// The same, by a core, with what its client calls the request.
    pub fn keep(&self, core: usize, batch: Arc<Batch>) {
        if self
            .recent
            .as_ref()
            .is_some_and(|recent| !recent.keep(core, &batch))
        {
            self.counts.not_kept();
        }
        self.export(batch);
    }

    /// To the exporter, if there is one; drops and counts when too many wait.
    fn export(&self, batch: Arc<Batch>) {
        if matches!(self.queue, Queue::Off) {
            return;
        }
        let count = batch.spans.count() as u64;
        self.counts.made.fetch_add(count, Ordering::Relaxed);
        let bytes = batch.bytes() as u64;
        let has_room = self.counts.may_wait(bytes);
        if has_room && self.queue.take(batch) {
            return;
        }
        if has_room {
            self.counts.no_more_waits(bytes);
        }
        self.counts.dropped.fetch_add(count, Ordering::Relaxed);
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

/// An id for a span whose maker has no generator at hand: unique by its parent and its time.
fn span_seed(parent: &TraceContext, at: Instant) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    parent.hash(&mut hasher);
    at.hash(&mut hasher);
    hasher.finish()
}
