//! Every metric of the node by name.

use std::fmt::Write as _;
use std::sync::Arc;

use super::cache::CacheCoreMetrics;
use super::compression::CompressionCoreMetrics;
use super::counters::{Counter, LATENCY_BUCKETS_US, LatencyHistogram, LatencyTotals};
use crate::data_plane::answer::Reason;

/// What one core counts for all services together.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CoreMetrics {
    /// Client connections open now.
    pub connections_open: Counter,
    /// Client connections accepted.
    pub connections_accepted: Counter,
    /// Times that accepting paused because the connection limit was reached.
    pub accept_paused: Counter,
    /// Connections closed for a head that broke HTTP/1.1 framing.
    pub heads_refused: Counter,
    /// Connections closed because a head did not arrive in time.
    pub head_timeouts: Counter,
    /// Connections closed because their client took nothing.
    pub write_timeouts: Counter,
    /// Requests running now.
    pub requests_in_flight: Counter,
    /// Requests ended because their client left.
    pub requests_abandoned: Counter,
    /// Requests that a stopping node cut.
    pub requests_cut: Counter,
    /// Backend connections opened.
    pub backend_connects: Counter,
    /// Backend connections that could not be opened.
    pub backend_connect_failures: Counter,
    /// Requests sent over a connection that was open already.
    pub backend_reuses: Counter,
    /// Requests sent again because the first connection had never taken them.
    pub replays: Counter,
    /// Upgraded connections open now.
    pub tunnels_open: Counter,
    /// The cache.
    pub cache: CacheCoreMetrics,
    /// Compression.
    pub compression: CompressionCoreMetrics,
    /// Own answers and cuts by reason.
    pub reasons: Reasons,
}

/// A counter for each reason.
#[derive(Debug)]
pub struct Reasons([Counter; Reason::ALL.len()]);

impl Default for Reasons {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl std::ops::Index<usize> for Reasons {
    type Output = Counter;

    fn index(&self, reason: usize) -> &Counter {
        &self.0[reason]
    }
}

/// What one core counts for one service.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ServiceCoreMetrics {
    /// Responses by class: 1xx to 5xx at 1 to 5; own answers included.
    pub classes: [Counter; 6],
    /// Time from the request's head to the end of the response.
    pub latency: LatencyHistogram,
    /// Body bytes from backends to clients.
    pub response_bytes: Counter,
    /// Body bytes from clients to backends.
    pub request_bytes: Counter,
    /// Requests that wait for an engine now.
    pub waiting: Counter,
}

/// One service over all cores.
#[derive(Debug)]
pub struct ServiceMetrics(Box<[ServiceCoreMetrics]>);

impl ServiceMetrics {
    /// For a node with `cores` cores.
    pub fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| ServiceCoreMetrics::default()).collect())
    }

    /// What `core` writes.
    pub fn core(&self, core: usize) -> &ServiceCoreMetrics {
        &self.0[core]
    }

    fn sum(&self, counter: impl Fn(&ServiceCoreMetrics) -> u64) -> u64 {
        self.0.iter().map(counter).sum()
    }

    /// Responses of one class (1 to 5).
    pub fn responses(&self, class: usize) -> u64 {
        self.sum(|core| core.classes[class].get())
    }

    /// Body bytes from backends to clients.
    pub fn response_bytes(&self) -> u64 {
        self.sum(|core| core.response_bytes.get())
    }

    /// Body bytes from clients to backends.
    pub fn request_bytes(&self) -> u64 {
        self.sum(|core| core.request_bytes.get())
    }

    /// Requests that wait for an engine now.
    pub fn waiting(&self) -> u64 {
        self.sum(|core| core.waiting.get())
    }

    /// Latencies of all cores.
    pub fn latency(&self) -> LatencyTotals {
        let mut totals = LatencyTotals::default();
        for core in &self.0 {
            core.latency.add_to(&mut totals);
        }
        totals
    }
}

/// All counters of a node.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    cores: Arc<[CoreMetrics]>,
}

impl NodeMetrics {
    /// For a node with `cores` cores.
    pub fn new(cores: usize) -> Self {
        Self {
            cores: (0..cores).map(|_| CoreMetrics::default()).collect(),
        }
    }

    /// What `core` writes.
    pub fn core(&self, core: usize) -> &CoreMetrics {
        &self.cores[core]
    }

    /// One counter over all cores.
    pub fn sum(&self, counter: impl Fn(&CoreMetrics) -> &Counter) -> u64 {
        self.cores.iter().map(|core| counter(core).get()).sum()
    }

    /// How often the node answered itself for `reason`.
    pub fn reason(&self, reason: Reason) -> u64 {
        self.sum(|core| &core.reasons[reason as usize])
    }
}

/// Writes the Prometheus text format, version 0.0.4.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Starts a family; `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample; labels as name and value.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", Escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// One histogram in seconds.
    pub fn histogram(&mut self, name: &str, labels: &[(&str, &str)], totals: &LatencyTotals) {
        let bucket_name = format!("{name}_bucket");
        let mut cumulative = 0;
        for (at, count) in totals.buckets.iter().enumerate() {
            cumulative += count;
            let bound = LATENCY_BUCKETS_US
                .get(at)
                .map_or_else(|| "+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
            let mut with_bound = labels.to_vec();
            with_bound.push(("le", &bound));
            self.sample(&bucket_name, &with_bound, cumulative);
        }
        self.sample(&format!("{name}_sum"), labels, totals.sum_us as f64 / 1e6);
        self.sample(&format!("{name}_count"), labels, totals.count());
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_samples_stand_on_lines_of_their_own() {
        let mut text = Exposition::default();
        text.family("weir_x_total", "counter", "An x.");
        text.sample("weir_x_total", &[("a", "q\"\\\n"), ("b", "2")], 7);
        assert_eq!(
            text.into_text(),
            "# HELP weir_x_total An x.\n# TYPE weir_x_total counter\n\
             weir_x_total{a=\"q\\\"\\\\\\n\",b=\"2\"} 7\n"
        );
    }
}
