//! Parts of an overview in the words of `weir.node.v1`.

use std::time::Duration;

use weir_core::units::format_rough;
use weir_proto::node::v1 as pb;

use crate::actors::config_agent::control_plane::LinkStatus;
use crate::data_plane::answer::Reason;
use crate::orders::READY;
use crate::telemetry::history::layout::{
    ACCEPTED, BUCKETS, BYTES_IN, BYTES_OUT, CACHE, CACHE_RESULTS, CLASSES, CPU_MS, DELIVERIES,
    REASONS, percentiles,
};
use crate::telemetry::process::Process;

/// Slots over which rates are told.
pub(super) const RATE_SLOTS: u64 = 10;
/// Problems of one node that are told.
const PROBLEMS_MAX: usize = 50;

/// Sums over some slots.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// As a sample has them.
    pub(super) sums: Vec<u64>,
    /// Over how long.
    pub(super) window_ms: u64,
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per(count: u64, of: u64) -> f64 {
    match of {
        0 => 0.0,
        of => count as f64 / of as f64,
    }
}

/// How much there was.
pub(super) fn rates(sums: &Sums) -> pb::Rates {
    let Sums { sums, window_ms } = sums;
    let per_second = |count: u64| per(count * 1_000, *window_ms);
    let [p50_us, p95_us, p99_us] = percentiles(&sums[BUCKETS..]);
    let own = Reason::ALL.iter().zip(&sums[REASONS..]);
    let own = own.filter(|(_, count)| **count > 0);
    pb::Rates {
        window_ms: *window_ms,
        requests_per_second: per_second(sums[CLASSES..CLASSES + 5].iter().sum()),
        errors_per_second: per_second(sums[CLASSES + 4]),
        p50_us,
        p95_us,
        p99_us,
        own_answers: own
            .map(|(reason, count)| (reason.as_str().to_owned(), *count))
            .collect(),
        connections_per_second: per_second(sums[ACCEPTED]),
        bytes_in_per_second: per_second(sums[BYTES_IN]),
        bytes_out_per_second: per_second(sums[BYTES_OUT]),
        deliveries_per_second: per_second(sums[DELIVERIES]),
    }
}

/// What the process uses.
pub(super) fn resources(sums: &Sums, process: &Process, memory_limit_bytes: u64) -> pb::Resources {
    pb::Resources {
        cpu_percent: 100.0 * per(sums.sums[CPU_MS], sums.window_ms),
        rss_bytes: process.rss_bytes,
        memory_limit_bytes,
        fds_open: process.fds_open,
        fds_max: process.fds_max,
        threads: process.threads,
    }
}

/// What the cache holds, and how much of what was asked for.
pub(super) fn cache(sums: &Sums, stats: &pb::CacheStats) -> pb::CacheStanding {
    let counts = &sums.sums[CACHE..CACHE + CACHE_RESULTS.len()];
    let all: u64 = counts.iter().sum();
    let tiers = CACHE_RESULTS.iter().zip(counts);
    let tiers = tiers.filter(|(result, _)| all > 0 && **result != "miss");
    pb::CacheStanding {
        hit_share: tiers
            .map(|(tier, count)| ((*tier).to_owned(), per(*count, all)))
            .collect(),
        entries: stats.keys,
        bytes: stats.bytes,
        bytes_max: stats.bytes_max,
    }
}

/// What became of the profile that was offered last.
pub(super) fn profile(link: &pb::ControlLink, status: &LinkStatus) -> pb::ProfileStanding {
    let offered = status.profile.offered_hash.iter();
    pb::ProfileStanding {
        state: status.profile.last_attempt().as_text().to_owned(),
        offered: offered.map(|byte| format!("{byte:02x}")).collect(),
        effective: link.profile.clone(),
        origin: link.profile_origin.clone(),
        problems: link.profile_problems.clone(),
        pending_restart: link.pending_restart.clone(),
        unsupported: link.unsupported.clone(),
        offered_layers: status.offered_layers.to_vec(),
        effective_layers: status.effective_layers.to_vec(),
    }
}

/// What an operator should look at, in words.
pub(super) fn problems(
    status: &pb::Status,
    engines: Vec<pb::EngineProblem>,
    ports: &[pb::VpnPort],
) -> Vec<String> {
    let mut all = Vec::new();
    if status.state != READY {
        all.push(format!("{}: wants no new clients", status.state));
    }
    let refused = status.config_problems.iter();
    all.extend(refused.map(|problem| format!("configuration refused: {problem}")));
    if let Some(link) = &status.control_plane {
        if link.state == "away" {
            let why = match &*link.why {
                "" => String::new(),
                why => format!(": {why}"),
            };
            let away = format_rough(Duration::from_secs(link.away_s));
            all.push(format!("control plane away for {away}{why}"));
        }
        let refused = link.profile_problems.iter();
        all.extend(refused.map(|problem| format!("profile refused: {problem}")));
        if !link.disk_problem.is_empty() {
            all.push(format!("last known good: {}", link.disk_problem));
        }
    }
    all.extend(status.warnings.iter().cloned());
    for service in &status.services {
        let name = &service.name;
        if service.panic {
            all.push(format!(
                "service {name}: so few backends are healthy that all get work"
            ));
        } else if service.healthy == 0 && !service.asleep {
            let total = service.total;
            all.push(format!(
                "service {name}: none of its {total} backends gets work"
            ));
        }
    }
    all.extend(
        engines
            .into_iter()
            .map(|problem| format!("engines: {}", problem.what)),
    );
    for port in ports {
        let alarms = port.alarms.iter();
        all.extend(alarms.map(|alarm| format!("VPN {}: {alarm}", port.vpn)));
    }
    all.truncate(PROBLEMS_MAX);
    all
}

/// A service as this node sees it.
pub(super) fn service(
    service: pb::Service,
    status: &pb::ServiceStatus,
    node: &str,
) -> pb::ServiceOverview {
    let backends = service.backends.into_iter();
    pb::ServiceOverview {
        name: service.name,
        policy: service.policy,
        panic: service.panic,
        asleep: status.asleep,
        waiting: service.waiting,
        requests: status.requests,
        success_rate: status.success_rate,
        backends: backends.map(|one| backend(one, node)).collect(),
        ..pb::ServiceOverview::default()
    }
}

fn backend(backend: pb::Backend, node: &str) -> pb::BackendOverview {
    pb::BackendOverview {
        id: backend.id,
        address: backend.address,
        zone: backend.zone,
        priority: backend.priority,
        in_flight: backend.in_flight,
        requests: backend.requests,
        failures: backend.failures,
        nodes: vec![pb::BackendOnNode {
            node: node.to_owned(),
            weight: backend.weight,
            standing: backend.standing,
            reason: backend.reason,
            in_flight: backend.in_flight,
            requests: backend.requests,
            failures: backend.failures,
            latency_us: backend.latency_us,
        }],
    }
}
