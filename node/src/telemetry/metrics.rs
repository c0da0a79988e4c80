//! Every metric of the node by name.

use std::sync::Arc;

use super::cache::CacheCoreMetrics;
use super::compression::CompressionCoreMetrics;
use super::counters::{Counter, LatencyHistogram, LatencyTotals};
use super::exemplars::{Exemplars, Newest};
pub use super::exposition::{Exposition, TextFormat};
use super::http_server::HttpServer;
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
    /// Lines about slow requests that were left out because there were too many.
    pub slow_lines_left_out: Counter,
    /// Bytes of files that the kernel was to copy into connections.
    pub sendfile_bytes: Counter,
    /// Upgraded connections open now.
    pub tunnels_open: Counter,
    /// The cache.
    pub cache: CacheCoreMetrics,
    /// Compression.
    pub compression: CompressionCoreMetrics,
    /// Own answers and cuts by reason.
    pub reasons: Reasons,
    /// Requests by method and status.
    pub http: HttpServer,
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
    /// For each bucket of that a request that was traced.
    pub exemplars: Exemplars,
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

    /// The newest traced request of each bucket of latency.
    pub fn exemplars(&self) -> Newest {
        let mut newest = Newest::default();
        for core in &self.0 {
            core.exemplars.add_to(&mut newest);
        }
        newest
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

    /// Cores that carry traffic.
    pub fn cores(&self) -> usize {
        self.cores.len()
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
