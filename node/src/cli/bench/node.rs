//! What the node counts, read from its `/metrics`.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;
use weir_core::bench::bottleneck::NodeFacts;

use crate::cli::http as api;
use crate::cli::output::Failure;
use crate::telemetry::cache::Outcome;

const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// What the cache answered without a backend.
const HITS: [Outcome; 4] = [
    Outcome::Hit,
    Outcome::HitInRedis,
    Outcome::HitAtPeer,
    Outcome::Stale,
];

/// Where the node's HTTP API is.
pub(super) struct NodeProbe {
    address: String,
    token: Option<String>,
}

impl NodeProbe {
    /// Looks whether a node answers there, with this token if there is one.
    pub(super) async fn new(address: &str, token: Option<String>) -> Result<Self, Failure> {
        let probe = Self {
            address: address.to_owned(),
            token,
        };
        let look = probe.look().await?;
        match look.metric("weir_cores", &[]) {
            0.0 => Err(Failure::Other(format!(
                "what answers at {address} is no HTTP API of a node: its /metrics has no weir_cores"
            ))),
            _ => Ok(probe),
        }
    }

    /// What the node has counted up to now.
    pub(super) async fn look(&self) -> Result<Look, Failure> {
        let token = self.token.as_deref();
        let answer = api::get(&self.address, "/metrics", token, LOOK_TIMEOUT).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let hint =
                "the node's HTTP API asks for its token (--node-token-file or WEIR_API_TOKEN)";
            return Err(Failure::Refused(tonic::Status::unauthenticated(hint)));
        }
        if answer.status != StatusCode::OK {
            let (address, status) = (&self.address, answer.status);
            return Err(Failure::Other(format!(
                "{address} answers {status} to /metrics"
            )));
        }
        let is_here = self.address.parse::<SocketAddr>();
        let is_here = is_here.is_ok_and(|address| address.ip().is_loopback());
        Ok(Look {
            at: Instant::now(),
            metrics: String::from_utf8_lossy(&answer.body).into_owned(),
            machine: is_here.then(Machine::now).flatten(),
        })
    }
}

/// The processors of this machine, in the kernel's ticks since its start.
#[derive(Clone, Copy)]
struct Machine {
    idle: f64,
    all: f64,
}

impl Machine {
    fn now() -> Option<Self> {
        Self::of(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    fn of(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<f64> = line
            .split_ascii_whitespace()
            .take(8)
            .map_while(|tick| tick.parse().ok())
            .collect();
        Some(Self {
            idle: ticks.get(3)? + ticks.get(4)?,
            all: ticks.iter().sum(),
        })
    }
}

/// The node's counters at one moment.
pub(super) struct Look {
    at: Instant,
    metrics: String,
    machine: Option<Machine>,
}

impl Look {
    /// The sum of the samples of a metric whose labels have one of these texts; of all, if there are none.
    fn metric(&self, name: &str, labels: &[String]) -> f64 {
        self.metrics
            .lines()
            .filter_map(|line| {
                let rest = line.strip_prefix(name)?;
                rest.starts_with(['{', ' ']).then_some(rest)
            })
            .filter(|rest| labels.is_empty() || labels.iter().any(|label| rest.contains(label)))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            // Of no number at all the sum is -0.
            .sum::<f64>()
            + 0.0
    }

    /// What was counted since an earlier look.
    pub(super) fn since(&self, before: &Self) -> NodeFacts {
        let grown = |name: &str, labels: &[String]| {
            (self.metric(name, labels) - before.metric(name, labels)).max(0.0)
        };
        let label = |name: &str, values: &[&str]| -> Vec<String> {
            let labels = values.iter().map(|value| format!("{name}=\"{value}\""));
            labels.collect()
        };
        let reasons = |reasons: &[&str]| grown("weir_own_answers_total", &label("reason", reasons));
        let cache = "weir_cache_requests_total";
        let passed_by = label("outcome", &[Outcome::PassedBy.name()]);
        NodeFacts {
            elapsed: self.at - before.at,
            cpu_seconds: grown("process_cpu_seconds_total", &[]),
            cores: self.metric("weir_cores", &[]) as u32,
            machine_busy: busy(before.machine, self.machine),
            requests: grown("weir_request_duration_seconds_count", &[]),
            request_seconds: grown("weir_request_duration_seconds_sum", &[]),
            accept_pauses: grown("weir_accept_pauses_total", &[]),
            connection_refusals: reasons(&["pool_full", "out_of_descriptors"]),
            backend_requests: grown("weir_backend_requests_total", &[]),
            backend_in_flight: self.metric("weir_backend_in_flight", &[]),
            backend_failures: grown("weir_backend_failures_total", &[]),
            waiting: self.metric("weir_requests_waiting", &[]),
            engine_refusals: reasons(&["engine_not_ready", "engine_wait_full"]),
            cache_asked: grown(cache, &[]) - grown(cache, &passed_by),
            cache_hits: grown(cache, &label("outcome", &HITS.map(Outcome::name))),
        }
    }
}

fn busy(before: Option<Machine>, after: Option<Machine>) -> Option<f64> {
    let (before, after) = (before?, after?);
    let all = after.all - before.all;
    (all > 0.0).then(|| 1.0 - (after.idle - before.idle) / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: Instant, metrics: &str) -> Look {
        Look {
            at,
            metrics: metrics.to_owned(),
            machine: None,
        }
    }

    #[test]
    fn what_grew_between_two_looks_is_told() {
        let now = Instant::now();
        let before = look(
            now,
            "weir_cores 2\nprocess_cpu_seconds_total 1.5\n\
             weir_own_answers_total{reason=\"pool_full\"} 3\nweir_own_answers_total{reason=\"no_route\"} 5\n\
             weir_backend_requests_total{service=\"a\",backend=\"x\"} 10\n",
        );
        let after = look(
            now + Duration::from_secs(2),
            "weir_cores 2\nprocess_cpu_seconds_total 2.5\n\
             weir_own_answers_total{reason=\"pool_full\"} 7\nweir_own_answers_total{reason=\"no_route\"} 9\n\
             weir_backend_requests_total{service=\"a\",backend=\"x\"} 30\n\
             weir_backend_requests_total_other 99\n\
             weir_cache_requests_total{outcome=\"hit\"} 6\nweir_cache_requests_total{outcome=\"passed_by\"} 4\n",
        );
        let facts = after.since(&before);
        assert_eq!((facts.cores, facts.connection_refusals), (2, 4.0));
        assert_eq!((facts.cpu_seconds, facts.cpu_share()), (1.0, 0.25));
        assert_eq!(facts.backend_requests, 20.0);
        assert_eq!((facts.cache_asked, facts.cache_hits), (6.0, 6.0));
    }

    #[test]
    fn the_kernel_tells_how_busy_a_machine_is() {
        let of = |text: &str| Machine::of(text);
        let (before, after) = (
            of("cpu  10 0 10 80 0 0 0 0 0 0\n"),
            of("cpu 40 0 20 140 0 0 0 0"),
        );
        let busy = busy(before, after).unwrap();
        assert!((busy - 0.4).abs() < 1e-9, "{busy}");
        assert!(of("intr 1 2\n").is_none());
    }
}
