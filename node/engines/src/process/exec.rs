//! `weir engine-exec`: the last step before the program. It sees to it that the program dies with its guard.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};

use super::proc::pid_of;

/// Becomes the program, which may have `open_files` files open, as many as this process if nothing is said. Comes
/// back only when that fails, and then has told the guard why, over standard input.
///
/// A program that gains privileges when it is run (set-user-ID) drops the signal; it outlives a guard that is killed.
///
/// # Errors
/// Why the program could not be run.
pub fn exec(
    guard_pid: u32,
    open_files: Option<u64>,
    program: &OsString,
    arguments: &[OsString],
) -> io::Error {
    match try_exec(guard_pid, open_files, program, arguments) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_exec(
    guard_pid: u32,
    open_files: Option<u64>,
    program: &OsString,
    arguments: &[OsString],
) -> io::Result<std::convert::Infallible> {
    // It closes when the program is run, by which the guard knows.
    let mut guard = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A guard that died before this line sends no signal any more.
    if getppid() != pid_of(guard_pid) {
        return Err(io::Error::other("the guard is gone"));
    }
    if let Some(most) = open_files {
        let limit = getrlimit(Resource::Nofile);
        let current = Some(limit.maximum.map_or(most, |maximum| most.min(maximum)));
        setrlimit(Resource::Nofile, Rlimit { current, ..limit })?;
    }
    let error = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .exec();
    guard.write_all(&error.raw_os_error().unwrap_or_default().to_ne_bytes())?;
    Err(error)
}
