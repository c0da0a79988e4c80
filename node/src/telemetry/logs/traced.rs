//! The trace that lines belong to which are written while a thread works for it.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How lines name it.
pub(super) const TRACE_ID: &str = "trace_id";

thread_local! {
    /// 0 for none.
    static TRACE: Cell<u128> = const { Cell::new(0) };
}

/// While it is there, lines of this thread belong to a trace.
#[must_use]
pub(crate) struct InTrace {
    before: u128,
    /// It belongs to its thread.
    _here: PhantomData<*const ()>,
}

impl InTrace {
    /// 0 changes nothing.
    pub(crate) fn enter(trace_id: u128) -> Self {
        let before = TRACE.get();
        if trace_id != 0 {
            TRACE.set(trace_id);
        }
        Self {
            before,
            _here: PhantomData,
        }
    }
}

impl Drop for InTrace {
    fn drop(&mut self) {
        TRACE.set(self.before);
    }
}

/// Lines that are written while this is polled belong to that trace.
pub(crate) async fn in_trace<F: Future>(trace_id: u128, mut future: Pin<&mut F>) -> F::Output {
    poll_fn(|context| {
        let _lines = InTrace::enter(trace_id);
        future.as_mut().poll(context)
    })
    .await
}

/// The trace of a line that does not tell it itself.
pub(super) fn trace_of(event: &Event<'_>) -> Option<u128> {
    let trace_id = TRACE.get();
    let tells = || event.metadata().fields().field(TRACE_ID).is_some();
    (trace_id != 0 && !tells()).then_some(trace_id)
}

/// Lines for people, with their trace at the end.
pub(super) struct WithTrace<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(trace_id) = trace_of(event) else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{} {TRACE_ID}={trace_id:032x}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Text(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Text {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn lines_of_a_request_tell_its_trace_once_also_after_a_wait_and_others_do_not() {
        let text = Text::default();
        let written = text.clone();
        let plain = tracing_subscriber::fmt::format()
            .without_time()
            .with_target(false);
        let lines = tracing_subscriber::fmt::layer()
            .event_format(WithTrace(plain.with_ansi(false)))
            .with_writer(move || written.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        let _default = tracing::subscriber::set_default(subscriber);
        let request = async |number: u128| {
            tracing::info!(number, "begins");
            tokio::task::yield_now().await;
            tracing::info!("goes on");
            tracing::info!(trace_id = "its own", "ends");
        };
        let (one, two) = (std::pin::pin!(request(1)), std::pin::pin!(request(2)));
        let other = async {
            tokio::task::yield_now().await;
            tracing::info!("other");
        };
        futures::future::join3(in_trace(10, one), in_trace(11, two), other).await;
        let told = String::from_utf8(text.0.lock().clone()).unwrap();
        let id = |number: u128| format!(" trace_id={number:032x}");
        let expected = [
            format!(" INFO begins number=1{}", id(10)),
            format!(" INFO begins number=2{}", id(11)),
            format!(" INFO goes on{}", id(10)),
            " INFO ends trace_id=\"its own\"".to_owned(),
            format!(" INFO goes on{}", id(11)),
            " INFO ends trace_id=\"its own\"".to_owned(),
            " INFO other".to_owned(),
        ];
        assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    }
}
