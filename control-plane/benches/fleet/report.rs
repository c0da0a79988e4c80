//! Figures, as people compare them.

use std::fmt::Write as _;
use std::time::Duration;

/// What was measured with one number of nodes.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) nodes: u32,
    pub(super) pause: Duration,
    pub(super) load_before: String,
    pub(super) load_after: String,
    pub(super) connected_in: Duration,
    /// What all streams together added.
    pub(super) resident_kib: u64,
    pub(super) resident_kib_at_the_end: u64,
    /// From the write to the last answer, of each change.
    pub(super) changes: Vec<Duration>,
    /// From the write until the control plane says that all have it.
    pub(super) effective_in: Duration,
    /// Processor time in milliseconds.
    pub(super) cpu_of_changes: u64,
    pub(super) cpu_idle: u64,
    pub(super) cpu_idle_in: Duration,
    /// Of one push.
    pub(super) payload_bytes: u64,
    pub(super) pushes_of_a_no_op: u64,
    /// From the kill of the control plane to the last node that is back.
    pub(super) reconnected_in: Duration,
    /// From the moment at which the control plane answers again.
    pub(super) reconnected_after_start: Duration,
    /// Streams that were tried for it.
    pub(super) attempts: u64,
    pub(super) attempts_after_start: u64,
    pub(super) sent_away: u64,
    pub(super) reconnect_cpu: u64,
    pub(super) payload_bytes_of_reconnects: u64,
    pub(super) mismatches: u64,
}

impl Report {
    /// The figures, one in a line, some with their bar.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "Control plane with {} nodes; they share the processors with it (load {} before, {} after)",
            self.nodes, self.load_before, self.load_after
        );
        let mut line = |what: &str, figure: String, bar: &str| {
            let bar = if bar.is_empty() {
                String::new()
            } else {
                format!("   {bar}")
            };
            let _ = writeln!(text, "  {what:<56} {figure:>12}{bar}");
        };
        self.streams(&mut line);
        self.rollout(&mut line);
        self.reconnects(&mut line);
        text
    }

    fn streams(&self, line: &mut impl FnMut(&str, String, &str)) {
        line("all connected within", ms(self.connected_in), "");
        let stream_kib = ratio(self.resident_kib, u64::from(self.nodes));
        let stream = format!("{stream_kib:.1} KiB");
        line(
            "memory of a stream, all that came with it",
            stream,
            "at most 60 KiB",
        );
        let all = format!("{} MiB", self.resident_kib_at_the_end >> 10);
        line("memory of the process after the changes", all, "");
        let idle_secs = self.cpu_idle_in.as_secs().max(1);
        let idle = format!("{:.0} ms", ratio(self.cpu_idle, idle_secs));
        line("processor time of a second without changes", idle, "");
    }

    fn rollout(&self, line: &mut impl FnMut(&str, String, &str)) {
        let bar_ms = if self.nodes <= 1_000 { 250 } else { 1_000 };
        let (changes, pause) = (self.changes.len() as u64, ms(self.pause));
        let what = format!("profile of {} bytes to every ACK, p50", self.payload_bytes);
        line(&what, ms(self.quantile(0.5)), "");
        let what = format!("  p99 of {changes} changes, {pause} between two");
        line(
            &what,
            ms(self.quantile(0.99)),
            &format!("at most {bar_ms} ms"),
        );
        line(
            "  until the rollout says so, of one change",
            ms(self.effective_in),
            "",
        );
        let cpu = format!("{:.0} ms", ratio(self.cpu_of_changes, changes));
        line("processor time of a change", cpu, "");
        let pushes = self.pushes_of_a_no_op.to_string();
        line("pushes of a write that changes nothing", pushes, "0");
        line("pushes that did not fit", self.mismatches.to_string(), "0");
    }

    fn reconnects(&self, line: &mut impl FnMut(&str, String, &str)) {
        let all = ms(self.reconnected_in);
        line("all back after kill -9 and start", all, "at most 10000 ms");
        let after = ms(self.reconnected_after_start);
        line("  of that, after the control plane answers", after, "");
        let attempts = format!("{:.1}", ratio(self.attempts, u64::from(self.nodes)));
        line("  attempts of a node", attempts, "");
        let attempts = format!(
            "{:.1}",
            ratio(self.attempts_after_start, u64::from(self.nodes))
        );
        line("  of those, after the control plane answers", attempts, "");
        line(
            "  nodes told to come back later",
            self.sent_away.to_string(),
            "",
        );
        let cpu = format!("{} ms", self.reconnect_cpu);
        line("  processor time of the control plane", cpu, "");
        let bytes = self.payload_bytes_of_reconnects.to_string();
        line("  payload bytes pushed to nodes that came back", bytes, "0");
    }

    fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.changes.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a short list"
        )]
        let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
        sorted.get(at).copied().unwrap_or_default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn ratio(all: u64, of: u64) -> f64 {
    all as f64 / of.max(1) as f64
}

fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
