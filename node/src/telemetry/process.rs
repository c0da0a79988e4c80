//! What the node's process uses now, as the kernel tells it.

use std::fs;

/// Milliseconds of one tick in which the kernel tells processors' time; the same on every Linux.
const TICK_MS: u64 = 10;

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Processors' time since it began, in milliseconds.
    pub cpu_ms: u64,
    /// Memory that is resident, in bytes.
    pub rss_bytes: u64,
    /// Its threads.
    pub threads: u64,
    /// File descriptors in use.
    pub fds_open: u64,
    /// File descriptors that it may use.
    pub fds_max: u64,
}

impl Process {
    /// This process; what the kernel does not say is 0. Blocks: with many descriptors an old kernel takes a while.
    pub fn read() -> Self {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Self {
            fds_open: descriptors(),
            ..Self::of(&read("stat"), &read("status"), &read("limits"))
        }
    }

    /// What these files of the kernel say.
    fn of(stat: &str, status: &str, limits: &str) -> Self {
        // The program's name may hold anything, also spaces and brackets.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        Self {
            cpu_ms: (nth(after_name, 11) + nth(after_name, 12)) * TICK_MS,
            rss_bytes: field(status, "VmRSS:") * 1_024,
            threads: field(status, "Threads:"),
            fds_open: 0,
            fds_max: field(limits, "Max open files"),
        }
    }
}

/// From Linux 6.2 on the folder's size tells how many there are.
fn descriptors() -> u64 {
    let folder = "/proc/self/fd";
    let size = fs::metadata(folder).map_or(0, |folder| folder.len());
    match size {
        0 => fs::read_dir(folder).map_or(0, |entries| entries.count() as u64),
        size => size,
    }
}

/// A number among words; 0 if there is none.
pub(crate) fn nth(words: &str, at: usize) -> u64 {
    let word = words.split_ascii_whitespace().nth(at);
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The number after a name; 0 if there is none.
pub(crate) fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |rest| nth(rest, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let stat = "7 (a ) b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0 1 1 1";
        let status = "Name:\ta\nVmRSS:\t    12 kB\nThreads:\t5\n";
        let limits =
            "Limit   Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n";
        let expected = Process {
            cpu_ms: 2_000,
            rss_bytes: 12 << 10,
            threads: 5,
            fds_open: 0,
            fds_max: 1_024,
        };
        assert_eq!(Process::of(stat, status, limits), expected);
        assert_eq!(Process::of("", "", ""), Process::default());
    }

    #[test]
    fn a_process_that_runs_uses_something() {
        let now = Process::read();
        assert!(now.rss_bytes > 0 && now.threads > 0, "{now:?}");
        assert!(now.fds_open > 2 && now.fds_max >= now.fds_open, "{now:?}");
    }
}
