//! What a file that says nothing means; it is what users rely on, and knobs declare it.

use std::time::Duration;

use weir_core::balance::{DEFAULT_BOUNDED_LOAD_PERCENT, Policy};
use weir_core::content_coding::Coding;
use weir_core::health::HealthConfig;
use weir_core::tuning::knobs::{balancer, telemetry};
use weir_core::tuning::{Kind, Knob, Value};

use super::super::{Compression, Config, Environment, Given, PoolSettings, Timeouts};

const SECOND: Duration = Duration::from_secs(1);

fn parse(text: &str) -> Config {
    Config::parse(text, &Environment::new(), &Given::default()).unwrap()
}

#[test]
fn of_services() {
    let config = parse("[services.web.sticky]\n");
    let web = &config.services[0];
    assert_eq!(web.policy, Policy::default());
    assert_eq!(*web.health, HealthConfig::default());
    assert_eq!(web.sticky.as_ref().unwrap().ttl, 3_600 * SECOND);
    let timeouts = Timeouts {
        connect: 60 * SECOND,
        send: 120 * SECOND,
        read: 120 * SECOND,
        idle: 60 * SECOND,
        total: None,
    };
    assert_eq!(web.timeouts, timeouts);
    let pool = PoolSettings {
        connections_max: 10_000,
        idle_min: 0,
        idle_max: 1_000,
        idle_timeout: 60 * SECOND,
        h2_connections_max: 16,
        h2_streams_max: 100,
    };
    assert_eq!(web.pool, pool);
    let hashed = parse("[services.web.balance]\npolicy = \"consistent_hash\"\n");
    let bound = Policy::ConsistentHash {
        bounded_load_percent: DEFAULT_BOUNDED_LOAD_PERCENT,
    };
    assert_eq!(hashed.services[0].policy, bound);
}

#[test]
fn of_the_node() {
    let config = parse("");
    let ingress = &config.ingress;
    assert_eq!(config.node.drain_timeout, 30 * SECOND);
    assert_eq!(ingress.connections_max, 100_000);
    assert_eq!(ingress.header_timeout, 10 * SECOND);
    assert_eq!(ingress.keep_alive_timeout, 120 * SECOND);
    assert_eq!(ingress.body_idle_timeout, 60 * SECOND);
    assert_eq!(ingress.write_timeout, 60 * SECOND);
    assert_eq!(ingress.head_bytes_max, 64 << 10);
    let compression = Compression {
        codings: vec![Coding::Brotli, Coding::Gzip],
        level: 6,
        bytes_min: 1_000,
        bytes_max: 10_000_000,
    };
    assert_eq!(ingress.compression, compression);
    assert_eq!(ingress.headers_max, 100);
    assert_eq!(ingress.h2_streams_max, 128);
    assert_eq!(ingress.h2_stream_window_bytes, 256 << 10);
    assert_eq!(ingress.h2_connection_window_bytes, 4 << 20);
    assert!(!ingress.forwarding.headers.forwarded);
    assert_eq!(ingress.slow_request, Some(SECOND));
    assert!((config.telemetry.sample_ratio - 0.01).abs() < f64::EPSILON);
    assert_eq!(config.telemetry.status_cache_ttl, 2 * SECOND);
}

#[test]
fn every_policy_is_a_choice_and_every_choice_a_policy() {
    let Kind::Choice(choices) = balancer::POLICY.kind else {
        panic!("policies are chosen")
    };
    assert_eq!(choices.len(), 5);
    for choice in choices {
        assert_eq!(choice.parse::<Policy>().unwrap().name(), *choice);
    }
}

#[test]
fn a_share_of_the_file_keeps_a_millionth() {
    let config = parse("[telemetry]\nsample_ratio = 0.000001\n");
    assert!((config.telemetry.sample_ratio - 0.000_001).abs() < 1e-12);
    let value = |knob: &Knob| {
        let all = config.effective();
        all.into_iter().find(|e| e.knob == knob).unwrap().value
    };
    assert!(matches!(value(&telemetry::SAMPLE_RATIO), Value::Ratio(_)));
}
