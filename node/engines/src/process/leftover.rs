//! What an earlier life of the node left running, or a guard that was killed.

use std::io;
use std::time::Duration;

use rustix::process::{Signal, WaitOptions, waitpid};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::folder::Trace;
use super::proc::{self, Stat, kill_exactly};

const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long what was killed may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits for the guard to end its engine, ends both when it is late, and gives whether nothing is left.
///
/// # Errors
/// When `/proc` cannot be read or something may not be killed.
pub(super) async fn end(trace: &Trace, guards_time: Duration) -> io::Result<bool> {
    if proc::boot_id()? != trace.boot_id {
        return Ok(true);
    }
    let kill_at = Instant::now() + guards_time;
    loop {
        let now = Instant::now();
        let of = trace.clone();
        if blocking(move || end_once(&of, now >= kill_at)).await? {
            return Ok(true);
        }
        if now >= kill_at + KILL_TIMEOUT {
            return Ok(false);
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Whether nothing was left; without its guard, an engine is killed.
fn end_once(trace: &Trace, guard_is_late: bool) -> io::Result<bool> {
    let guard = proc::stat(trace.guard_pid);
    let is_it = |one: &Stat| one.start_ticks == trace.guard_start_ticks;
    match guard {
        Some(guard) if is_it(&guard) && guard.is_alive() => {
            // It has lost its node and ends by itself; this is for one that has not noticed.
            let signal = if guard_is_late {
                Signal::KILL
            } else {
                Signal::TERM
            };
            kill_exactly(&guard, signal)?;
            Ok(false)
        }
        // A zombie keeps its number and that of its session.
        Some(guard) if is_it(&guard) => kill_session(trace.guard_pid),
        // Nobody gets the number of a session that has members.
        Some(_) => Ok(true),
        None => kill_group_and_session(trace),
    }
}

/// The session's number alone could be somebody else's by now; hardly that of a group in it as well.
fn kill_group_and_session(trace: &Trace) -> io::Result<bool> {
    let is_ours = |one: &Stat| {
        one.session == trace.guard_pid
            && one.group == trace.group
            && one.start_ticks >= trace.guard_start_ticks
    };
    if proc::all()?.iter().any(is_ours) {
        return kill_session(trace.guard_pid);
    }
    Ok(true)
}

/// Kills whoever is in this session but its leader; whether nobody was.
///
/// Whoever calls this knows that the number is still the guard's: it is a zombie, or a member has been seen.
///
/// # Errors
/// When `/proc` cannot be read or something may not be killed.
fn kill_session(session: i32) -> io::Result<bool> {
    let mut nobody = true;
    for one in proc::all()?
        .iter()
        .filter(|one| one.session == session && one.pid != session)
    {
        if one.is_alive() {
            nobody = false;
            kill_exactly(one, Signal::KILL)?;
        } else if let Some(pid) = rustix::process::Pid::from_raw(one.pid) {
            // Orphans are the child of this process where it is the first one of a container.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
    Ok(nobody)
}

/// Kills what a guard leaves that was killed and not waited for yet; gives whether nothing is left.
///
/// # Errors
/// As [`end`].
pub(super) async fn sweep(guard_pid: i32) -> io::Result<bool> {
    let late = Instant::now() + KILL_TIMEOUT;
    loop {
        if blocking(move || kill_session(guard_pid)).await? {
            return Ok(true);
        }
        if Instant::now() >= late {
            return Ok(false);
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Runs what waits for the disk or for `/proc` away from this thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
