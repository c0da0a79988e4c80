//! Processes as `/proc` tells of them, and killing exactly the one that was meant.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A line of `/proc/PID/stat`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: i32,
    /// As in `ps`: `Z` is a zombie.
    pub(super) state: char,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// When it started, clock ticks since the machine did. With the pid it names one process for ever.
    pub(super) start_ticks: u64,
}

impl Stat {
    /// Whether it can still do something.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The process with this number; `None` when there is none.
pub(super) fn stat(pid: i32) -> Option<Stat> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(pid: i32, text: &str) -> Option<Stat> {
    // The program's name is in parentheses and may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some(Stat {
        pid,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        session: fields.next()?.parse().ok()?,
        start_ticks: fields.nth(15)?.parse().ok()?,
    })
}

/// Every process that can be seen.
///
/// # Errors
/// When `/proc` cannot be read.
pub(super) fn all() -> io::Result<Vec<Stat>> {
    let pids =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(stat).collect())
}

/// What tells one run of the machine from another.
///
/// # Errors
/// When `/proc` cannot be read.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// A number as the system wants it; `None` for what no process can have.
pub(super) fn pid_of(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// Kills this process and no other that has come to its number. Fine when it is gone.
///
/// # Errors
/// When it may not be killed.
pub(super) fn kill_exactly(meant: &Stat, signal: Signal) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(meant.pid) else {
        return Ok(());
    };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    // The handle holds one process; only now is it known which.
    if stat(meant.pid).is_none_or(|now| now.start_ticks != meant.start_ticks) {
        return Ok(());
    }
    match pidfd_send_signal(&handle, signal) {
        Err(Errno::SRCH) => Ok(()),
        sent => Ok(sent?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_can_be_called_anything() {
        let text = "7 (a) R 1 (b) S 3 4 5 0 -1 4194304 97 0 0 0 0 0 0 0 20 0 1 0 1377707 313 382";
        let expected = Stat {
            pid: 7,
            state: 'S',
            parent: 3,
            group: 4,
            session: 5,
            start_ticks: 1_377_707,
        };
        assert_eq!(parse(7, text), Some(expected));
    }

    #[test]
    fn a_process_that_came_to_the_number_later_is_left_alone() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let it = stat(child.id().try_into().unwrap()).unwrap();
        let before = Stat {
            start_ticks: it.start_ticks - 1,
            ..it
        };
        kill_exactly(&before, Signal::KILL).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        kill_exactly(&it, Signal::KILL).unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
