//! The spans of something that is done step by step, such as provisioning an engine: the whole, and each step.

use std::borrow::Cow;

use tokio::time::Instant;
use weir_core::trace::TraceContext;

use super::spans::{Attribute, Span, SpanKind, Tracer};

/// How a look-up of a VPN's port was answered: `hit`, `stale` or `miss`.
pub const PORT_CACHE: &str = "weir.port_cache";
/// Which limit something ran into, as events name it.
pub const LIMIT: &str = "weir.limit";
/// Steps of one whole that are told; more are not.
const STEPS_MAX: usize = 64;

/// A whole with its steps, one after the other. Without a tracer it costs nothing and only carries the caller's trace.
#[derive(Debug, Default)]
pub struct StepTrace {
    carried: Option<TraceContext>,
    open: Option<Box<Open>>,
}

#[derive(Debug)]
struct Open {
    tracer: Tracer,
    rng: fastrand::Rng,
    whole: Span,
    done: Vec<Span>,
    step: Option<Span>,
    /// It is told though nobody sampled it.
    is_told_anyway: bool,
}

impl StepTrace {
    /// Begins a whole under what brought it about, or as a trace of its own, sampled as those are.
    pub fn begin(
        tracer: &Tracer,
        parent: Option<TraceContext>,
        (name, kind): (&'static str, SpanKind),
        start: Instant,
    ) -> Self {
        let mut rng = match tracer.is_on() {
            true => fastrand::Rng::new(),
            // Not asked for anything.
            false => fastrand::Rng::with_seed(0),
        };
        let open = tracer.begin(parent, &mut rng).map(|started| {
            let whole = Span {
                context: started.context,
                parent: started.parent,
                ..span(started.context, name, kind, start)
            };
            Box::new(Open {
                tracer: tracer.clone(),
                rng,
                whole,
                done: Vec::new(),
                step: None,
                is_told_anyway: false,
            })
        });
        Self {
            carried: parent,
            open,
        }
    }

    /// It is told, whatever was sampled.
    pub fn tell_anyway(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_told_anyway = true;
        }
    }

    /// Adds to what is known of the whole.
    pub fn note(&mut self, attribute: Attribute) {
        if let Some(open) = &mut self.open {
            open.whole.attributes.push(attribute);
        }
    }

    /// The step before is done, and this one begins.
    pub fn step(&mut self, name: &'static str, kind: SpanKind) {
        self.step_since(name, kind, Instant::now());
    }

    /// As [`Self::step`]; it began then.
    pub fn step_since(&mut self, name: &'static str, kind: SpanKind, start: Instant) {
        if let Some(open) = &mut self.open {
            open.end_step(start, None);
            let context = open.whole.context.child(&mut open.rng);
            open.step = Some(Span {
                parent: Some(open.whole.context.parent_id),
                ..span(context, name, kind, start)
            });
        }
    }

    /// Adds to what is known of the step that is under way.
    pub fn note_step(&mut self, attribute: Attribute) {
        if let Some(step) = self.open.as_mut().and_then(|open| open.step.as_mut()) {
            step.attributes.push(attribute);
        }
    }

    /// Where whatever follows from the step under way belongs, or from the whole without one.
    pub fn context(&self) -> Option<TraceContext> {
        match &self.open {
            Some(open) => {
                let step = open.step.as_ref().unwrap_or(&open.whole);
                Some(step.context)
            }
            None => self.carried,
        }
    }

    /// The whole is over, and the step under way with it; `error` says why it failed.
    pub fn finish(self, error: Option<String>) {
        let Some(mut open) = self.open else { return };
        let error: Option<Cow<'static, str>> = error.map(Cow::Owned);
        let end = Instant::now();
        open.end_step(end, error.clone());
        if open.whole.context.sampled || open.is_told_anyway {
            open.whole.end = end;
            open.whole.error = error;
            open.done.push(open.whole);
            open.tracer.record(open.done);
        }
    }
}

impl Open {
    fn end_step(&mut self, end: Instant, error: Option<Cow<'static, str>>) {
        if let Some(mut step) = self.step.take().filter(|_| self.done.len() < STEPS_MAX) {
            step.end = end.max(step.start);
            step.error = error;
            self.done.push(step);
        }
    }
}

fn span(context: TraceContext, name: &'static str, kind: SpanKind, start: Instant) -> Span {
    Span {
        context,
        parent: None,
        name,
        kind,
        start,
        end: start,
        attributes: Vec::new(),
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1 as pb;
    use weir_core::trace::Sampler;

    use super::super::wire::text_of;
    use super::*;
    use crate::ports::clock::WallClock;

    fn root(sampled: bool) -> TraceContext {
        TraceContext::root(&mut fastrand::Rng::with_seed(3), sampled)
    }

    fn run(parent: Option<TraceContext>, ratio: f64, error: Option<&str>) -> Vec<pb::Span> {
        let (tracer, mut spans) = Tracer::new(Sampler::new(ratio).unwrap(), WallClock::system());
        let mut whole =
            StepTrace::begin(&tracer, parent, ("job", SpanKind::Consumer), Instant::now());
        whole.step("one", SpanKind::Internal);
        whole.note_step(("n", 1.into()));
        whole.step("two", SpanKind::Internal);
        whole.note(("m", 2.into()));
        if error.is_some() {
            whole.tell_anyway();
        }
        whole.finish(error.map(str::to_owned));
        spans
            .try_recv()
            .map(|batch| batch.spans.decode())
            .unwrap_or_default()
    }

    #[test]
    fn steps_are_under_the_whole_and_the_whole_under_what_brought_it_about() {
        let parent = root(true);
        let spans = run(Some(parent), 0.0, Some("lost"));
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["one", "two", "job"]);
        let whole = &spans[2];
        assert_eq!(whole.parent_span_id, parent.parent_id);
        for span in &spans {
            assert_eq!(span.trace_id, parent.trace_id);
        }
        for step in &spans[..2] {
            assert_eq!(step.parent_span_id, whole.span_id);
        }
        let (end, start) = (spans[0].end_time_unix_nano, spans[1].start_time_unix_nano);
        assert_eq!(end, start, "one after the other");
        assert_eq!(spans[1].end_time_unix_nano, whole.end_time_unix_nano);
        let attribute = spans[0].attributes[0].clone();
        assert_eq!((&*attribute.key, &*text_of(attribute.value)), ("n", "1"));
        let error = |at: usize| spans[at].status.as_ref().map(|status| &*status.message);
        assert_eq!([0, 1, 2].map(error), [None, Some("lost"), Some("lost")]);
    }

    #[test]
    fn what_nobody_sampled_is_told_only_when_it_is_worth_it() {
        assert_eq!(run(Some(root(false)), 1.0, None).len(), 0);
        assert_eq!(run(Some(root(false)), 1.0, Some("lost")).len(), 3);
        assert_eq!(run(None, 0.0, None).len(), 0);
        assert_eq!(run(None, 1.0, None).len(), 3);
    }

    #[test]
    fn without_a_tracer_the_callers_trace_is_carried_on() {
        let parent = root(true);
        let begun = |parent| {
            StepTrace::begin(
                &Tracer::off(),
                parent,
                ("job", SpanKind::Consumer),
                Instant::now(),
            )
        };
        assert_eq!(begun(Some(parent)).context(), Some(parent));
        assert_eq!(begun(None).context(), None);
    }

    #[test]
    fn a_part_that_outlives_the_node_does_not_keep_the_queue_open() {
        let (tracer, mut spans) = Tracer::new(Sampler::new(1.0).unwrap(), WallClock::system());
        let part = tracer.weak();
        let whole =
            |name| StepTrace::begin(&part, None, (name, SpanKind::Internal), Instant::now());
        whole("one").finish(None);
        assert_eq!(spans.try_recv().unwrap().spans.count(), 1);
        let left = whole("two");
        drop(tracer);
        left.finish(None);
        assert!(spans.try_recv().is_err());
        let counts = part.counts();
        let of =
            |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!((of(&counts.made), of(&counts.dropped)), (2, 1));
    }
}
