//! The one thread that writes the access log.
//!
//! It is a thread of its own, which nobody waits for, because whoever reads standard output may never do so.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::rotate::RotatingFile;
use crate::config::{AccessLog, Output};
use crate::snapshot::Snapshot;
use crate::telemetry::access::{AccessCounts, AccessSink, Lines};
use crate::wiring::Wired;

/// Between two words about a file that cannot be written.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// Starts the thread; what it returns is there when the last line is written.
///
/// # Errors
/// When the system refuses a thread.
pub fn start(wired: &mut Wired) -> io::Result<Option<oneshot::Receiver<()>>> {
    let Some(lines) = wired.access_lines.take() else {
        return Ok(None);
    };
    let writer = Writer::new(&wired.core_parts.access_log);
    let (done, written) = oneshot::channel();
    #[expect(
        clippy::disallowed_methods,
        reason = "standard output may never be read"
    )]
    std::thread::Builder::new()
        .name("access-log".to_owned())
        .spawn(move || {
            writer.run(lines);
            let _ = done.send(());
        })?;
    Ok(Some(written))
}

struct Writer {
    settings: Snapshot<Option<AccessLog>>,
    counts: Arc<AccessCounts>,
    open: Option<(PathBuf, RotatingFile)>,
    complained: Option<Instant>,
}

impl Writer {
    fn new(sink: &AccessSink) -> Self {
        Self {
            settings: sink.settings(),
            counts: sink.counts(),
            open: None,
            complained: None,
        }
    }

    fn run(mut self, mut lines: mpsc::Receiver<Lines>) {
        while let Some(lot) = lines.blocking_recv() {
            self.take(&lot);
        }
    }

    fn take(&mut self, lot: &Lines) {
        let settings = self.settings.load();
        let written = match settings.as_ref() {
            Some(settings) => self.write(settings, &lot.bytes),
            // It was switched off since.
            None => Ok(()),
        };
        let counter = match &written {
            Ok(()) => &self.counts.written,
            Err(_) => &self.counts.dropped,
        };
        counter.fetch_add(lot.count, Ordering::Relaxed);
        if let Err(error) = written {
            self.complain(&error);
        }
    }

    fn write(&mut self, settings: &AccessLog, bytes: &[u8]) -> io::Result<()> {
        let Output::File(path) = &settings.output else {
            self.open = None;
            let mut out = io::stdout().lock();
            return out.write_all(bytes).and_then(|()| out.flush());
        };
        let (bytes_max, files_max) = (settings.bytes_max, settings.files_max);
        let file = match self.open.take() {
            Some((open, file)) if open == *path => file,
            _ => RotatingFile::open(path, bytes_max, files_max)?,
        };
        let (_, file) = self.open.insert((path.clone(), file));
        file.configure(bytes_max, files_max);
        file.write_lines(bytes)
    }

    fn complain(&mut self, error: &io::Error) {
        let is_due = self
            .complained
            .is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL);
        if is_due {
            self.complained = Some(Instant::now());
            tracing::warn!(%error, "the access log cannot be written; its lines are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use weir_core::access_log::Format;

    use super::*;

    fn to(path: &Path) -> Option<AccessLog> {
        Some(AccessLog {
            output: Output::File(path.to_owned()),
            format: Format::Json,
            bytes_max: 1 << 20,
            files_max: 2,
        })
    }

    fn lot(text: &str) -> Lines {
        Lines {
            bytes: text.as_bytes().to_vec(),
            count: 1,
        }
    }

    #[test]
    fn lines_go_where_the_configuration_says_as_it_changes_and_what_is_lost_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let settings = Snapshot::new(to(&one));
        let (sink, _lines) = AccessSink::new(&settings, 1);
        let mut writer = Writer::new(&sink);
        writer.take(&lot("a\n"));
        settings.publish(to(&two));
        writer.take(&lot("b\n"));
        settings.publish(to(&folder.path().join("none/three")));
        writer.take(&lot("c\n"));
        settings.publish(to(&one));
        writer.take(&lot("d\n"));
        let text = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!((&*text(&one), &*text(&two)), ("a\nd\n", "b\n"));
        let counts = sink.counts();
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((of(&counts.written), of(&counts.dropped)), (3, 1));
    }
}
