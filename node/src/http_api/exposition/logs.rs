//! Metrics of log lines.

use crate::telemetry::logs::LogCounts;
use crate::telemetry::metrics::Exposition;

pub(super) fn render(counts: &LogCounts, text: &mut Exposition) {
    for (name, help, value) in [
        (
            "weir_log_lines_total",
            "Log lines that were taken, to be kept in memory or in the file.",
            counts.queued(),
        ),
        (
            "weir_log_file_failures_total",
            "Times that the log file could not be opened, written or put aside.",
            counts.failures(),
        ),
        (
            "weir_log_rotations_total",
            "Times that the log file was put aside for a new one.",
            counts.rotations(),
        ),
        (
            "weir_stderr_lines_dropped_total",
            "Log lines that standard error did not take: too many waited, or it cannot be written.",
            counts.stderr_dropped(),
        ),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[], value);
    }
    let name = "weir_log_lines_dropped_total";
    text.family(
        name,
        "counter",
        "Log lines that were not kept, by why: too many waited, or the file took none.",
    );
    text.sample(name, &[("why", "queue")], counts.no_room());
    text.sample(name, &[("why", "file")], counts.not_in_file());
}
