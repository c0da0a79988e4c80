//! An engine's processes, all of them descendants of the guard: who loses its parent becomes the guard's own child.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, getpgid, getpid, kill_process,
    kill_process_group, wait, waitid, waitpid,
};

use crate::process::proc;

/// The program and whatever it started.
#[derive(Debug)]
pub(super) struct Family {
    /// The program; the guard lets it be a zombie to the end, so that its number and its group's stay taken.
    program: Pid,
}

/// What there is of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// How the program ended, if it did.
    pub(super) code: Option<i64>,
    /// Whether something else runs.
    pub(super) others: bool,
}

impl Family {
    pub(super) fn of(program: Pid) -> Self {
        Self { program }
    }

    /// Buries the dead and says who is left.
    pub(super) fn look(&self) -> io::Result<Left> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = waitid(WaitId::Pid(self.program), options)?;
        while self.bury_adopted()? {}
        Ok(Left {
            code: ended.map(|status| code_of(&status)),
            others: !self.adopted()?.is_empty(),
        })
    }

    fn bury_adopted(&self) -> io::Result<bool> {
        let mut buried = false;
        for pid in self.adopted()? {
            buried |= waitpid(Some(pid), WaitOptions::NOHANG)?.is_some();
        }
        Ok(buried)
    }

    /// Children other than the program.
    fn adopted(&self) -> io::Result<Vec<Pid>> {
        Ok(children()?
            .into_iter()
            .filter(|pid| *pid != self.program)
            .collect())
    }

    /// Sends a signal to the program's group, and to those that left it and lost their parent.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        // An empty group, or one that may not be signalled, is no reason to spare the others.
        let _ = kill_process_group(self.program, signal);
        for pid in self.adopted()? {
            if getpgid(Some(pid)).is_ok_and(|group| group != self.program) {
                let _ = kill_process(pid, signal);
            }
        }
        Ok(())
    }

    /// Buries the program; whether nobody else is left, of whom [`Family::look`] may have seen nothing.
    pub(super) fn bury_program(&self) -> io::Result<bool> {
        waitpid(Some(self.program), WaitOptions::NOHANG)?;
        Ok(matches!(wait(WaitOptions::NOHANG), Err(Errno::CHILD)))
    }
}

/// By how it ended: its code, or 128 and the signal's number.
fn code_of(status: &WaitIdStatus) -> i64 {
    let by_signal = status
        .terminating_signal()
        .map(|signal| 128 + i64::from(signal));
    let code = status.exit_status().map(i64::from);
    code.or(by_signal).unwrap_or_default()
}

fn children() -> io::Result<Vec<Pid>> {
    let me = getpid().as_raw_pid();
    // Some kernels are built without this file.
    let numbers: Vec<i32> = match fs::read_to_string(format!("/proc/self/task/{me}/children")) {
        Ok(text) => text
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect(),
        Err(_) => {
            let all = proc::all()?;
            all.iter()
                .filter(|one| one.parent == me)
                .map(|one| one.pid)
                .collect()
        }
    };
    Ok(numbers.into_iter().filter_map(Pid::from_raw).collect())
}
