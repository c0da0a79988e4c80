//! Figures, as people compare them.

use std::fmt::Write as _;
use std::time::Duration;

/// What was measured with one number of nodes.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) nodes: u32,
    pub(super) connected_in: Duration,
    pub(super) stream_kib: f64,
    /// From the write to the last answer, of each change.
    pub(super) changes: Vec<Duration>,
    pub(super) cpu_ms_a_change: f64,
    pub(super) pushes_of_a_no_op: u64,
    /// From the kill of the control plane to the last node that is back.
    pub(super) reconnected_in: Duration,
    /// From the moment at which the control plane answers again.
    pub(super) reconnected_after_start: Duration,
    pub(super) payload_bytes_of_reconnects: u64,
    pub(super) sent_away: u64,
    pub(super) mismatches: u64,
}

impl Report {
    /// The figures, one in a line, each with its bar.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let bar = Duration::from_millis(if self.nodes <= 1_000 { 250 } else { 1_000 });
        let mut line = |what: &str, figure: String, bar: String| {
            let _ = writeln!(text, "  {what:<52} {figure:>14}   {bar}");
        };
        line("nodes", self.nodes.to_string(), String::new());
        line("all connected within", ms(self.connected_in), String::new());
        line(
            "memory of a stream",
            format!("{:.1} KiB", self.stream_kib),
            "at most 60 KiB".to_owned(),
        );
        line(
            "profile change to every ACK, p50",
            ms(self.quantile(0.5)),
            String::new(),
        );
        line(
            "profile change to every ACK, p99",
            ms(self.quantile(0.99)),
            format!("at most {}", ms(bar)),
        );
        line(
            "processor time of a change",
            format!("{:.0} ms", self.cpu_ms_a_change),
            String::new(),
        );
        line(
            "pushes of a write that changes nothing",
            self.pushes_of_a_no_op.to_string(),
            "0".to_owned(),
        );
        line(
            "all back after kill -9 and start",
            ms(self.reconnected_in),
            "at most 10,000 ms".to_owned(),
        );
        line(
            "  of that, after the control plane answers",
            ms(self.reconnected_after_start),
            String::new(),
        );
        line(
            "  payload bytes pushed to nodes that came back",
            self.payload_bytes_of_reconnects.to_string(),
            "0".to_owned(),
        );
        line(
            "nodes told to come back later",
            self.sent_away.to_string(),
            String::new(),
        );
        line(
            "pushes that did not fit",
            self.mismatches.to_string(),
            "0".to_owned(),
        );
        text
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

fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
