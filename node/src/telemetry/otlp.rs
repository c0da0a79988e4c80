//! Sends spans to an OTLP gRPC receiver in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as pb;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use super::recent::Batch;
use super::spans::{Attribute, AttributeValue, Span, SpanCounts, SpanKind};
use crate::ports::clock::WallClock;

/// Spans in one export at most.
const BATCH_SPANS_MAX: usize = 512;
/// Bytes of memory that they take, about; one batch alone may be larger.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How long a span waits for others.
const BATCH_WAIT: Duration = Duration::from_millis(200);
/// Between two looks for more of them. Whoever waited for each would be woken by each, and a core would pay for it.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// For one export; after that its spans are dropped and counted.
pub(super) const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends what the tracers of a node record until the last one is dropped.
pub struct Exporter {
    spans: mpsc::Receiver<Arc<Batch>>,
    /// What was taken and had no room in the export before.
    next: Option<Arc<Batch>>,
    counts: Arc<SpanCounts>,
    client: TraceServiceClient<Channel>,
    resource: Resource,
    clock: WallClock,
}

impl Exporter {
    /// An exporter to `url` (such as `http://127.0.0.1:4317`); connects when there is something to send.
    ///
    /// # Errors
    /// When `url` is no URL.
    pub fn new(
        url: String,
        node: &str,
        counts: Arc<SpanCounts>,
        spans: mpsc::Receiver<Arc<Batch>>,
        clock: WallClock,
    ) -> Result<Self, tonic::transport::Error> {
        Ok(Self {
            spans,
            next: None,
            counts,
            client: TraceServiceClient::new(channel(url)?),
            resource: resource(node),
            clock,
        })
    }

    /// Runs until the last tracer is gone and everything is sent or dropped.
    pub async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let count = spans_of(&batch).count() as u64;
            let counts = &self.counts;
            let became = self.client.clone().export(self.request(&batch)).await;
            counts.traces.exported("traces", &became);
            match became {
                Ok(_) => counts.sent.fetch_add(count, Ordering::Relaxed),
                Err(_) => counts.dropped.fetch_add(count, Ordering::Relaxed),
            };
        }
    }

    async fn next_batch(&mut self) -> Option<Vec<Arc<Batch>>> {
        let first = match self.next.take() {
            Some(first) => first,
            None => self.take().await?,
        };
        let (mut count, mut bytes) = (first.spans.len(), first.bytes());
        let mut batch = vec![first];
        let until = Instant::now() + BATCH_WAIT;
        while count < BATCH_SPANS_MAX {
            let Some(more) = self.take_waiting() else {
                if Instant::now() >= until || self.spans.is_closed() {
                    break;
                }
                sleep(LOOK_INTERVAL).await;
                continue;
            };
            count += more.spans.len();
            bytes += more.bytes();
            if count > BATCH_SPANS_MAX || bytes > BATCH_BYTES_MAX {
                self.next = Some(more);
                break;
            }
            batch.push(more);
        }
        Some(batch)
    }

    async fn take(&mut self) -> Option<Arc<Batch>> {
        let batch = self.spans.recv().await?;
        self.counts.no_more_waits(batch.bytes() as u64);
        Some(batch)
    }

    fn take_waiting(&mut self) -> Option<Arc<Batch>> {
        let batch = self.spans.try_recv().ok()?;
        self.counts.no_more_waits(batch.bytes() as u64);
        Some(batch)
    }

    fn request(&self, batch: &[Arc<Batch>]) -> ExportTraceServiceRequest {
        let spans = spans_of(batch).map(|span| self.encode(span)).collect();
        ExportTraceServiceRequest {
            resource_spans: vec![pb::ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![pb::ScopeSpans {
                    scope: Some(scope()),
                    spans,
                    ..pb::ScopeSpans::default()
                }],
                ..pb::ResourceSpans::default()
            }],
        }
    }

    fn encode(&self, span: &Span) -> pb::Span {
        let unix_ns = |at| u64::try_from(self.clock.unix_at(at).as_nanos()).unwrap_or(u64::MAX);
        pb::Span {
            trace_id: span.context.trace_id.to_vec(),
            span_id: span.context.parent_id.to_vec(),
            parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
            name: span.name.to_owned(),
            kind: match span.kind {
                SpanKind::Internal => pb::span::SpanKind::Internal,
                SpanKind::Server => pb::span::SpanKind::Server,
                SpanKind::Client => pb::span::SpanKind::Client,
                SpanKind::Producer => pb::span::SpanKind::Producer,
                SpanKind::Consumer => pb::span::SpanKind::Consumer,
            } as i32,
            start_time_unix_nano: unix_ns(span.start),
            end_time_unix_nano: unix_ns(span.end),
            attributes: span.attributes.iter().map(attribute).collect(),
            status: span.error.as_ref().map(|message| pb::Status {
                message: message.to_string(),
                code: pb::status::StatusCode::Error as i32,
            }),
            ..pb::Span::default()
        }
    }
}

/// Connects when there is something to send.
pub(super) fn channel(url: String) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url)?
        .connect_timeout(EXPORT_TIMEOUT)
        .timeout(EXPORT_TIMEOUT);
    Ok(endpoint.connect_lazy())
}

/// Who sends.
pub(super) fn resource(node: &str) -> Resource {
    Resource {
        attributes: vec![
            key_value("service.name", "weir".into()),
            key_value("service.instance.id", node.to_owned().into()),
            key_value("service.version", env!("CARGO_PKG_VERSION").into()),
        ],
        ..Resource::default()
    }
}

/// What made it.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "weir".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn spans_of(batch: &[Arc<Batch>]) -> impl Iterator<Item = &Span> {
    batch.iter().flat_map(|batch| &batch.spans)
}

fn attribute((key, value): &Attribute) -> KeyValue {
    key_value(key, value.clone())
}

pub(super) fn key_value(key: &str, value: AttributeValue) -> KeyValue {
    let value = match value {
        AttributeValue::Text(text) => Value::StringValue(text.into_owned()),
        AttributeValue::Number(number) => Value::IntValue(number),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use weir_core::trace::{Sampler, TraceContext};

    use super::super::spans::{BYTES_WAITING_MAX, Tracer};
    use super::*;

    fn spans(count: usize, text_bytes: usize) -> Vec<Span> {
        let now = Instant::now();
        let span = Span {
            context: TraceContext::root(&mut fastrand::Rng::with_seed(1), true),
            parent: None,
            name: "ingress",
            kind: SpanKind::Server,
            start: now,
            end: now,
            attributes: vec![("url.path", "a".repeat(text_bytes).into())],
            error: None,
        };
        vec![span; count]
    }

    fn exporter() -> (Tracer, Exporter) {
        let (tracer, receiver) = Tracer::new(Sampler::new(1.0).unwrap());
        let counts = Arc::clone(tracer.counts());
        let url = "http://127.0.0.1:9".to_owned();
        let exporter = Exporter::new(url, "n1", counts, receiver, WallClock::system());
        (tracer, exporter.unwrap())
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_what_is_taken_gives_its_room_back() {
        let (tracer, mut exporter) = exporter();
        let large = BYTES_WAITING_MAX as usize / 4 - 4_096;
        for _ in 0..6 {
            tracer.record(spans(1, large));
        }
        assert_eq!(tracer.counts().dropped.load(Ordering::Relaxed), 2);
        exporter.next_batch().await.unwrap();
        tracer.record(spans(1, large));
        assert_eq!(tracer.counts().dropped.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_export_holds_neither_too_many_spans_nor_too_many_bytes_and_loses_none() {
        let (tracer, mut exporter) = exporter();
        for _ in 0..20 {
            tracer.record(spans(40, 10));
        }
        for _ in 0..5 {
            tracer.record(spans(1, 400 << 10));
        }
        drop(tracer);
        let mut all = 0;
        while let Some(batch) = exporter.next_batch().await {
            let count = spans_of(&batch).count();
            all += count;
            let bytes: usize = batch.iter().map(|batch| batch.bytes()).sum();
            assert!(count <= BATCH_SPANS_MAX && bytes <= BATCH_BYTES_MAX);
        }
        assert_eq!(all, 805);
        assert_eq!(exporter.counts.waiting_bytes.load(Ordering::Relaxed), 0);
    }
}
