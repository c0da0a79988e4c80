//! `weir engine-guard`: one engine's own watchman. It starts the program, writes down what it says, and ends all of it
//! when it is told to, when the program ends, or when the node is gone.

mod family;
mod files;
mod lines;
mod output;
mod spoken;

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, set_child_subreaper, setsid};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use self::family::Family;
use self::files::Files;
use self::output::write_down;
use self::spoken::Node;
use super::folder::EngineFolder;
use super::proc::pid_of;
use super::wire::{Job, Order, Report};

/// Between looks while everything is being killed.
const KILL_INTERVAL: Duration = Duration::from_millis(20);
/// How long the last lines may take to get to the disk.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(2);
/// The exit code when the program could not be run.
const NOT_RUN: u8 = 127;

/// Guards one engine, which is told over standard input, and gives the program's exit code.
///
/// # Errors
/// When the system refuses what a guard needs. What was started by then dies with this process.
pub fn guard() -> io::Result<u8> {
    // The session has this process's number, by which all of the engine is found should this process be killed.
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(run());
    // A disk that hangs must not keep a guard that is done.
    runtime.shutdown_background();
    code
}

async fn run() -> io::Result<u8> {
    let mut node = Node::new()?;
    let Some(job) = node.job().await? else {
        return Ok(0);
    };
    let parts = match Parts::of(&job) {
        Ok(parts) => parts,
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or_default();
            node.tell(&Report::Failed { errno }).await;
            return Ok(NOT_RUN);
        }
    };
    let mut guard = Guard::new(parts, &job, node);
    let code = guard.until_all_is_gone().await?;
    guard.last_word(code).await
}

/// How far an engine's end has come.
#[derive(Clone, Copy)]
enum Phase {
    Running,
    /// Asked to end.
    Ending {
        kill_at: Instant,
    },
    Killing,
}

struct Guard {
    node: Node,
    family: Family,
    program: u32,
    phase: Phase,
    grace: Duration,
    /// Closes when the program runs; before, it says why it does not. `None` once that is known.
    exec: Option<UnixStream>,
    ran: bool,
    lost: watch::Receiver<u64>,
    writing: JoinHandle<String>,
    child: Signals,
    terminate: Signals,
    interrupt: Signals,
}

impl Guard {
    fn new(parts: Parts, job: &Job, node: Node) -> Self {
        let (lost_sender, lost) = watch::channel(0);
        let files = Files::new(EngineFolder::at(job.folder.clone()));
        Self {
            node,
            family: Family::of(parts.program),
            program: parts.program.as_raw_pid().unsigned_abs(),
            phase: Phase::Running,
            grace: Duration::from_millis(job.grace_ms),
            exec: Some(parts.exec),
            ran: false,
            lost,
            writing: tokio::spawn(write_down(parts.output, files, lost_sender)),
            child: parts.child,
            terminate: parts.terminate,
            interrupt: parts.interrupt,
        }
    }

    /// Gives the program's code.
    async fn until_all_is_gone(&mut self) -> io::Result<i64> {
        loop {
            let left = self.family.look()?;
            if let Some(code) = left.code
                && !left.others
                && self.family.bury_program()?
            {
                return Ok(code);
            }
            if left.code.is_some() {
                self.end(self.grace)?;
            }
            let look_again = match self.phase {
                Phase::Ending { kill_at } if Instant::now() >= kill_at => {
                    self.phase = Phase::Killing;
                    continue;
                }
                Phase::Killing => {
                    self.family.signal(Signal::KILL)?;
                    Some(Instant::now() + KILL_INTERVAL)
                }
                Phase::Ending { kill_at } => Some(kill_at),
                Phase::Running => None,
            };
            self.wait(look_again).await?;
        }
    }

    async fn wait(&mut self, look_again: Option<Instant>) -> io::Result<()> {
        tokio::select! {
            biased;
            _ = self.child.recv() => {}
            order = self.node.order() => match order {
                Some(Order::Stop { grace_ms }) => self.end(Duration::from_millis(grace_ms))?,
                None => self.end(self.grace)?,
            },
            _ = self.terminate.recv() => self.end(self.grace)?,
            _ = self.interrupt.recv() => self.end(self.grace)?,
            failed = failure(&mut self.exec), if self.exec.is_some() => self.say_whether_it_runs(failed).await,
            Ok(()) = self.lost.changed() => {
                let total = *self.lost.borrow_and_update();
                self.node.mention(&Report::LinesLost(total));
            }
            () = sleep_until(look_again.unwrap_or_else(Instant::now)), if look_again.is_some() => {}
        }
        Ok(())
    }

    /// Asks everything to end within `grace`; a shorter one than before counts.
    fn end(&mut self, grace: Duration) -> io::Result<()> {
        let soon = Instant::now() + grace;
        self.phase = match self.phase {
            Phase::Running => {
                self.family.signal(Signal::TERM)?;
                Phase::Ending { kill_at: soon }
            }
            Phase::Ending { kill_at } => Phase::Ending {
                kill_at: kill_at.min(soon),
            },
            Phase::Killing => Phase::Killing,
        };
        Ok(())
    }

    async fn say_whether_it_runs(&mut self, failed: Option<i32>) {
        self.exec = None;
        self.ran = failed.is_none();
        let report = match failed {
            Some(errno) => Report::Failed { errno },
            None => Report::Started { pid: self.program },
        };
        self.node.tell(&report).await;
    }

    async fn last_word(mut self, code: i64) -> io::Result<u8> {
        if self.exec.is_some() {
            let failed = failure(&mut self.exec).await;
            self.say_whether_it_runs(failed).await;
        }
        let last_line = timeout(LAST_LINES_TIMEOUT, &mut self.writing).await;
        if self.ran {
            let last_line = last_line.ok().and_then(Result::ok).unwrap_or_default();
            self.node.tell(&Report::Ended { code, last_line }).await;
        }
        Ok(u8::try_from(code).unwrap_or(NOT_RUN))
    }
}

/// Why the program was not run; `None` when it was.
async fn failure(exec: &mut Option<UnixStream>) -> Option<i32> {
    let mut errno = [0; 4];
    let read = exec.as_mut()?.read_exact(&mut errno).await;
    read.ok().map(|_| i32::from_ne_bytes(errno))
}

/// What a guard is made of, whatever can fail about it.
struct Parts {
    program: Pid,
    exec: UnixStream,
    output: pipe::Receiver,
    child: Signals,
    terminate: Signals,
    interrupt: Signals,
}

impl Parts {
    fn of(job: &Job) -> io::Result<Self> {
        // Before there is anything whose end could be missed.
        let child = signal(SignalKind::child())?;
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let (output, written) = io::pipe()?;
        let (exec, its_exec) = StdUnixStream::pair()?;
        exec.set_nonblocking(true)?;
        Ok(Self {
            exec: UnixStream::from_std(exec)?,
            output: pipe::Receiver::from_owned_fd(output.into())?,
            program: spawn(job, its_exec, written)?,
            child,
            terminate,
            interrupt,
        })
    }
}

/// Starts the program through this binary, which ties it to this thread's life: to that of the process.
fn spawn(job: &Job, exec: StdUnixStream, written: io::PipeWriter) -> io::Result<Pid> {
    let errors = written.as_fd().try_clone_to_owned()?;
    // The file may have been replaced since this process was started from it.
    let child = Command::new("/proc/self/exe")
        .arg0("weir")
        .arg("engine-exec")
        .args(["--guard", &getpid().as_raw_pid().to_string()])
        .args(job.open_files.map(|most| format!("--open-files={most}")))
        .arg("--")
        .args(&job.command)
        .env_clear()
        .envs(&job.env)
        .stdin(std::os::fd::OwnedFd::from(exec))
        .stdout(written)
        .stderr(Stdio::from(errors))
        .process_group(0)
        .spawn()?;
    pid_of(child.id()).ok_or_else(|| io::Error::other("a process without a number"))
}
