//! The node's state in the words of `weir.node.v1`: for gRPC, the HTTP API and the command line alike.

use std::sync::Arc;

use tokio::time::Instant;
use weir_cache::Store;
use weir_core::health::Standing;
use weir_proto::control::v1 as control;
use weir_proto::convert;
use weir_proto::node::v1 as pb;
use weir_proto::tuning::v1::FieldError;

use crate::actors::config_agent::ConfigAgentHandle;
use crate::actors::config_agent::control_plane::LinkStatus;
use crate::broadcast::mesh::CanaryStatus;
use crate::config::{Effective, FilesSettings, Source};
use crate::data_plane::answer::Reason;
use crate::data_plane::routing::{BackendView, Routing, Service};
use crate::orders::OrdersHandle;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{NodeMetrics, ServiceMetrics};
use crate::telemetry::spans::SpanCounts;

/// One service with its backends.
pub fn service(service: &Service) -> pb::Service {
    let (policy, backends) = match &service.settings.files {
        Some(settings) => ("files", vec![files(service, settings)]),
        None => (
            service.settings.policy.name(),
            service.backends.iter().map(backend).collect(),
        ),
    };
    pb::Service {
        name: service.settings.name.to_string(),
        policy: policy.to_owned(),
        backends,
        panic: service.panic,
        healthy: healthy(service),
        waiting: service.metrics.waiting(),
    }
}

/// Whether it has no backend because nobody needs one.
fn is_asleep(service: &Service) -> bool {
    let engines = service.settings.engines.as_ref();
    let may_sleep =
        engines.is_some_and(|engines| engines.scale.min == 0 && engines.scale.wait_max > 0);
    may_sleep && service.backends.iter().all(|view| view.leaving)
}

/// The directory, as the one backend that is always in.
fn files(service: &Service, settings: &FilesSettings) -> pb::Backend {
    let totals = Totals::of(std::iter::once(&*service.metrics));
    pb::Backend {
        id: "files".to_owned(),
        address: settings.root.display().to_string(),
        weight: 1,
        standing: pb::Standing::In as i32,
        requests: totals.requests,
        failures: totals.failures,
        latency_us: totals.mean_us(),
        ..pb::Backend::default()
    }
}

fn backend(view: &BackendView) -> pb::Backend {
    let load = &view.backend.load;
    let latency_us = load.latency().map_or(0, |latency| latency.as_micros());
    pb::Backend {
        id: view.backend.id.to_string(),
        address: view.backend.endpoint.to_string(),
        weight: view.weight,
        zone: view.zone.clone(),
        priority: view.priority,
        standing: standing(view) as i32,
        reason: reason(view),
        in_flight: load.in_flight(),
        requests: load.requests(),
        failures: load.failures(),
        latency_us: u64::try_from(latency_us).unwrap_or(u64::MAX),
    }
}

fn standing(view: &BackendView) -> pb::Standing {
    match &view.standing {
        standing if standing.takes_work() && view.weight == 0 => pb::Standing::Weightless,
        Standing::In => pb::Standing::In,
        Standing::SlowStart { .. } => pb::Standing::SlowStart,
        Standing::Pending | Standing::Unhealthy => pb::Standing::Unhealthy,
        Standing::Ejected { .. } => pb::Standing::Ejected,
        Standing::Draining { .. } => pb::Standing::Draining,
        Standing::Drained { .. } => pb::Standing::Drained,
    }
}

pub(crate) fn reason(view: &BackendView) -> String {
    let reason = view.health.reason(Instant::now().into_std());
    match (view.leaving, view.weight) {
        (true, _) => "left the configuration, finishes what runs".to_owned(),
        (false, 0) => "weight 0: no new work".to_owned(),
        (false, _) => reason,
    }
}

fn healthy(service: &Service) -> u32 {
    if service.settings.files.is_some() {
        return 1;
    }
    let count = service
        .backends
        .iter()
        .filter(|view| view.standing.takes_work() && view.weight > 0)
        .count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What a knob is in force with.
pub fn effective(knob: Effective) -> control::EffectiveKnob {
    let source = match knob.source {
        Source::Default => "default",
        Source::File => "file",
        Source::Profile => "profile",
    };
    control::EffectiveKnob {
        path: knob.knob.path.to_owned(),
        value: knob.value.to_string(),
        source: source.to_owned(),
        consumer: knob.consumer.to_owned(),
        overridden_by: knob.overridden_by.iter().map(ToString::to_string).collect(),
        pending: knob
            .pending
            .map_or_else(String::new, |value| value.to_string()),
    }
}

/// Where the status of a node comes from.
#[derive(Clone)]
pub struct StatusSource {
    /// Services and backends.
    pub routing: Snapshot<Routing>,
    /// The configuration in force.
    pub config: ConfigAgentHandle,
    /// Counters.
    pub metrics: NodeMetrics,
    /// When the node started.
    pub started: Instant,
    /// What the node was told to do with its clients.
    pub orders: OrdersHandle,
    /// How the stream to the control plane is.
    pub control_plane: Snapshot<LinkStatus>,
    /// How messages of other nodes come.
    pub canary: Snapshot<CanaryStatus>,
    /// What became of what was sent to the OTLP receiver.
    pub spans: Arc<SpanCounts>,
    /// What is kept, and Redis beneath it.
    pub cache: Arc<Store<Reason>>,
}

impl StatusSource {
    fn warnings(&self) -> Vec<String> {
        let file = self.config.file_problem();
        let redis = self.cache.l2().and_then(|l2| l2.tier().problem());
        let canary = self.canary.load().problem();
        let first = [file, redis, canary].into_iter().flatten();
        first.chain(self.spans.problems()).collect()
    }

    /// The node as it is now.
    pub fn status(&self) -> pb::Status {
        let routing = self.routing.load();
        let in_force = self.config.in_force();
        let services: Vec<_> = routing.services.iter().map(|s| service_status(s)).collect();
        let totals = Totals::of(routing.services.iter().map(|service| &*service.metrics));
        pb::Status {
            node: in_force.config.node.name.clone(),
            zone: in_force.config.node.zone.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            state: self.orders.state().to_owned(),
            requests: totals.requests,
            success_rate: totals.success_rate(),
            mean_response_us: totals.mean_us(),
            requests_in_flight: self.metrics.sum(|core| &core.requests_in_flight),
            connections_open: self.metrics.sum(|core| &core.connections_open),
            tunnels_open: self.metrics.sum(|core| &core.tunnels_open),
            config_revision: in_force.revision,
            config_refusals: in_force.refusals,
            config_problems: in_force
                .last_problems
                .iter()
                .map(ToString::to_string)
                .collect(),
            services,
            control_plane: Some(control_link(&self.control_plane.load())),
            canary: Some(canary(&self.canary.load())),
            warnings: self.warnings(),
        }
    }

    /// True while `status` knows of the last orders and of the last offered configuration.
    pub fn was_told_nothing_since(&self, status: &pb::Status) -> bool {
        let in_force = self.config.in_force();
        status.state == self.orders.state()
            && status.config_revision == in_force.revision
            && status.config_refusals == in_force.refusals
    }
}

/// A node of the mesh.
pub fn peer(peer: &control::Peer) -> pb::Peer {
    pb::Peer {
        node: peer.node_id.clone(),
        zone: peer.zone.clone(),
        version: peer.node_version.clone(),
        grpc_address: peer.grpc_address.clone(),
        http_api_address: peer.http_api_address.clone(),
        ingress_addresses: peer.ingress_addresses.clone(),
        labels: peer.labels.clone(),
    }
}

fn canary(status: &CanaryStatus) -> pb::Canary {
    pb::Canary {
        from: status.from.clone().unwrap_or_default(),
        received: status.received,
        lost: status.lost,
        latency_ms: u64::try_from(status.latency.as_millis()).unwrap_or(u64::MAX),
        silent_s: status.silent_for.as_secs(),
        is_silent: status.is_silent,
    }
}

fn control_link(standing: &LinkStatus) -> pb::ControlLink {
    let state = match (standing.configured, standing.connected) {
        (false, _) => "none",
        (true, true) => "connected",
        (true, false) => "away",
    };
    let told = |error: &FieldError| convert::problem(error).to_string();
    let profile = &standing.profile;
    let hash = profile.effective_hash.iter();
    pb::ControlLink {
        state: state.to_owned(),
        instance: standing.instance.to_string(),
        away_s: standing.away_since.map_or(0, |at| at.elapsed().as_secs()),
        why: standing.why.to_string(),
        silent_s: standing.heard_at.map_or(0, |at| at.elapsed().as_secs()),
        profile: hash.map(|byte| format!("{byte:02x}")).collect(),
        profile_origin: profile.origin.clone(),
        profile_problems: profile.errors.iter().map(told).collect(),
        unsupported: profile
            .unsupported
            .iter()
            .map(|error| error.path.clone())
            .collect(),
        pending_restart: profile.pending_restart.clone(),
        peers: standing.peers.len() as u64,
        disk_problem: standing.disk_problem.clone().unwrap_or_default(),
    }
}

fn service_status(service: &Service) -> pb::ServiceStatus {
    let totals = Totals::of(std::iter::once(&*service.metrics));
    pb::ServiceStatus {
        name: service.settings.name.to_string(),
        healthy: healthy(service),
        total: match service.settings.files {
            Some(_) => 1,
            None => u32::try_from(service.backends.len()).unwrap_or(u32::MAX),
        },
        requests: totals.requests,
        success_rate: totals.success_rate(),
        mean_response_us: totals.mean_us(),
        panic: service.panic,
        asleep: is_asleep(service),
    }
}

#[derive(Default)]
struct Totals {
    requests: u64,
    failures: u64,
    sum_us: u64,
}

impl Totals {
    fn of<'a>(services: impl Iterator<Item = &'a ServiceMetrics>) -> Self {
        let mut totals = Self::default();
        for metrics in services {
            totals.requests += (1..=5).map(|class| metrics.responses(class)).sum::<u64>();
            totals.failures += metrics.responses(5);
            totals.sum_us += metrics.latency().sum_us;
        }
        totals
    }

    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    fn success_rate(&self) -> f64 {
        if self.requests == 0 {
            return 1.0;
        }
        1.0 - self.failures as f64 / self.requests as f64
    }

    fn mean_us(&self) -> u64 {
        self.sum_us.checked_div(self.requests).unwrap_or(0)
    }
}
