//! Every knob that the node supports reaches the part that reads it; every other one is refused by name.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_core::tuning::{ApplyClass, Code, Kind, Knob, Profile, Ratio, Value, all};

use super::tests::{run, started};
use super::*;
use crate::config::{Effective, Source, supported};
use crate::data_plane::routing::Service;
use crate::ports::clock::WallClock;
use crate::telemetry::recent::Recent;
use crate::telemetry::spans::Tracer;
use crate::wiring::Wired;

/// Services that leave every knob to the profile, but for the policy of one.
const FILE: &str = "[node]\ncores = 2\n\
    [services.web]\nbackends = [\"127.0.0.1:1\"]\n[services.web.sticky]\n\
    [services.ring]\nbackends = [\"127.0.0.1:2\"]\nbalance = { policy = \"consistent_hash\" }\n\
    [[routes]]\nservice = \"web\"\n[routes.timeouts]\n";

/// What each part holds, as it holds it.
fn parts(wired: &Wired) -> BTreeMap<&'static str, String> {
    let routing = wired.core_parts.routing.load();
    let in_force = wired.config.in_force();
    let of_services = |shown: fn(&Service) -> String| {
        let services = routing.services.iter();
        services.map(|s| shown(s)).collect::<Vec<_>>().join("\n")
    };
    let ingress = wired.core_parts.ingress.load();
    let waits_and_pools =
        of_services(|s| format!("{:?} {:?}", s.settings.timeouts, s.settings.pool));
    let balancing = of_services(|s| {
        let health: Vec<_> = s.backends.iter().map(|view| &view.health).collect();
        format!("{:?} {:?} {health:?}", s.selector, s.stickiness)
    });
    BTreeMap::from([
        (
            "data plane",
            format!("{ingress:?} {waits_and_pools} {:?}", routing.routes),
        ),
        ("load balancer", balancing),
        (
            "telemetry",
            format!(
                "{:?} {:?}",
                wired.core_parts.tracer, in_force.config.telemetry.metrics_export_interval
            ),
        ),
        ("debug", {
            let telemetry = &in_force.config.telemetry;
            format!(
                "{:?} {:?} {:?}",
                telemetry.profile_duration,
                weir_heap::since_start().map(|sampled| sampled.interval),
                telemetry.dependency_timeout
            )
        }),
        ("node", format!("{:?}", in_force.config.node)),
        (
            "provision",
            format!("{:?}", wired.provision.picture().limits),
        ),
        (
            "port cache",
            format!("{:?}", wired.port_cache.table().limits()),
        ),
        ("cache", {
            let store = wired.cache_tier.store();
            let memory = (store.bytes_max(), store.entry_bytes_max());
            format!("{memory:?} {:?}", store.shared())
        }),
        (
            "broadcaster",
            format!(
                "{:?} {:?}",
                wired.broadcast.settings(),
                wired.broadcast.topics().limits()
            ),
        ),
        (
            "cache warming",
            format!("{:?}", wired.cache_warmer.settings()),
        ),
        ("status", format!("{:?}", wired.status_age_max.load())),
        ("alerts", format!("{:?}", wired.alerts.limits())),
        ("history", format!("{:?}", wired.history.settings())),
        ("logs", {
            let levels = wired.logs.levels.borrow().clone();
            format!("{levels:?} {}", wired.logs.lines_max.load())
        }),
    ])
}

/// Values of a knob that nothing of [`FILE`] says already.
fn others(knob: &Knob, now: &Value) -> Vec<Value> {
    let ms = Duration::from_millis(1);
    let values = match knob.kind {
        Kind::Duration(low, high) => [low, low + ms, high].map(Value::Duration).to_vec(),
        Kind::DurationOrOff(low, high) => {
            vec![Value::Off, Value::Duration(low), Value::Duration(high)]
        }
        Kind::Bytes(low, high) => [low, low + 1, high].map(Value::Bytes).to_vec(),
        Kind::Count(low, high) => [low + 1, low, high].map(Value::Count).to_vec(),
        Kind::Percent(low, high) => [low, low + 1, high].map(Value::Percent).to_vec(),
        Kind::Ratio => [0, 500_000]
            .map(|ppm| Value::Ratio(Ratio::from_ppm(ppm).unwrap()))
            .to_vec(),
        Kind::Flag => [true, false].map(Value::Flag).to_vec(),
        Kind::Choice(all) => all
            .iter()
            .map(|choice| Value::Choice((*choice).to_owned()))
            .collect(),
        Kind::Texts => ["one", "gzip", "5 5 * * *", "debug"]
            .map(|text| Value::Texts(vec![text.to_owned()]))
            .to_vec(),
    };
    values.into_iter().filter(|value| value != now).collect()
}

fn effective_of(wired: &Wired, knob: &Knob) -> Effective {
    let all = wired.config.in_force().config.effective();
    all.into_iter()
        .find(|effective| effective.knob == knob)
        .unwrap()
}

async fn take(wired: &Wired, profile: Profile) -> Verdict {
    wired.config.take(Give::Profile(profile)).await.unwrap()
}

/// Gives the knob the first value that goes with [`FILE`].
async fn give_another(wired: &Wired, knob: &Knob) -> (Value, Taken) {
    for value in others(knob, &effective_of(wired, knob).value) {
        let mut profile = Profile::new();
        profile.set(knob, value.clone()).unwrap();
        if let Ok(taken) = take(wired, profile).await {
            return (value, taken);
        }
    }
    panic!("{}: no other value is feasible", knob.path);
}

#[tokio::test(start_paused = true)]
async fn every_knob_reaches_its_consumer_or_is_named_as_unsupported() {
    run(Box::pin(async {
        let config = Config::parse(FILE, &Environment::new(), &Given::default()).unwrap();
        let sampling = config.sampling();
        let (tracer, _spans) = Tracer::new(sampling.head, WallClock::system());
        tracer.set_sampling(sampling);
        let recent = Recent::new(1, config.telemetry.trace_recent_bytes_max);
        let tracer = tracer.with_recent(recent, WallClock::system());
        let wired = Box::pin(started(FILE, tracer)).await;
        let before = parts(&wired);
        for knob in all() {
            let (value, taken) = Box::pin(give_another(&wired, knob)).await;
            let after = parts(&wired);
            let effective = effective_of(&wired, knob);
            match (supported().get(knob.path), knob.apply) {
                (None, _) => {
                    let named: Vec<_> = taken
                        .unsupported
                        .iter()
                        .map(|p| (p.path.as_str(), p.code))
                        .collect();
                    assert_eq!(named, [(knob.path, Code::Unsupported)]);
                    assert_eq!(after, before, "{} changes something", knob.path);
                    assert_eq!(
                        (effective.consumer, effective.source),
                        ("", Source::Default)
                    );
                }
                (Some(consumer), ApplyClass::Hot | ApplyClass::NewConnections) => {
                    assert_eq!(taken, Taken::default(), "{}", knob.path);
                    assert!(
                        before.contains_key(consumer),
                        "{consumer} shows what it holds"
                    );
                    assert_ne!(
                        after[consumer], before[consumer],
                        "{} does not reach the {consumer}",
                        knob.path
                    );
                    assert_eq!(
                        (effective.value, effective.source),
                        (value, Source::Profile)
                    );
                    assert_eq!(effective.consumer, *consumer);
                }
                (Some(_), _) => {
                    assert_eq!(taken.pending_restart, [knob.path]);
                    assert_eq!(after, before, "{} waits for a start", knob.path);
                    assert!(effective.pending.is_some(), "{}", knob.path);
                }
            }
            take(&wired, Profile::new()).await.unwrap();
            assert_eq!(
                parts(&wired),
                before,
                "{} leaves something behind",
                knob.path
            );
        }
    }))
    .await;
}
