//! What the node's process uses, as the kernel tells it. Names are those that Prometheus clients agree on.

use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::telemetry::metrics::Exposition;

/// Parts of a second in which the kernel tells processors' time to programs; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn render(text: &mut Exposition) {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let used = Used::of(
        &read("stat"),
        &read("status"),
        &read("io"),
        &read("net/dev"),
    );
    let name = "process_cpu_seconds_total";
    text.family(name, "counter", "Processor time of the node.");
    text.sample(name, &[], used.cpu_seconds);
    for (name, kind, help, value) in [
        (
            "process_resident_memory_bytes",
            "gauge",
            "Memory of the node.",
            used.memory_bytes,
        ),
        (
            "process_threads",
            "gauge",
            "Threads of the node.",
            used.threads,
        ),
        (
            "process_open_fds",
            "gauge",
            "File descriptors that the node has open.",
            open_files(),
        ),
        (
            "process_max_fds",
            "gauge",
            "File descriptors that the node may have open.",
            getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        ),
        (
            "weir_disk_read_bytes_total",
            "counter",
            "Bytes that the node had read from disks.",
            used.disk_read_bytes,
        ),
        (
            "weir_disk_written_bytes_total",
            "counter",
            "Bytes that the node had written to disks.",
            used.disk_written_bytes,
        ),
        (
            "weir_network_received_bytes_total",
            "counter",
            "Bytes that came to the node's machine or container, loopback left out.",
            used.network_received_bytes,
        ),
        (
            "weir_network_sent_bytes_total",
            "counter",
            "Bytes that left the node's machine or container, loopback left out.",
            used.network_sent_bytes,
        ),
    ] {
        text.family(name, kind, help);
        text.sample(name, &[], value);
    }
}

/// Since Linux 6.2 the size of the folder is their number; before that they are counted one by one.
fn open_files() -> u64 {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).map_or(0, |folder| folder.len()) {
        0 => fs::read_dir(folder).map_or(0, |entries| entries.count() as u64),
        known => known,
    }
}

#[derive(Debug, Default, PartialEq)]
struct Used {
    cpu_seconds: f64,
    memory_bytes: u64,
    threads: u64,
    disk_read_bytes: u64,
    disk_written_bytes: u64,
    network_received_bytes: u64,
    network_sent_bytes: u64,
}

impl Used {
    /// What these files of the kernel say; what one does not say is 0.
    fn of(stat: &str, status: &str, io: &str, devices: &str) -> Self {
        // The program's name may hold anything, also spaces and brackets.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = |at| nth(after_name, at);
        let received_and_sent = devices
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(device, _)| device.trim() != "lo")
            .map(|(_, counts)| (nth(counts, 0), nth(counts, 8)));
        let (network_received_bytes, network_sent_bytes) =
            received_and_sent.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Self {
            cpu_seconds: (ticks(11) + ticks(12)) as f64 / TICKS_PER_SECOND,
            memory_bytes: field(status, "VmRSS:") * 1_024,
            threads: field(status, "Threads:"),
            disk_read_bytes: field(io, "read_bytes:"),
            disk_written_bytes: field(io, "write_bytes:"),
            network_received_bytes,
            network_sent_bytes,
        }
    }
}

fn nth(words: &str, at: usize) -> u64 {
    let word = words.split_ascii_whitespace().nth(at);
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn field(text: &str, name: &str) -> u64 {
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
        let io = "rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 1\n";
        let devices = "Inter-|   Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0\n\
                       eth0: 10 0 0 0 0 0 0 0 20 0\n eth1:1 0 0 0 0 0 0 0 2 0\n";
        let expected = Used {
            cpu_seconds: 2.0,
            memory_bytes: 12 << 10,
            threads: 5,
            disk_read_bytes: 4_096,
            disk_written_bytes: 8_192,
            network_received_bytes: 11,
            network_sent_bytes: 22,
        };
        assert_eq!(Used::of(stat, status, io, devices), expected);
        assert_eq!(Used::of("", "", "", ""), Used::default());
    }
}
