//! Sends spans to an OTLP gRPC receiver in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BufMut as _;
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as pb;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::client::Grpc;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::recent::Batch;
use super::spans::{AttributeValue, SpanCounts};
use super::wire;

/// The method of a receiver that takes spans.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
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
    client: Grpc<Channel>,
    head: Head,
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
    ) -> Result<Self, tonic::transport::Error> {
        Ok(Self {
            spans,
            next: None,
            counts,
            client: Grpc::new(channel(url)?),
            head: Head::new(node),
        })
    }

    /// Runs until the last tracer is gone and everything is sent or dropped.
    pub async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let count = count_of(&batch) as u64;
            let became = self.export(&batch).await;
            let counts = &self.counts;
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
        let (mut count, mut bytes) = (first.spans.count(), first.bytes());
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
            count += more.spans.count();
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

    async fn export(
        &mut self,
        batch: &[Arc<Batch>],
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let ready = self.client.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        let request = Request::new(self.head.request(batch));
        let path = PathAndQuery::from_static(EXPORT);
        self.client.unary(request, path, Encoded).await
    }
}

/// What is the same in every export, encoded.
struct Head {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Head {
    fn new(node: &str) -> Self {
        let resource = pb::ResourceSpans {
            resource: Some(resource(node)),
            ..pb::ResourceSpans::default()
        };
        let scope = pb::ScopeSpans {
            scope: Some(scope()),
            ..pb::ScopeSpans::default()
        };
        Self {
            resource: resource.encode_to_vec(),
            scope: scope.encode_to_vec(),
        }
    }

    /// An `ExportTraceServiceRequest` as it is sent.
    fn request(&self, batch: &[Arc<Batch>]) -> Vec<u8> {
        let spans = batch.iter().map(|batch| batch.spans.bytes());
        let scope = std::iter::once(&*self.scope).chain(spans);
        let resource = wire::nested(&self.resource, 2, scope);
        wire::nested(&[], 1, std::iter::once(&*resource))
    }
}

/// Sends what is encoded already.
struct Encoded;

type Prost = ProstCodec<ExportTraceServiceRequest, ExportTraceServiceResponse>;

impl Codec for Encoded {
    type Encode = Vec<u8>;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = <Prost as Codec>::Decoder;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Prost::default().decoder()
    }
}

impl Encoder for Encoded {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
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

fn count_of(batch: &[Arc<Batch>]) -> usize {
    batch.iter().map(|batch| batch.spans.count()).sum()
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

    use super::super::spans::{BYTES_WAITING_MAX, Span, SpanKind, Tracer};
    use super::*;
    use crate::ports::clock::WallClock;

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
        let (tracer, receiver) = Tracer::new(Sampler::new(1.0).unwrap(), WallClock::system());
        let counts = Arc::clone(tracer.counts());
        let url = "http://127.0.0.1:9".to_owned();
        let exporter = Exporter::new(url, "n1", counts, receiver);
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
            let count = count_of(&batch);
            all += count;
            let bytes: usize = batch.iter().map(|batch| batch.bytes()).sum();
            assert!(count <= BATCH_SPANS_MAX && bytes <= BATCH_BYTES_MAX);
        }
        assert_eq!(all, 805);
        assert_eq!(exporter.counts.waiting_bytes.load(Ordering::Relaxed), 0);
    }
}
