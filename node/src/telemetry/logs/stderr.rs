//! The way of lines to standard error. Whoever writes one never waits: a terminal that is held or a journal that hangs
//! takes nothing for as long as it likes, and lines are written by cores as well.
//!
//! Lines go into a bounded queue, and one thread writes them. What finds no room is dropped, counted, and told once
//! standard error takes lines again.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

use super::counts::LogCounts;

/// Lines that may wait, with those that are being written.
const LINES_MAX: usize = 8_192;
/// Their bytes.
const BYTES_MAX: usize = 4 << 20;
/// The wait after standard error took nothing, where it is not one that waits itself.
const RETRY: Duration = Duration::from_millis(10);
/// How long the last lines of a process may take.
const LAST_LINES_TIMEOUT: Duration = Duration::from_millis(500);

/// The one of this process, once it logs.
static OF_PROCESS: OnceLock<StderrLines> = OnceLock::new();

/// Where lines for standard error are handed in. Cheap to clone.
#[derive(Clone)]
pub(super) struct StderrLines(Arc<Inner>);

struct Inner {
    waiting: Mutex<Waiting>,
    /// Something waits, or something was written.
    changed: Condvar,
    counts: Arc<LogCounts>,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    lines: usize,
    /// Lines that are being written, and their bytes.
    writing: (usize, usize),
    handed_in: u64,
    written: u64,
}

impl StderrLines {
    fn new(counts: Arc<LogCounts>) -> Self {
        Self(Arc::new(Inner {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            counts,
        }))
    }

    /// Begins to write lines of this process to its standard error; panics as well go this way from now on.
    #[expect(
        clippy::disallowed_methods,
        reason = "a write to standard error may never return, and nothing waits for it"
    )]
    pub(super) fn start(counts: &Arc<LogCounts>) -> io::Result<Self> {
        let lines = Self::new(Arc::clone(counts));
        let writer = lines.clone();
        let thread = std::thread::Builder::new().name("stderr".to_owned());
        thread.spawn(move || writer.write_all(write_once))?;
        if OF_PROCESS.set(lines.clone()).is_ok() {
            let panicking = lines.clone();
            std::panic::set_hook(Box::new(move |panic| panicking.hand_in(&told(panic))));
        }
        Ok(lines)
    }

    /// Takes a line with its end, if there is room.
    pub(super) fn hand_in(&self, line: &[u8]) {
        let mut waiting = self.0.waiting.lock();
        let (lines, bytes) = waiting.writing;
        let lines = lines + waiting.lines + 1;
        let bytes = bytes + waiting.text.len() + line.len();
        match lines <= LINES_MAX && bytes <= BYTES_MAX {
            true => self.put(&mut waiting, line),
            false => self.0.counts.not_on_stderr(1),
        }
    }

    /// Takes the last line of a process, whatever waits already.
    fn hand_in_last(&self, line: &[u8]) {
        self.put(&mut self.0.waiting.lock(), line);
    }

    fn put(&self, waiting: &mut Waiting, line: &[u8]) {
        waiting.text.extend_from_slice(line);
        waiting.lines += 1;
        waiting.handed_in += 1;
        self.0.changed.notify_all();
    }

    /// Waits until all that was handed in before is written, but not for long; false if it is not.
    fn flush(&self, limit: Duration) -> bool {
        let mut waiting = self.0.waiting.lock();
        let wanted = waiting.handed_in;
        let is_open = |waiting: &mut Waiting| waiting.written < wanted;
        let waited = self.0.changed.wait_while_for(&mut waiting, is_open, limit);
        !waited.timed_out()
    }

    /// Writes what waits for as long as the process runs.
    fn write_all(&self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) {
        let mut told = 0;
        loop {
            let (text, lines) = self.take();
            let is_written = write_whole(&text, &mut write).is_ok();
            if !is_written {
                self.0.counts.not_on_stderr(lines as u64);
            }
            self.wrote(lines);
            let dropped = self.0.counts.stderr_dropped();
            if is_written && dropped > told {
                let lines = dropped - std::mem::replace(&mut told, dropped);
                tracing::warn!(lines, "standard error took no lines; some are left out");
            }
        }
    }

    /// All that waits, and how many lines that is.
    fn take(&self) -> (Vec<u8>, usize) {
        let mut waiting = self.0.waiting.lock();
        let is_idle = |waiting: &mut Waiting| waiting.lines == 0;
        self.0.changed.wait_while(&mut waiting, is_idle);
        let text = std::mem::take(&mut waiting.text);
        let lines = std::mem::take(&mut waiting.lines);
        waiting.writing = (lines, text.len());
        (text, lines)
    }

    fn wrote(&self, lines: usize) {
        let mut waiting = self.0.waiting.lock();
        waiting.writing = (0, 0);
        waiting.written += lines as u64;
        self.0.changed.notify_all();
    }
}

/// Says something on standard error in the order of log lines, or at once in a process that does not log.
pub(crate) fn say_last(text: &str) {
    let line = format!("{text}\n");
    match OF_PROCESS.get() {
        Some(lines) => lines.hand_in_last(line.as_bytes()),
        // Whoever read it may be gone.
        None => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// Waits until what was said is on standard error, but not for long: for who ends the process.
pub(crate) fn flush() {
    if let Some(lines) = OF_PROCESS.get() {
        lines.flush(LAST_LINES_TIMEOUT);
    }
}

/// What the standard library says of a panic.
fn told(panic: &std::panic::PanicHookInfo<'_>) -> Vec<u8> {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let trace = std::backtrace::Backtrace::capture();
    let trace = match trace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("{trace}\n"),
        _ => String::new(),
    };
    format!("\nthread '{name}' {panic}\n{trace}").into_bytes()
}

/// Past the lock of the standard library's own standard error, which whoever waits for a write would hold.
fn write_once(text: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(io::stderr(), text)?)
}

fn write_whole(
    mut text: &[u8],
    write: &mut impl FnMut(&[u8]) -> io::Result<usize>,
) -> io::Result<()> {
    while !text.is_empty() {
        match write(text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => text = &text[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody who shares it has made it one that does not wait.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One line in the making; the layer that makes it writes it at once.
pub(super) struct OneLine<'a>(&'a StderrLines);

impl Write for OneLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.hand_in(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for StderrLines {
    type Writer = OneLine<'a>;

    fn make_writer(&'a self) -> OneLine<'a> {
        OneLine(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Lines whose thread writes what it is let, and tells what it wrote.
    fn held() -> (
        StderrLines,
        mpsc::SyncSender<io::Result<()>>,
        mpsc::Receiver<Vec<u8>>,
    ) {
        let lines = StderrLines::new(Arc::default());
        let (let_one, may) = mpsc::sync_channel::<io::Result<()>>(100);
        let (told, written) = mpsc::channel();
        let writer = lines.clone();
        #[expect(clippy::disallowed_methods, reason = "a write that waits")]
        std::thread::spawn(move || {
            writer.write_all(|text| {
                may.recv()
                    .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
                let _ = told.send(text.to_vec());
                Ok(text.len())
            });
        });
        (lines, let_one, written)
    }

    #[test]
    fn what_finds_no_room_while_nobody_reads_is_counted_and_who_writes_never_waits() {
        let (lines, let_one, written) = held();
        for _ in 0..LINES_MAX + 10 {
            lines.hand_in(b"line\n");
        }
        assert_eq!(lines.0.counts.stderr_dropped(), 10);
        assert!(!lines.flush(Duration::from_millis(1)));
        lines.hand_in_last(b"last\n");
        let_one.send(Ok(())).unwrap();
        let_one.send(Ok(())).unwrap();
        assert!(lines.flush(Duration::from_secs(20)));
        let text: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(text.len(), (LINES_MAX + 1) * 5);
        assert!(text.ends_with(b"line\nlast\n"));
        lines.hand_in(b"line\n");
        assert_eq!(lines.0.counts.stderr_dropped(), 10);
    }

    #[test]
    fn lines_that_wait_are_bounded_in_bytes_with_those_that_are_being_written() {
        let (lines, _let_one, _written) = held();
        for _ in 0..5 {
            lines.hand_in(&vec![b'x'; 1 << 20]);
        }
        assert_eq!(lines.0.counts.stderr_dropped(), 1);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_next_ones_are() {
        let (lines, let_one, written) = held();
        lines.hand_in(b"lost\n");
        let_one.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        assert!(lines.flush(Duration::from_secs(20)));
        assert_eq!(lines.0.counts.stderr_dropped(), 1);
        lines.hand_in(b"told\n");
        for moment in [Err(io::ErrorKind::WouldBlock.into()), Ok(())] {
            let_one.send(moment).unwrap();
        }
        assert!(lines.flush(Duration::from_secs(20)));
        assert_eq!(written.try_iter().collect::<Vec<_>>(), [b"told\n"]);
    }
}
