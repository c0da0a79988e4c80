//! What one backend is doing, counted without two cores ever writing the same cache line.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::core_load::CoreLoad;
use super::ewma::{self, EwmaConfig, MAX_FAILURE_PENALTY};

/// How a request to a backend ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend answered.
    Success {
        /// From sending the request to the head of the response.
        latency: Duration,
    },
    /// The backend failed, or said that it is overloaded.
    Failure {
        /// Round-trip time the failure counts as, see [`super::failure_penalty`]; capped at
        /// [`MAX_FAILURE_PENALTY`].
        penalty: Duration,
    },
}

/// The load of one backend of one service, one slot per core. Outlives every
/// [`super::Selector`] it takes part in.
#[derive(Debug)]
pub struct BackendLoad {
    cores: Box<[CoreLoad]>,
    epoch: Instant,
    initial_rtt_ns: AtomicU64,
    decay_ns: AtomicU64,
    failure_run: AtomicU32,
}

impl BackendLoad {
    /// A backend nothing is known about, for a node of `cores` cores (at least one is kept).
    /// Times are stored as nanoseconds since `epoch`.
    pub fn new(cores: usize, epoch: Instant) -> Self {
        let load = Self {
            cores: (0..cores.max(1)).map(|_| CoreLoad::default()).collect(),
            epoch,
            initial_rtt_ns: AtomicU64::new(0),
            decay_ns: AtomicU64::new(0),
            failure_run: AtomicU32::new(0),
        };
        load.retune(EwmaConfig::default());
        load
    }

    /// Averages response times by `config` from now on. A [`super::Selector`] with the peak-EWMA
    /// policy does this for its candidates.
    pub fn retune(&self, config: EwmaConfig) {
        self.initial_rtt_ns.store(ns(config.initial_rtt), Relaxed);
        self.decay_ns.store(ns(config.decay), Relaxed);
    }

    /// The slot of one core.
    ///
    /// # Panics
    /// When the node has no such core.
    pub fn core(&self, core: usize) -> &CoreLoad {
        &self.cores[core]
    }

    /// Counts a request that `core` sends. Each needs one [`Self::finished`] with the same core.
    ///
    /// # Panics
    /// When the node has no such core.
    pub fn started(&self, core: usize) {
        self.core(core).started();
    }

    /// Ends a request that `core` started. One that went `well` to its end ends a run of failures.
    ///
    /// # Panics
    /// When the node has no such core.
    pub fn finished(&self, core: usize, well: bool) {
        self.core(core).ended();
        // The line is shared: in the common case it must stay clean in every cache.
        if well && self.failure_run.load(Relaxed) != 0 {
            self.failure_run.store(0, Relaxed);
        }
    }

    /// Learns how a request fared, as soon as that is known: a response whose body runs for hours says
    /// by its head how fast the backend is. A client that leaves first says nothing.
    ///
    /// # Panics
    /// When the node has no such core.
    pub fn learned(&self, core: usize, now: Instant, outcome: Outcome) {
        let slot = self.core(core);
        let sample = match outcome {
            Outcome::Success { latency } => latency,
            Outcome::Failure { penalty } => {
                slot.failed();
                self.failure_run.fetch_add(1, Relaxed);
                penalty.min(MAX_FAILURE_PENALTY)
            }
        };
        slot.sample(
            self.since_epoch_ns(now),
            sample,
            self.decay_ns.load(Relaxed),
        );
    }

    /// Remembers that `core` picked it, for who spreads work ([`super::Spread`]).
    pub(super) fn picked(&self, core: usize, now: Instant) {
        self.core(core).picked(self.since_epoch_ns(now));
    }

    /// Since any core picked it last.
    pub(super) fn picked_ago(&self, now: Instant) -> Option<Duration> {
        let last = self.cores.iter().filter_map(CoreLoad::picked_ns).max()?;
        Some(Duration::from_nanos(
            self.since_epoch_ns(now).saturating_sub(last),
        ))
    }

    /// Failures in a row over all cores.
    pub fn failure_run(&self) -> u32 {
        self.failure_run.load(Relaxed)
    }

    /// Requests in flight from all cores.
    pub fn in_flight(&self) -> u64 {
        self.cores.iter().map(|c| u64::from(c.in_flight())).sum()
    }

    /// Requests ever started by all cores.
    pub fn requests(&self) -> u64 {
        self.cores.iter().map(CoreLoad::requests).sum()
    }

    /// Requests of all cores that ever ended in [`Outcome::Failure`].
    pub fn failures(&self) -> u64 {
        self.cores.iter().map(CoreLoad::failures).sum()
    }

    /// Mean of the peak-EWMA costs of the cores that have measured the backend, failures counted at
    /// their penalty; `None` before the first sample.
    pub fn latency(&self) -> Option<Duration> {
        let measured = || self.cores.iter().filter_map(CoreLoad::cost_ns);
        let cores = measured().count();
        (cores > 0).then(|| Duration::from_nanos((measured().sum::<f64>() / cores as f64) as u64))
    }

    /// Peak-EWMA load as `core` sees it: cost in nanoseconds times the requests the backend would
    /// hold from this core with one more.
    ///
    /// Only the core's own slot counts: two random choices need no global knowledge, and reading the
    /// slots of all cores on each request would cost more than it finds out.
    ///
    /// # Panics
    /// When the node has no such core.
    pub fn peak_ewma_load(&self, core: usize, now: Instant) -> f64 {
        let slot = self.core(core);
        let in_flight = f64::from(slot.in_flight());
        let cost_ns = match slot.cost_ns() {
            Some(cost_ns) => {
                let age_ns = slot.cost_age_ns(self.since_epoch_ns(now));
                ewma::decayed(cost_ns, age_ns, self.decay_ns.load(Relaxed))
            }
            // Unknown and idle is worth one request at once: at the initial RTT a new backend would
            // wait a minute for its first one next to backends that answer in milliseconds.
            None if in_flight == 0.0 => 0.0,
            None => self.initial_rtt_ns.load(Relaxed) as f64,
        };
        cost_ns * (in_flight + 1.0)
    }

    fn since_epoch_ns(&self, now: Instant) -> u64 {
        ns(now.saturating_duration_since(self.epoch))
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURE: Outcome = Outcome::Failure {
        penalty: Duration::from_secs(5),
    };

    fn success(latency_ms: u64) -> Outcome {
        Outcome::Success {
            latency: Duration::from_millis(latency_ms),
        }
    }

    #[test]
    fn a_failure_run_spans_cores_and_ends_with_a_success() {
        let now = Instant::now();
        let load = BackendLoad::new(2, now);
        for core in [0, 1, 0] {
            load.started(core);
            load.learned(core, now, FAILURE);
            load.finished(core, false);
        }
        load.started(1);
        load.finished(1, false);
        assert_eq!((load.failure_run(), load.failures()), (3, 3));
        load.started(1);
        load.learned(1, now, success(1));
        load.finished(1, true);
        assert_eq!((load.failure_run(), load.requests()), (0, 5));
    }

    #[test]
    fn an_unmatched_finish_leaves_nothing_in_flight() {
        let now = Instant::now();
        let load = BackendLoad::new(1, now);
        load.finished(0, false);
        assert_eq!(load.in_flight(), 0);
    }

    #[test]
    fn an_abandoned_request_is_no_sample() {
        let now = Instant::now();
        let load = BackendLoad::new(1, now);
        load.started(0);
        load.finished(0, false);
        assert_eq!(load.latency(), None);
    }

    #[test]
    fn latency_is_the_mean_of_the_cores_that_measured() {
        let now = Instant::now();
        let load = BackendLoad::new(3, now);
        for (core, latency_ms) in [(0, 10), (2, 30)] {
            load.started(core);
            load.learned(core, now, success(latency_ms));
            load.finished(core, true);
        }
        assert_eq!(load.latency(), Some(Duration::from_millis(20)));
    }

    #[test]
    fn an_unknown_backend_is_free_until_its_first_request_is_out() {
        let now = Instant::now();
        let load = BackendLoad::new(1, now);
        assert_eq!(load.peak_ewma_load(0, now), 0.0);
        load.started(0);
        assert_eq!(load.peak_ewma_load(0, now), 2e9);
        load.learned(0, now, success(10));
        load.finished(0, true);
        assert_eq!(load.peak_ewma_load(0, now), 1e7);
    }

    #[test]
    fn a_failure_counts_as_its_capped_penalty() {
        let now = Instant::now();
        let load = BackendLoad::new(1, now);
        load.started(0);
        let penalty = Duration::from_secs(86_400);
        load.learned(0, now, Outcome::Failure { penalty });
        load.finished(0, false);
        assert_eq!(load.latency(), Some(MAX_FAILURE_PENALTY));
    }
}
