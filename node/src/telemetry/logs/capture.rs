//! Makes a line of an event and puts it into the queue. Never waits.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use weir_core::logs::{Level, Writer};

use super::counts::LogCounts;
use super::stderr::StderrLines;
use super::traced::{TRACE_ID, trace_of};
use crate::ports::clock::WallClock;

/// Bytes of lines that may wait.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// A line on its way.
#[derive(Debug)]
pub(super) struct Line(Arc<str>);

impl Line {
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn into_text(self) -> Arc<str> {
        self.0
    }
}

/// The layer that takes every event which the filter before it lets through.
pub struct Capture {
    queue: mpsc::Sender<Line>,
    counts: Arc<LogCounts>,
    clock: WallClock,
    /// Where the same line is said as well.
    stderr: Option<StderrLines>,
}

impl Capture {
    pub(super) fn new(queue: mpsc::Sender<Line>, counts: Arc<LogCounts>, clock: WallClock) -> Self {
        Self {
            queue,
            counts,
            clock,
            stderr: None,
        }
    }

    /// The same, which says its lines on standard error as well.
    pub(super) fn also_to(self, stderr: Option<StderrLines>) -> Self {
        Self { stderr, ..self }
    }

    fn queue(&self, line: String) {
        let bytes = line.len();
        if !self.counts.take_room(bytes, WAITING_BYTES_MAX) {
            return self.counts.found_no_room();
        }
        match self.queue.try_send(Line(line.into())) {
            Ok(()) => self.counts.was_queued(),
            Err(_) => {
                self.counts.left_queue(bytes);
                self.counts.found_no_room();
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = level(*metadata.level());
        let writer = Writer::new(self.clock.unix_ms_now(), level, metadata.target());
        let mut members = Members {
            writer,
            scratch: String::new(),
        };
        event.record(&mut members);
        if let Some(trace_id) = trace_of(event) {
            members.writer.text(TRACE_ID, &format!("{trace_id:032x}"));
        }
        let mut line = members.writer.finish();
        if let Some(stderr) = &self.stderr {
            line.push('\n');
            stderr.hand_in(line.as_bytes());
            line.pop();
        }
        self.queue(line);
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

struct Members {
    writer: Writer,
    scratch: String,
}

impl Members {
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.scratch.clear();
        let _ = write!(self.scratch, "{value}");
        self.writer.plain(field.name(), &self.scratch);
    }
}

impl Visit for Members {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.scratch.clear();
        let _ = write!(self.scratch, "{value:?}");
        self.writer.text(field.name(), &self.scratch);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.writer.text(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }
}
