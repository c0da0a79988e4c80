//! Lines of the access log on their way from cores to whoever writes them.
//!
//! Each core gathers lines by itself and hands them over now and then, many at a time. When too many wait, because a
//! disk or whoever reads is slow, they are dropped and counted: requests never wait.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use weir_core::access_log::{Format, Line};

use crate::config::AccessLog;
use crate::snapshot::{Reader, Snapshot};

/// Bytes that a core gathers before it hands them over.
const HANDED_OVER_BYTES: usize = 32 << 10;
/// What each core may have waiting, in such lots.
const LOTS_PER_CORE: usize = 32;

/// Lines that were handed over.
#[derive(Debug, Default)]
pub struct Lines {
    /// Whole lines, each with its end.
    pub bytes: Vec<u8>,
    /// How many.
    pub count: u64,
}

/// What became of lines.
#[derive(Debug, Default)]
pub struct AccessCounts {
    /// Lines that were written.
    pub written: AtomicU64,
    /// Lines that were not, and never will be.
    pub dropped: AtomicU64,
}

/// Where cores hand lines over. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessSink {
    settings: Snapshot<Option<AccessLog>>,
    queue: mpsc::Sender<Lines>,
    counts: Arc<AccessCounts>,
}

impl AccessSink {
    /// A sink for so many cores, and the lines for whoever writes them.
    pub fn new(
        settings: &Snapshot<Option<AccessLog>>,
        cores: usize,
    ) -> (Self, mpsc::Receiver<Lines>) {
        let (queue, lines) = mpsc::channel(LOTS_PER_CORE * cores.max(1));
        let sink = Self {
            settings: settings.clone(),
            queue,
            counts: Arc::default(),
        };
        (sink, lines)
    }

    /// What became of lines.
    pub fn counts(&self) -> Arc<AccessCounts> {
        Arc::clone(&self.counts)
    }

    /// What is wanted.
    pub fn settings(&self) -> Snapshot<Option<AccessLog>> {
        self.settings.clone()
    }
}

/// Lines of one core.
#[derive(Debug)]
pub struct AccessLines {
    settings: RefCell<Reader<Option<AccessLog>>>,
    gathered: RefCell<Vec<u8>>,
    count: Cell<u64>,
    queue: mpsc::Sender<Lines>,
    counts: Arc<AccessCounts>,
}

impl AccessLines {
    /// The lines of a core that hands them over to `sink`.
    pub fn new(sink: &AccessSink) -> Self {
        Self {
            settings: RefCell::new(sink.settings.reader()),
            gathered: RefCell::default(),
            count: Cell::new(0),
            queue: sink.queue.clone(),
            counts: sink.counts(),
        }
    }

    /// How a line is to be written; `None` when none is.
    pub fn format(&self) -> Option<Format> {
        let mut settings = self.settings.borrow_mut();
        settings.load().as_ref().as_ref().map(|log| log.format)
    }

    /// One more line.
    pub fn add(&self, line: &Line<'_>, format: Format) {
        let mut gathered = self.gathered.borrow_mut();
        line.write(format, &mut gathered);
        self.count.set(self.count.get() + 1);
        let is_full = gathered.len() >= HANDED_OVER_BYTES;
        drop(gathered);
        if is_full {
            self.hand_over();
        }
    }

    /// Hands over what was gathered; it is dropped and counted if too much waits.
    pub fn hand_over(&self) {
        let mut gathered = self.gathered.borrow_mut();
        if gathered.is_empty() {
            return;
        }
        let count = self.count.take();
        let room = gathered.capacity();
        match self.queue.try_reserve() {
            Ok(place) => place.send(Lines {
                bytes: std::mem::replace(&mut gathered, Vec::with_capacity(room)),
                count,
            }),
            Err(_) => {
                gathered.clear();
                self.counts.dropped.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for AccessLines {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, Version};

    use super::*;
    use crate::config::Output;

    fn settings() -> Snapshot<Option<AccessLog>> {
        Snapshot::new(Some(AccessLog {
            output: Output::Stdout,
            format: Format::Json,
            bytes_max: 1 << 20,
            files_max: 1,
        }))
    }

    fn line() -> Line<'static> {
        Line {
            at_unix_ms: 0,
            client: [127, 0, 0, 1].into(),
            method: &Method::GET,
            target: None,
            version: Version::HTTP_11,
            host: None,
            referer: None,
            user_agent: None,
            status: 200,
            bytes_sent: 0,
            bytes_received: 0,
            took: Duration::ZERO,
            service: "",
            backend: "",
            cache: "",
            reason: "",
            trace_id: 0,
            request_id: None,
        }
    }

    #[test]
    fn lines_that_nobody_takes_are_bounded_and_every_line_is_handed_over_or_counted() {
        let (sink, mut lines) = AccessSink::new(&settings(), 1);
        let core = AccessLines::new(&sink);
        let made = 100_000;
        for _ in 0..made {
            core.add(&line(), core.format().unwrap());
        }
        let counts = sink.counts();
        drop((core, sink));
        let (mut bytes, mut handed_over) = (0, 0);
        while let Ok(lot) = lines.try_recv() {
            bytes += lot.bytes.len();
            handed_over += lot.count;
            assert_eq!(
                lot.bytes.iter().filter(|b| **b == b'\n').count() as u64,
                lot.count
            );
        }
        assert!(
            bytes <= LOTS_PER_CORE * (HANDED_OVER_BYTES + 1_024),
            "{bytes}"
        );
        let dropped = counts.dropped.load(Ordering::Relaxed);
        assert!(dropped > 0);
        assert_eq!(handed_over + dropped, made);
    }

    #[test]
    fn a_few_lines_are_handed_over_when_their_core_says_so_and_when_it_ends() {
        let settings = settings();
        let (sink, mut lines) = AccessSink::new(&settings, 1);
        let core = AccessLines::new(&sink);
        core.add(&line(), Format::Combined);
        assert!(lines.try_recv().is_err());
        core.hand_over();
        assert_eq!(lines.try_recv().unwrap().count, 1);
        core.add(&line(), Format::Json);
        drop(core);
        assert_eq!(lines.try_recv().unwrap().count, 1);
        settings.publish(None);
        assert_eq!(AccessLines::new(&sink).format(), None);
    }
}
