//! The one thread that writes the access log.
//!
//! It is a thread of its own, which nobody waits for, because whoever reads standard output may never do so.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use weir_core::logs::Rotation;

use super::rotate::{RotatingFile, Written};
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
        let Some(settings) = settings.as_ref() else {
            // It was switched off since.
            self.counts.written.fetch_add(lot.count, Ordering::Relaxed);
            return;
        };
        let written = self.write(settings, lot);
        let count = written.lines.min(lot.count);
        self.counts.written.fetch_add(count, Ordering::Relaxed);
        let lost = lot.count - count;
        self.counts.dropped.fetch_add(lost, Ordering::Relaxed);
        if let Some(error) = written.error {
            self.complain(
                &error,
                "the access log cannot be written; its lines are lost",
            );
        } else if let Some(error) = written.rotation_error {
            self.complain(
                &error,
                "the access log or a file before it cannot be set aside",
            );
        }
    }

    fn write(&mut self, settings: &AccessLog, lot: &Lines) -> Written {
        let written = match &settings.output {
            Output::File(path) => self.write_file(path, settings, &lot.bytes),
            Output::Stdout => {
                self.open = None;
                let mut out = io::stdout().lock();
                let done = out.write_all(&lot.bytes).and_then(|()| out.flush());
                done.map(|()| Written {
                    lines: lot.count,
                    ..Written::default()
                })
            }
        };
        written.unwrap_or_else(|error| Written {
            error: Some(error),
            ..Written::default()
        })
    }

    fn write_file(
        &mut self,
        path: &Path,
        settings: &AccessLog,
        bytes: &[u8],
    ) -> io::Result<Written> {
        let rotation = Rotation {
            bytes_max: settings.bytes_max,
            files_max: settings.files_max,
        };
        let file = match self.open.take() {
            Some((open, file)) if open == path => file,
            _ => RotatingFile::open(path, rotation)?,
        };
        let (_, file) = self.open.insert((path.to_owned(), file));
        file.configure(rotation);
        Ok(file.write_lines(bytes))
    }

    fn complain(&mut self, error: &io::Error, what: &'static str) {
        let is_due = self
            .complained
            .is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL);
        if is_due {
            self.complained = Some(Instant::now());
            tracing::warn!(%error, "{what}");
        }
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn of_a_lot_only_what_finds_no_room_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        std::fs::create_dir(folder.path().join("one.1")).unwrap();
        let settings = to(&path).map(|log| AccessLog {
            bytes_max: 4,
            ..log
        });
        let (sink, _lines) = AccessSink::new(&Snapshot::new(settings), 1);
        let lot = Lines {
            bytes: b"aaa\nbbb\nccc\n".to_vec(),
            count: 3,
        };
        Writer::new(&sink).take(&lot);
        let counts = sink.counts();
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((of(&counts.written), of(&counts.dropped)), (2, 1));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "aaa\nbbb\n");
    }
}
