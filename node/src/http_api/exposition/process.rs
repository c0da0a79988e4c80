//! What the node's process uses, as the kernel tells it. Names are those that Prometheus clients agree on.

use std::fs;

use crate::telemetry::metrics::Exposition;
use crate::telemetry::process::{Process, field, nth};

pub(super) fn render(text: &mut Exposition) {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (process, used) = (Process::read(), Used::of(&read("io"), &read("net/dev")));
    let name = "process_cpu_seconds_total";
    text.family(name, "counter", "Processor time of the node.");
    text.sample(name, &[], process.cpu_ms as f64 / 1_000.0);
    for (name, kind, help, value) in [
        (
            "process_resident_memory_bytes",
            "gauge",
            "Memory of the node.",
            process.rss_bytes,
        ),
        (
            "process_threads",
            "gauge",
            "Threads of the node.",
            process.threads,
        ),
        (
            "process_open_fds",
            "gauge",
            "File descriptors that the node has open.",
            process.fds_open,
        ),
        (
            "process_max_fds",
            "gauge",
            "File descriptors that the node may have open.",
            process.fds_max,
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

#[derive(Debug, Default, PartialEq)]
struct Used {
    disk_read_bytes: u64,
    disk_written_bytes: u64,
    network_received_bytes: u64,
    network_sent_bytes: u64,
}

impl Used {
    /// What these files of the kernel say; what one does not say is 0.
    fn of(io: &str, devices: &str) -> Self {
        let received_and_sent = devices
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(device, _)| device.trim() != "lo")
            .map(|(_, counts)| (nth(counts, 0), nth(counts, 8)));
        let (network_received_bytes, network_sent_bytes) =
            received_and_sent.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Self {
            disk_read_bytes: field(io, "read_bytes:"),
            disk_written_bytes: field(io, "write_bytes:"),
            network_received_bytes,
            network_sent_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let io = "rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 1\n";
        let devices = "Inter-|   Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0\n\
                       eth0: 10 0 0 0 0 0 0 0 20 0\n eth1:1 0 0 0 0 0 0 0 2 0\n";
        let expected = Used {
            disk_read_bytes: 4_096,
            disk_written_bytes: 8_192,
            network_received_bytes: 11,
            network_sent_bytes: 22,
        };
        assert_eq!(Used::of(io, devices), expected);
        assert_eq!(Used::of("", ""), Used::default());
    }
}
