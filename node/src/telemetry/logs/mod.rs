//! Structured logs: on standard error; in memory, and in a file where one is configured.
//!
//! Whoever writes a line waits for nobody, neither for the disk nor for whoever reads standard error: a line goes into
//! bounded queues, and what finds no room is counted. One task takes lines, has them written and keeps the newest; one
//! thread (`stderr`) writes them to standard error.

mod capture;
mod counts;
mod decode;
mod file;
mod find;
mod kept;
mod read;
mod stderr;
#[cfg(test)]
mod tests;
mod traced;
mod tuning;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

pub use self::capture::Capture;
pub use self::counts::LogCounts;
pub use self::file::{LogFile, LogFiles};
pub use self::find::{Found, Page};
pub use self::read::SCAN_BYTES_MAX;
pub(crate) use self::stderr::{flush as flush_stderr, say_last};
pub(crate) use self::traced::{InTrace, in_trace};
pub use self::tuning::LogTuning;

use self::capture::Line;
use self::find::Cache;
use self::kept::Kept;
use self::stderr::StderrLines;
use self::traced::WithTrace;
use crate::ports::clock::WallClock;

/// Lines that may wait for the task.
const WAITING_MAX: usize = 8_192;
/// Answers that are read from files at a time.
const READS_MAX: usize = 2;
/// Lines that are written together.
const TOGETHER_MAX: usize = 1_024;

/// What lets levels change while the process runs.
type Reload = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// The lines of this process, for whoever reads them. Cheap to clone.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    clock: WallClock,
    counts: Arc<LogCounts>,
    /// Until [`Logs::begin`].
    queue: Mutex<Option<mpsc::Receiver<Line>>>,
    kept: tokio::sync::Mutex<Kept>,
    /// The number of the last line that is kept.
    news: watch::Sender<u64>,
    files: Mutex<Option<LogFiles>>,
    cache: Cache,
    /// Files that are read at a time; writing them has threads left.
    reads: Arc<Semaphore>,
    levels: Option<(String, Reload)>,
}

/// Starts logging on standard error; `filter` as in `RUST_LOG`, for example `info,weir_node=debug`.
///
/// Lines are JSON when `json` is set, otherwise text for people.
///
/// # Errors
/// When the system refuses the thread that writes them.
pub fn start(filter: &str, json: bool) -> io::Result<()> {
    start_kept(filter, json).map(drop)
}

/// The same, and keeps lines for [`Logs::begin`].
///
/// # Errors
/// As [`start`].
pub fn start_kept(filter: &str, json: bool) -> io::Result<Logs> {
    let parsed = EnvFilter::try_new(filter);
    let base = if parsed.is_ok() { filter } else { "info" };
    let parsed = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(parsed);
    let reload: Reload = Box::new(move |filter| handle.reload(filter));
    let (logs, capture) = Logs::with(WallClock::system(), Some((base.to_owned(), reload)));
    let stderr = StderrLines::start(&logs.0.counts)?;
    let all = tracing_subscriber::registry().with(filter);
    // A second start, as in tests, changes nothing.
    let _ = match json {
        true => all.with(capture.also_to(Some(stderr))).try_init(),
        false => {
            let ansi = io::stderr().is_terminal();
            let format = tracing_subscriber::fmt::format().with_target(false);
            let lines = tracing_subscriber::fmt::layer()
                .with_ansi(ansi)
                .event_format(WithTrace(format.with_ansi(ansi)))
                .with_writer(stderr);
            all.with(lines).with(capture).try_init()
        }
    };
    Ok(logs)
}

impl Logs {
    /// Lines of whoever writes to the capture.
    pub fn new(clock: WallClock) -> (Self, Capture) {
        Self::with(clock, None)
    }

    /// No lines: for processes whose lines nobody reads.
    pub fn off(clock: WallClock) -> Self {
        Self::new(clock).0
    }

    fn with(clock: WallClock, levels: Option<(String, Reload)>) -> (Self, Capture) {
        let (sender, queue) = mpsc::channel(WAITING_MAX);
        let counts = Arc::<LogCounts>::default();
        let capture = Capture::new(sender, Arc::clone(&counts), clock);
        let logs = Self(Arc::new(Inner {
            clock,
            counts,
            queue: Mutex::new(Some(queue)),
            kept: tokio::sync::Mutex::default(),
            news: watch::Sender::new(0),
            files: Mutex::new(None),
            cache: Cache::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            levels,
        }));
        (logs, capture)
    }

    /// What became of lines.
    pub fn counts(&self) -> &LogCounts {
        &self.0.counts
    }

    /// Where lines are in files, if they are.
    pub fn files(&self) -> Option<LogFiles> {
        self.0.files.lock().clone()
    }

    /// Takes lines from the queue from now on, and writes them to the files. The second call has none to take.
    pub fn begin(&self, files: Option<LogFiles>) -> impl Future<Output = ()> + use<> {
        self.0.files.lock().clone_from(&files);
        let queue = self.0.queue.lock().take();
        let mut file = files.map(LogFile::new);
        // What is in the file by now is before the first line, for who follows.
        let position = file.as_mut().and_then(LogFile::position);
        if let Ok(mut kept) = self.0.kept.try_lock() {
            kept.put(Vec::new(), position);
        }
        let logs = self.clone();
        async move {
            if let Some(queue) = queue {
                logs.take(queue, file).await;
            }
        }
    }

    async fn take(&self, mut queue: mpsc::Receiver<Line>, mut file: Option<LogFile>) {
        let mut lines = Vec::with_capacity(TOGETHER_MAX);
        while queue.recv_many(&mut lines, TOGETHER_MAX).await > 0 {
            let mut taken = std::mem::take(&mut lines);
            let bytes: usize = taken.iter().map(|line| line.text().len()).sum();
            self.0.counts.left_queue(bytes);
            let mut position = None;
            if let Some(mut open) = file.take() {
                let counts = Arc::clone(&self.0.counts);
                let write = move || {
                    let position = open.write(taken.iter().map(Line::text), &counts);
                    (open, taken, position)
                };
                // One that panicked is not written to any more; lines stay in memory.
                let Ok(written) = tokio::task::spawn_blocking(write).await else {
                    continue;
                };
                let (open, lines, written_to) = written;
                (file, taken, position) = (Some(open), lines, written_to);
            }
            let last = self.0.kept.lock().await.put(taken, position);
            self.0.news.send_replace(last);
        }
    }

    /// Waits until everything that was written before is kept, but not for long.
    pub async fn flush(&self, limit: Duration) {
        let wanted = self.0.counts.queued();
        let mut news = self.0.news.subscribe();
        let _ = timeout(limit, news.wait_for(|done| *done >= wanted)).await;
    }

    /// Applies levels of modules on top of those that the process began with, now and after each change.
    pub async fn follow_levels(self, mut levels: watch::Receiver<Vec<String>>) {
        loop {
            let more = levels.borrow_and_update().clone();
            if let Some((base, reload)) = &self.0.levels
                && let Err(error) = apply(base, &more, reload)
            {
                tracing::warn!(%error, levels = more.join(","), "these log levels cannot be applied");
            }
            if levels.changed().await.is_err() {
                return;
            }
        }
    }
}

fn apply(base: &str, more: &[String], reload: &Reload) -> Result<(), String> {
    let all: Vec<&str> = std::iter::once(base)
        .chain(more.iter().map(String::as_str))
        .collect();
    let filter = EnvFilter::try_new(all.join(",")).map_err(|error| error.to_string())?;
    reload(filter).map_err(|error| error.to_string())
}
