//! The node's side of one guard: a task that starts it, hears it, passes orders on and buries it.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::News;
use super::folder::{EngineFolder, Trace};
use super::leftover::{blocking, sweep};
use super::proc;
use super::wire::{Job, Order, Report, line_of, message_in};
use crate::driver::{Ended, LinesLost};

/// What a guard may need beyond the grace of its engine.
pub(super) const GUARD_MARGIN: Duration = Duration::from_secs(3);
/// Between attempts to end what does not end.
const AGAIN_INTERVAL: Duration = Duration::from_secs(1);
/// The code of a program that was killed with its guard: 128 and SIGKILL.
const KILLED: i64 = 128 + 9;

/// What is known of an engine.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The program's process, once it runs and can be found again.
    pub(super) pid: Option<u32>,
    /// The start is over: it ran long enough to count as started.
    pub(super) is_settled: bool,
    /// Why the program could not be run: the system's number.
    pub(super) errno: Option<i32>,
    /// How it ended.
    pub(super) code: Option<i64>,
    /// What it wrote last before it ended.
    pub(super) last_line: String,
    /// Nothing of it is left.
    pub(super) is_gone: bool,
}

/// What a keeper is made of.
pub(super) struct Keeper {
    pub(super) name: String,
    pub(super) fence: u64,
    pub(super) folder: EngineFolder,
    pub(super) settle: Duration,
    pub(super) orphan_grace: Duration,
    pub(super) orders: mpsc::Receiver<Duration>,
    pub(super) known: watch::Sender<Known>,
    pub(super) news: News,
    /// As many as were told.
    pub(super) lines_lost: u64,
}

/// A guard's process with both ends of the talk.
pub(super) struct Guard {
    child: Child,
    /// The guard ends its engine when this closes.
    stdin: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
    pid: i32,
    start_ticks: u64,
}

impl Guard {
    /// # Errors
    /// When it cannot be started.
    pub(super) fn spawn(weir: &Path, name: &str) -> io::Result<Self> {
        let mut child = Command::new(weir)
            .args(["engine-guard", "--name", name])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let missing = || io::Error::other("a guard without a number or without pipes");
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(missing)?;
        let stat = proc::stat(pid).ok_or_else(missing)?;
        Ok(Self {
            stdin: child.stdin.take(),
            reports: BufReader::new(stdout).lines(),
            pid,
            start_ticks: stat.start_ticks,
            child,
        })
    }

    async fn write(&mut self, message: &impl serde::Serialize) -> io::Result<()> {
        match &mut self.stdin {
            Some(stdin) => stdin.write_all(&line_of(message)?).await,
            None => Ok(()),
        }
    }
}

impl Keeper {
    /// Keeps the guard to its end.
    pub(super) async fn run(mut self, mut guard: Guard, job: Job) {
        // A guard that dies takes no job; its end is seen below.
        let _ = timeout(GUARD_MARGIN, guard.write(&job)).await;
        self.listen(&mut guard).await;
        while !self.bury(&mut guard).await.unwrap_or(false) {
            sleep(AGAIN_INTERVAL).await;
        }
        let folder = self.folder.clone();
        let _ = blocking(move || folder.forget()).await;
        self.known.send_modify(|known| {
            known.code.get_or_insert(KILLED);
            known.is_gone = true;
        });
        let known = self.known.borrow();
        if known.is_settled {
            // Nobody may be listening.
            let _ = self.news.ends.send(Ended {
                name: self.name.clone(),
                fence: self.fence,
                code: known.code,
            });
        }
    }

    /// Until the guard says nothing more, which is when it ends.
    async fn listen(&mut self, guard: &mut Guard) {
        let mut settled_at = None;
        let mut kill_at: Option<Instant> = None;
        let mut is_wanted = true;
        let at = |deadline: Option<Instant>| sleep_until(deadline.unwrap_or_else(Instant::now));
        loop {
            tokio::select! {
                biased;
                report = guard.reports.next_line() => match report {
                    Ok(Some(line)) => if self.take(guard, &line).await {
                        settled_at = Some(Instant::now() + self.settle);
                    },
                    _ => return,
                },
                order = self.orders.recv(), if is_wanted => {
                    is_wanted = order.is_some();
                    let grace = self.pass_on(guard, order).await;
                    let latest = Instant::now() + grace + GUARD_MARGIN;
                    kill_at = Some(kill_at.map_or(latest, |before| before.min(latest)));
                }
                () = at(settled_at), if settled_at.is_some() => {
                    settled_at = None;
                    self.known.send_modify(|known| known.is_settled = known.code.is_none());
                }
                () = at(kill_at), if kill_at.is_some() => {
                    kill_at = None;
                    let _ = guard.child.start_kill();
                }
            }
        }
    }

    /// Tells the guard to end its engine, by closing the pipe when nobody wants it any more. Gives the grace.
    async fn pass_on(&self, guard: &mut Guard, order: Option<Duration>) -> Duration {
        let Some(grace) = order else {
            guard.stdin = None;
            return self.orphan_grace;
        };
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let _ = timeout(GUARD_MARGIN, guard.write(&Order::Stop { grace_ms })).await;
        grace
    }

    /// Takes a report; whether it is that of the start.
    async fn take(&mut self, guard: &Guard, line: &str) -> bool {
        match message_in(line) {
            Ok(Report::Started { pid }) => {
                self.keep_trace(guard, pid).await;
                self.known.send_modify(|known| known.pid = Some(pid));
                return true;
            }
            Ok(Report::Failed { errno }) => {
                self.known.send_modify(|known| known.errno = Some(errno))
            }
            Ok(Report::Ended { code, last_line }) => self.known.send_modify(|known| {
                known.code = Some(code);
                known.last_line = last_line;
            }),
            Ok(Report::LinesLost(total)) => {
                let count = total.saturating_sub(self.lines_lost);
                self.lines_lost = total;
                // Nobody may be listening.
                let _ = self.news.lost.send(LinesLost {
                    name: self.name.clone(),
                    count,
                });
            }
            Err(_) => {}
        }
        false
    }

    /// An engine without a trace runs as well; it is only not found after a crash of both node and guard.
    async fn keep_trace(&self, guard: &Guard, pid: u32) {
        let (name, fence, folder) = (self.name.clone(), self.fence, self.folder.clone());
        let (guard_pid, guard_start_ticks) = (guard.pid, guard.start_ticks);
        let _ = blocking(move || {
            folder.keep(&Trace {
                name,
                fence,
                boot_id: proc::boot_id()?,
                guard_pid,
                guard_start_ticks,
                group: i32::try_from(pid).map_err(io::Error::other)?,
            })
        })
        .await;
    }

    /// Kills what a killed guard left, then buries the guard; whether nothing is left. The other way round, the guard's
    /// number could belong to somebody else.
    async fn bury(&self, guard: &mut Guard) -> io::Result<bool> {
        let is_told = {
            let known = self.known.borrow();
            known.code.is_some() || known.errno.is_some()
        };
        if !is_told {
            // It said nothing of an end: it is dead, or as good as dead.
            guard.child.start_kill()?;
            if !sweep(guard.pid).await? {
                return Ok(false);
            }
        }
        let Ok(waited) = timeout(GUARD_MARGIN, guard.child.wait()).await else {
            guard.child.start_kill()?;
            return Ok(false);
        };
        waited?;
        Ok(true)
    }
}
