//! From an engine's output to its files. Neither a slow disk nor a full one holds the engine up.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::files::Files;
use super::lines::Lines;

/// Between the beginnings of two writes: with what may wait, it bounds what a chatty engine costs the disk.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);
const READ_BYTES: usize = 64 << 10;

/// Writes down everything until the output ends, and gives the last line. `lost` tells how many lines are lost.
pub(super) async fn write_down(
    mut output: pipe::Receiver,
    files: Files,
    lost: watch::Sender<u64>,
) -> String {
    let mut lines = Lines::default();
    let mut writer = Writer::new(files);
    let mut part = vec![0; READ_BYTES];
    loop {
        writer.offer(&mut lines);
        tokio::select! {
            read = output.read(&mut part) => match read {
                Ok(bytes) if bytes > 0 => lines.push(&part[..bytes]),
                _ => break,
            },
            more = writer.progress(!lines.is_empty()) => tell(&lost, more),
        }
    }
    lines.finish();
    while !lines.is_empty() || writer.is_busy() {
        writer.next_write = Instant::now();
        writer.offer(&mut lines);
        let more = writer.progress(true).await;
        tell(&lost, more);
    }
    lines.last()
}

fn tell(lost: &watch::Sender<u64>, more: u64) {
    lost.send_if_modified(|total| {
        *total += more;
        more > 0
    });
}

/// Writes on a thread of its own, one batch after another.
struct Writer {
    idle: Option<Files>,
    busy: Option<JoinHandle<(Files, u64)>>,
    next_write: Instant,
}

impl Writer {
    fn new(files: Files) -> Self {
        Self {
            idle: Some(files),
            busy: None,
            next_write: Instant::now(),
        }
    }

    fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Takes all lines if it may write now.
    fn offer(&mut self, lines: &mut Lines) {
        if lines.is_empty() || Instant::now() < self.next_write {
            return;
        }
        if let Some(mut files) = self.idle.take() {
            let (batch, lost_before) = lines.take();
            self.next_write = Instant::now() + WRITE_INTERVAL;
            self.busy = Some(spawn_blocking(move || {
                let lost = files.append(&batch, lost_before);
                (files, lost)
            }));
        }
    }

    /// Waits until it may write again, and gives how many lines were lost by then.
    async fn progress(&mut self, wanted: bool) -> u64 {
        match &mut self.busy {
            Some(write) => {
                let written = write.await;
                self.busy = None;
                // It panics nowhere; without its files it would be deaf for good.
                let Ok((files, lost)) = written else {
                    return std::future::pending().await;
                };
                self.idle = Some(files);
                lost
            }
            None if wanted => {
                sleep_until(self.next_write).await;
                0
            }
            None => std::future::pending().await,
        }
    }
}
