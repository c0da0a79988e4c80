//! What a node makes of what it is told.

mod disk;
mod fake;
mod held;
mod layers;
mod overrides;
mod stream;
mod taker;
mod traced;

use std::time::Duration;

use prost::Message as _;
use weir_core::tuning::Code;
use weir_proto::control::v1 as pb;
use weir_proto::convert::{encode_profile, problem};
use weir_proto::sync::content_hash;
use weir_proto::tuning::v1 as tuning;

use super::held::HeldSet;
use super::*;
use crate::actors::config_agent::take_tests::profile;
use crate::actors::config_agent::tests::{run, started};
use crate::snapshot::Snapshot;
use crate::telemetry::spans::Tracer;
use crate::wiring::Wired;

/// A file with which a small connection window does not go.
const FILE: &str = "[ingress]\nh2_stream_window = \"8MiB\"\nh2_connection_window = \"9MiB\"\n\
    [services.web]\nbackends = [{ id = \"a\", address = \"127.0.0.1:1\" }]\n\
    [[routes]]\nservice = \"web\"\n";
const WINDOW: &str = "ingress.h2_connection_window";
const TIMEOUT: &str = "ingress.header_timeout";
/// When control planes of these tests send.
const SENT_AT: Duration = Duration::from_secs(1_000);

async fn node() -> Wired {
    Box::pin(started(FILE, Tracer::off())).await
}

fn ends(wired: &Wired) -> Ends {
    Ends {
        agent: wired.config.clone(),
        orders: wired.orders.clone(),
        status: Snapshot::new(LinkStatus::default()),
        keeper: None,
        tracer: wired.core_parts.tracer.clone(),
    }
}

fn new_taker(wired: &Wired) -> Taker {
    Taker::new(Start::default(), ends(wired))
}

/// A push of these resources, which are all there are.
fn push_of(kind: pb::ResourceType, resources: &[(&str, Vec<u8>)]) -> pb::Push {
    let resource = |(name, payload): &(&str, Vec<u8>)| pb::Resource {
        name: (*name).to_owned(),
        hash: content_hash(payload).to_vec(),
        payload: payload.clone().into(),
    };
    let resources: Vec<pb::Resource> = resources.iter().map(resource).collect();
    let members = resources
        .iter()
        .map(|r| (&*r.name, content_hash(&r.payload)));
    pb::Push {
        nonce: 7,
        r#type: kind as i32,
        epoch: "epoch".to_owned(),
        version: 9,
        reset: true,
        set_hash: weir_proto::sync::set_hash(members).to_vec(),
        sent_at_unix_ms: SENT_AT.as_millis().try_into().unwrap(),
        resources,
        ..pb::Push::default()
    }
}

fn base(settings: &[(&str, &str)]) -> tuning::Profile {
    encode_profile(&profile(settings))
}

fn tuned(tuned: &pb::TunedProfile) -> pb::Push {
    let payload = tuned.encode_to_vec();
    push_of(pb::ResourceType::Profile, &[("profile", payload)])
}

fn profile_push(settings: &[(&str, &str)]) -> pb::Push {
    tuned(&pb::TunedProfile {
        base: Some(base(settings)),
        overrides: Vec::new(),
    })
}

/// With overrides that end so long after they were sent.
fn overridden(settings: &[(&str, &str)], over: &[(&str, &str, Duration)]) -> pb::Push {
    let timed = |(path, value, hold): &(&str, &str, Duration)| pb::TimedSetting {
        setting: base(&[(*path, *value)]).settings.pop(),
        until_unix_ms: (SENT_AT + *hold).as_millis().try_into().unwrap(),
    };
    tuned(&pb::TunedProfile {
        base: Some(base(settings)),
        overrides: over.iter().map(timed).collect(),
    })
}

fn hash_of(push: &pb::Push) -> Vec<u8> {
    push.resources[0].hash.clone()
}

fn weights_push(weight: u32) -> pb::Push {
    let weights = pb::ServiceWeights {
        service: "web".to_owned(),
        weights: [("a".to_owned(), weight)].into(),
    };
    let payload = weights.encode_to_vec();
    push_of(pb::ResourceType::Weights, &[("web", payload)])
}

fn weight(wired: &Wired) -> u32 {
    wired.core_parts.routing.load().services[0].backends[0].weight
}

fn header_timeout(wired: &Wired) -> Duration {
    wired.core_parts.ingress.load().header_timeout
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Paths and codes of what is wrong.
fn wrong(errors: &[tuning::FieldError]) -> Vec<(String, Code)> {
    let short = |error: &tuning::FieldError| (error.path.clone(), problem(error).code);
    errors.iter().map(short).collect()
}

fn held(push: &pb::Push) -> HeldSet {
    HeldSet::default().after(push).unwrap()
}
