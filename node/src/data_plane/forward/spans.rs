//! The spans of forwarding: the pick, a new connection, each try.

use http::{Request, StatusCode};
use tokio::time::Instant;

use super::super::answer::Reason;
use super::super::routing::Place;
use super::super::trace::Fact;
use super::super::upload::UploadBody;
use super::Forwarding;
use crate::telemetry::spans::{SpanKind, TRACEPARENT};

impl Forwarding<'_> {
    fn fact_of(&self, place: Place) -> Fact {
        Fact::Backend {
            routing: self.routed.routing.clone(),
            service: self.routed.service,
            place,
        }
    }

    pub(super) fn note_pick(&self, place: Place, why: &'static str, begun: Instant) {
        if let Some(trace) = &self.exchange.trace {
            let step = trace.step("pick", begun);
            trace.tell(step, self.fact_of(place));
            trace.tell(step, Fact::Text("weir.pick.reason", why));
        }
    }

    /// A connection was opened, or none was to be had.
    pub(super) fn note_connect(&self, place: Place, begun: Instant, failed: Option<Reason>) {
        if let Some(trace) = &self.exchange.trace {
            let step = trace.step("connect", begun);
            trace.tell(step, self.fact_of(place));
            if let Some(reason) = failed {
                trace.end(step, Some(reason.as_str()));
            }
        }
    }

    pub(super) fn begin_upstream_span(&mut self, place: Place, request: &mut Request<UploadBody>) {
        let Some(trace) = &self.exchange.trace else {
            return;
        };
        let step = trace.open("upstream", SpanKind::Client, Instant::now());
        trace.tell(step, self.fact_of(place));
        trace.tell(step, Fact::Method(request.method().clone()));
        trace.tell(step, Fact::Version(request.version()));
        if self.tries > 0 {
            let again = i64::from(self.tries);
            trace.tell(step, Fact::Number("http.request.resend_count", again));
        }
        self.tries = self.tries.saturating_add(1);
        let context = trace.context_of(step);
        request
            .headers_mut()
            .insert(TRACEPARENT, context.header_value());
        self.try_span = Some(step);
    }

    /// The try that is under way ended, with `error` if it failed.
    pub(super) fn end_upstream_span(
        &mut self,
        status: Option<StatusCode>,
        error: Option<&'static str>,
    ) {
        if let (Some(trace), Some(step)) = (&self.exchange.trace, self.try_span.take()) {
            if let Some(status) = status {
                trace.tell(step, Fact::Status(status));
            }
            if let Some(error) = error {
                trace.tell(step, Fact::Text("error.type", error));
            }
            trace.end(step, error);
        }
    }
}
