//! The node's state in the words of `weir.node.v1`: for gRPC, the HTTP API and the command line alike.

use std::time::Duration;

use weir_core::health::Standing;
use weir_proto::node::v1 as pb;

use crate::data_plane::routing::{BackendView, Service};

/// One service with its backends.
pub fn service(service: &Service) -> pb::Service {
    pb::Service {
        name: service.settings.name.to_string(),
        policy: service.settings.policy.name().to_owned(),
        backends: service.backends.iter().map(backend).collect(),
        panic: service.panic,
    }
}

fn backend(view: &BackendView) -> pb::Backend {
    let load = &view.backend.load;
    pb::Backend {
        id: view.backend.id.to_string(),
        address: view.backend.endpoint.to_string(),
        weight: view.weight,
        zone: view.zone.clone(),
        priority: view.priority,
        standing: standing(view) as i32,
        reason: view.reason.clone(),
        in_flight: load.in_flight(),
        requests: load.requests(),
        failures: load.failures(),
        latency: load.latency().and_then(proto_duration),
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
        Standing::Drained => pb::Standing::Drained,
    }
}

fn proto_duration(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}

/// A standing as people read it.
pub fn standing_name(standing: pb::Standing) -> &'static str {
    match standing {
        pb::Standing::Unspecified => "unknown",
        pb::Standing::In => "in",
        pb::Standing::SlowStart => "slow-start",
        pb::Standing::Unhealthy => "unhealthy",
        pb::Standing::Ejected => "ejected",
        pb::Standing::Draining => "draining",
        pb::Standing::Drained => "drained",
        pb::Standing::Weightless => "weight-0",
    }
}
