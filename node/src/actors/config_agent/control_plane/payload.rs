//! From what is held to what the config agent takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::time::Instant;
use weir_core::ids::{BackendId, ServiceName};
use weir_core::tuning::{Code, Problem, Profile};
use weir_proto::control::v1 as pb;
use weir_proto::convert::decode_profile;
use weir_proto::sync::ContentHash;
use weir_proto::tuning::v1 as tuning;

use super::held::HeldSet;
use crate::config::{Endpoints, EngineFacts, RegisteredBackend, Weights};

/// A profile as it was offered.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    /// Names its content.
    pub(super) hash: ContentHash,
    /// What it is made of, for the disk.
    pub(super) set: HeldSet,
    /// Where it comes from, as the control plane is told.
    pub(super) origin: &'static str,
    base: Profile,
    overrides: Vec<TimedOverride>,
    /// Knobs that this version does not know.
    pub(super) unknown: Vec<Problem>,
    /// Values that this version does not allow; nothing of the profile is taken then.
    pub(super) problems: Vec<Problem>,
}

#[derive(Clone, Debug)]
struct TimedOverride {
    profile: Profile,
    until: Instant,
}

impl Offered {
    /// The profile that is held, if one is. `elapsed` is what has passed since it was sent, as far as it is known.
    pub(super) fn of(held: &HeldSet, elapsed: Duration, now: Instant) -> Option<Self> {
        let (hash, payload) = held.get("profile")?;
        let mut offered = Self {
            hash,
            set: held.clone(),
            origin: "control-plane",
            base: Profile::new(),
            overrides: Vec::new(),
            unknown: Vec::new(),
            problems: Vec::new(),
        };
        let Ok(wire) = pb::TunedProfile::decode(payload.clone()) else {
            let problem = Problem::new("profile", Code::Type, "cannot be read", "");
            offered.problems.push(problem);
            return Some(offered);
        };
        offered.base = offered.decode(wire.base.unwrap_or_default());
        for timed in wire.overrides {
            let settings = timed.setting.into_iter().collect();
            let profile = offered.decode(tuning::Profile { settings });
            let left_at_sending = timed.until_unix_ms.saturating_sub(held.sent_at_unix_ms());
            let left = Duration::from_millis(left_at_sending).saturating_sub(elapsed);
            let until = now + left.min(OVERRIDE_MAX);
            offered.overrides.push(TimedOverride { profile, until });
        }
        Some(offered)
    }

    fn decode(&mut self, wire: tuning::Profile) -> Profile {
        let decoded = decode_profile(&wire);
        self.unknown.extend(decoded.unknown);
        self.problems.extend(decoded.problems);
        decoded.profile
    }

    /// The knobs that hold now.
    pub(super) fn at(&self, now: Instant) -> Profile {
        let mut profile = self.base.clone();
        for timed in self.overrides.iter().filter(|timed| timed.until > now) {
            for (path, value) in timed.profile.iter() {
                let set = profile.set_path(path, value.clone());
                set.expect("it was within bounds when it was decoded");
            }
        }
        profile
    }

    /// When the next override ends.
    pub(super) fn next_end(&self, now: Instant) -> Option<Instant> {
        let ends = self.overrides.iter().map(|timed| timed.until);
        ends.filter(|until| *until > now).min()
    }
}

/// No override holds for longer, whatever is sent.
const OVERRIDE_MAX: Duration = Duration::from_secs(86_400);

/// The weights that are held; what cannot be read is left out.
pub(super) fn weights(held: &HeldSet) -> Weights {
    let mut weights = Weights::new();
    for (name, payload) in held.iter() {
        let Ok(wire) = pb::ServiceWeights::decode(payload.clone()) else {
            tracing::error!(service = name, "weights cannot be read");
            continue;
        };
        let of_service: BTreeMap<BackendId, u32> = wire
            .weights
            .iter()
            .map(|(id, weight)| (BackendId::from(id.as_str()), *weight))
            .collect();
        weights.insert(ServiceName::from(wire.service.as_str()), of_service);
    }
    weights
}

/// The registered backends that are held; what cannot be read is left out.
pub(super) fn endpoints(held: &HeldSet) -> Endpoints {
    let mut endpoints = Endpoints::new();
    for (name, payload) in held.iter() {
        let Ok(wire) = pb::Endpoint::decode(payload.clone()) else {
            tracing::error!(backend = name, "a registered backend cannot be read");
            continue;
        };
        let backend = RegisteredBackend {
            address: wire.address,
            weight: wire.weight,
            zone: wire.zone,
            priority: wire.priority,
            engine: EngineFacts::of(&wire.labels),
        };
        let service = ServiceName::from(wire.service.as_str());
        let id = BackendId::from(wire.backend_id.as_str());
        endpoints.entry(service).or_default().insert(id, backend);
    }
    endpoints
}

/// The nodes of the mesh that are held; what cannot be read is left out.
pub(super) fn peers(held: &HeldSet) -> Arc<[pb::Peer]> {
    let decode = |(_, payload): (&str, &bytes::Bytes)| pb::Peer::decode(payload.clone()).ok();
    held.iter().filter_map(decode).collect()
}

/// The orders that are held.
pub(super) fn orders(held: &HeldSet) -> pb::NodeOrders {
    let wire = held.get("node").map(|(_, payload)| payload.clone());
    wire.and_then(|payload| pb::NodeOrders::decode(payload).ok())
        .unwrap_or_default()
}
