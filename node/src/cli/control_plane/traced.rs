//! Sends what an instance tells of the way of profiles to an OTLP receiver.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use weir_control_plane::steps::{self, Step, Steps};
use weir_core::trace::Sampler;

use crate::cli::output::Failure;
use crate::ports::clock::WallClock;
use crate::telemetry::otlp::Exporter;
use crate::telemetry::spans::{Span, SpanKind, Tracer};

/// How long the last spans may take to reach their receiver when the instance ends.
const LAST_SPANS_TIMEOUT: Duration = Duration::from_secs(2);

/// A way to a receiver that is used.
pub(super) struct Traced {
    tracer: Tracer,
    exporter: JoinHandle<()>,
}

impl Traced {
    /// Has these steps told to the receiver at `url`, as from this instance.
    pub(super) fn start(steps: &Steps, url: String, instance: &str) -> Result<Self, Failure> {
        // Who changes a profile is always told of.
        let always = Sampler::new(1.0).expect("one is a ratio");
        let (tracer, spans) = Tracer::new(always, WallClock::system());
        let counts = Arc::clone(tracer.counts());
        let exporter = Exporter::new(url, instance, counts, spans);
        let exporter = exporter.map_err(|error| Failure::Usage(format!("--otlp: {error}")))?;
        // Tasks that outlive the server do not keep the exporter waiting.
        let told = tracer.weak();
        steps.tell_to(move |step| told.record(vec![span(step)]));
        Ok(Self {
            tracer,
            exporter: tokio::spawn(exporter.run()),
        })
    }

    /// Waits for the last spans, but not for long.
    pub(super) async fn finish(self) {
        drop(self.tracer);
        let _ = timeout(LAST_SPANS_TIMEOUT, self.exporter).await;
    }
}

fn span(step: Step) -> Span {
    let attributes = step.attributes.into_iter();
    Span {
        context: step.context,
        parent: step.parent,
        name: step.name,
        kind: match step.name {
            steps::COMMAND => SpanKind::Client,
            steps::PUSH => SpanKind::Producer,
            _ => SpanKind::Server,
        },
        start: step.begun,
        end: step.ended,
        attributes: attributes
            .map(|(name, value)| (name, value.into()))
            .collect(),
        error: step.error.map(Into::into),
    }
}
