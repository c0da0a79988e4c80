//! Names of the environment that users of engine orchestrators know.

use std::time::Duration;

use super::super::{EngineSettings, VpnAuth};
use super::{Config, Given};

const ENGINES: &str = "[services.tv.engines]\nmax = 7\n";

fn parse(pairs: &[(&str, &str)]) -> Result<Config, String> {
    parse_with(ENGINES, pairs)
}

fn parse_with(file: &str, pairs: &[(&str, &str)]) -> Result<Config, String> {
    let environment = pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Config::parse(file, &environment, &Given::default()).map_err(|invalid| invalid.to_string())
}

#[test]
fn names_that_orchestrators_use_keep_working() {
    let config = parse(&[
        ("MAX_CONCURRENT_PROVISIONS", "3"),
        ("MIN_PROVISION_INTERVAL_S", "0.25"),
        ("GLUETUN_PORT_CACHE_TTL_S", "30"),
        ("TARGET_IMAGE", "acestream/engine:latest"),
        ("MIN_REPLICAS", "2"),
        ("MAX_REPLICAS", "9"),
        ("CONTAINER_LABEL", "ondemand.app=tv"),
        ("GLUETUN_CONTAINER_NAME", "gluetun"),
        ("GLUETUN_CONTAINER_NAME_2", "other"),
        ("GLUETUN_API_PORT", "8001"),
        ("GLUETUN_API_KEY", "secret"),
        ("GLUETUN_PORT_RANGE_2", "19500-19999"),
        ("VPN_RESTART_ENGINES_ON_RECONNECT", "True"),
    ])
    .unwrap();
    assert_eq!(config.provision.concurrent_max, 3);
    assert_eq!(config.provision.interval_min, Duration::from_millis(250));
    // Whoever knows these names has one orchestrator for all.
    assert_eq!(config.provision.fleet_concurrent_max, 3);
    let fleet_interval = config.provision.fleet_interval_min;
    assert_eq!(fleet_interval, Duration::from_millis(250));
    assert_eq!(config.port_cache.ttl, Duration::from_secs(30));
    let engines = config.services[0].engines.as_ref().unwrap();
    assert_eq!(engines.launch.image, "acestream/engine:latest");
    assert_eq!(engines.launch.labels["ondemand.app"], "tv");
    assert_eq!(
        (engines.scale.min, engines.scale.max),
        (2, 7),
        "the service's own word wins"
    );
    assert_eq!(engines.launch.vpns, ["gluetun", "gluetun-2"]);
    assert_eq!(config.vpns[1].control_url, "http://other:8001");
    assert_eq!(config.vpns[1].ports, 19_500..=19_999);
    assert!(config.vpns[0].replace_on_reconnect);
    assert!(matches!(config.vpns[0].auth, VpnAuth::ApiKey(_)));
    assert!(!format!("{:?}", config.vpns).contains("secret\""));
}

#[test]
fn a_wrong_value_is_named_by_its_variable() {
    let problem =
        parse(&[("TARGET_IMAGE", "x"), ("MIN_PROVISION_INTERVAL_S", "soon")]).unwrap_err();
    assert!(
        problem.contains("$MIN_PROVISION_INTERVAL_S: `soon` is no number of seconds"),
        "{problem}"
    );
    let problem = parse(&[("TARGET_IMAGE", "x"), ("MAX_CONCURRENT_PROVISIONS", "0")]).unwrap_err();
    assert!(
        problem.contains("provision.concurrent_max: 0 is out of bounds"),
        "{problem}"
    );
}

fn engines(config: &Config) -> &EngineSettings {
    config.services[0].engines.as_ref().unwrap()
}

/// Names with a value that is wrong, or that a node without engines must not follow.
const ODD: [(&str, &str); 12] = [
    ("MIN_REPLICAS", "50"),
    ("MAX_REPLICAS", "10"),
    ("MIN_FREE_REPLICAS", "many"),
    ("APP_PORT", "3000"),
    ("DOCKER_HOST", "tcp://10.0.0.1:2375"),
    ("PORT_RANGE_HOST", "all"),
    ("CONTAINER_LABEL", "none"),
    ("GLUETUN_CONTAINER_NAME", "gluetun"),
    ("GLUETUN_API_PORT", "http"),
    ("VPN_MODE", "three"),
    ("MAX_CONCURRENT_PROVISIONS", "0"),
    ("STARTUP_TIMEOUT_S", "soon"),
];

#[test]
fn a_node_without_engines_follows_none_of_the_names() {
    for file in ["", "[services.web]\nbackends = [\"10.0.0.1:80\"]\n"] {
        let config = parse_with(file, &ODD).unwrap();
        let plain = parse_with(file, &[]).unwrap();
        assert_eq!(config.http_api, plain.http_api);
        assert_eq!(config.provision, plain.provision);
        assert_eq!(config.vpns, []);
    }
    for odd in ODD.into_iter().filter(|(name, _)| {
        ![
            "MIN_REPLICAS",
            "MAX_REPLICAS",
            "APP_PORT",
            "GLUETUN_API_PORT",
        ]
        .contains(name)
            && *name != "GLUETUN_CONTAINER_NAME"
    }) {
        let refused = parse(&[("TARGET_IMAGE", "x"), odd]).unwrap_err();
        assert!(refused.contains(odd.1), "{odd:?}: {refused}");
    }
}

#[test]
fn engines_that_the_environment_alone_names_count() {
    let config = parse_with(
        "",
        &[
            ("WEIR_SERVICES__TV__ENGINES__MIN", "2"),
            ("TARGET_IMAGE", "x"),
        ],
    )
    .unwrap();
    assert_eq!(engines(&config).launch.image, "x");
    let vpn = "[vpns.nl]\ncontrol_url = \"http://a:1\"\n";
    let config = parse_with(vpn, &[("GLUETUN_PORT_CACHE_TTL_S", "7")]).unwrap();
    assert_eq!(config.port_cache.ttl, Duration::from_secs(7));
}

#[test]
fn names_of_this_project_win_over_those_of_others() {
    let config = parse(&[
        ("TARGET_IMAGE", "theirs"),
        ("WEIR_ENGINES__IMAGE", "ours"),
        ("MIN_REPLICAS", "2"),
        ("WEIR_ENGINES__MIN", "3"),
        ("MAX_REPLICAS", "9"),
        ("WEIR_SERVICES__TV__ENGINES__MAX", "8"),
        ("MONITOR_INTERVAL_S", "10"),
        ("WEIR_ENGINES__PROBE__INTERVAL", "2s"),
        ("MAX_CONCURRENT_PROVISIONS", "4"),
        ("WEIR_PROVISION__CONCURRENT_MAX", "5"),
        ("GLUETUN_CONTAINER_NAME", "gluetun"),
        ("WEIR_VPNS__GLUETUN__CONTROL_URL", "http://other:9"),
        ("GLUETUN_PORT_CACHE_TTL_S", "30"),
        ("WEIR_PORT_CACHE__TTL", "40s"),
        ("APP_PORT", "8000"),
        ("WEIR_HTTP_API__LISTEN", "127.0.0.1:8001"),
    ])
    .unwrap();
    let engines = engines(&config);
    assert_eq!(engines.launch.image, "ours");
    assert_eq!((engines.scale.min, engines.scale.max), (3, 8));
    assert_eq!(engines.care.interval, Duration::from_secs(2));
    assert_eq!(config.provision.concurrent_max, 5);
    assert_eq!(config.vpns[0].control_url, "http://other:9");
    assert_eq!(config.port_cache.ttl, Duration::from_secs(40));
    assert_eq!(config.http_api.listen.to_string(), "127.0.0.1:8001");
}

#[test]
fn every_other_name_sets_what_it_says() {
    let config = parse(&[
        ("TARGET_IMAGE", "x"),
        ("APP_PORT", "8000"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "6"),
        ("CIRCUIT_BREAKER_RECOVERY_TIMEOUT_S", "7"),
        ("DOCKER_HOST", "unix:///run/user/1/docker.sock"),
        ("GLUETUN_HEALTH_CHECK_INTERVAL_S", "8"),
        ("DOCKER_NETWORK", "engines"),
        ("PORT_RANGE_HOST", "20000-20999"),
        ("MIN_FREE_REPLICAS", "2"),
        ("MAX_STREAMS_PER_ENGINE", "3"),
        ("IDLE_TTL_S", "600"),
        ("STARTUP_TIMEOUT_S", "25.5"),
        ("MONITOR_INTERVAL_S", "10"),
        ("HEALTH_FAILURE_THRESHOLD", "4"),
        ("HEALTH_UNHEALTHY_GRACE_PERIOD_S", "61"),
        ("HEALTH_REPLACEMENT_COOLDOWN_S", "62"),
        ("GLUETUN_CONTAINER_NAME", "gluetun"),
        ("GLUETUN_CONTAINER_NAME_2", "other"),
        ("GLUETUN_PORT_RANGE_1", "19000-19499"),
        ("MAX_ACTIVE_REPLICAS", "30"),
        ("VPN_UNHEALTHY_RESTART_TIMEOUT_S", "63"),
        ("VPN_MODE", "single"),
    ])
    .unwrap();
    let secs = Duration::from_secs;
    assert_eq!(config.http_api.listen.to_string(), "127.0.0.1:8000");
    let provision = &config.provision;
    assert_eq!(provision.breaker_failures, 6);
    assert_eq!(provision.breaker_recovery, secs(7));
    assert_eq!(provision.docker_socket, "unix:///run/user/1/docker.sock");
    assert_eq!(provision.host_ports, 20_000..=20_999);
    assert_eq!(config.port_cache.health_interval, secs(8));
    let (launch, scale, care) = {
        let EngineSettings {
            launch,
            scale,
            care,
        } = engines(&config);
        (launch, scale, care)
    };
    assert_eq!(format!("{:?}", launch.network), "Named(\"engines\")");
    assert_eq!((scale.free, scale.streams_max), (2, 3));
    assert_eq!(scale.idle_grace, secs(600));
    assert_eq!(launch.start_timeout, Duration::from_millis(25_500));
    assert_eq!(care.ready_timeout, launch.start_timeout);
    assert_eq!((care.interval, care.failures_max), (secs(10), 4));
    assert_eq!(care.unhealthy_grace, secs(61));
    assert_eq!(care.replacement_cooldown, secs(62));
    assert_eq!(launch.vpns, ["gluetun"], "one VPN in single mode");
    let vpn = &config.vpns[0];
    assert_eq!(config.vpns.len(), 1);
    assert_eq!((vpn.engines_max, vpn.restart_after), (30, Some(secs(63))));
    assert_eq!(vpn.ports, 19_000..=19_499);
}

#[test]
fn the_narrower_of_two_names_wins() {
    let config = parse(&[
        ("TARGET_IMAGE", "x"),
        ("IDLE_TTL_S", "600"),
        ("ENGINE_GRACE_PERIOD_S", "30"),
        ("MONITOR_INTERVAL_S", "10"),
        ("HEALTH_CHECK_INTERVAL_S", "20"),
    ])
    .unwrap();
    let engines = engines(&config);
    assert_eq!(engines.scale.idle_grace, Duration::from_secs(30));
    assert_eq!(engines.care.interval, Duration::from_secs(20));
}

#[test]
fn names_that_are_set_and_have_no_effect_are_told_with_why() {
    let told = |file: &str, pairs: &[(&str, &str)]| -> Vec<&'static str> {
        let config = parse_with(file, pairs).unwrap();
        assert!(config.ignored_names.iter().all(|one| !one.why.is_empty()));
        config.ignored_names.iter().map(|one| one.name).collect()
    };
    let image = ("TARGET_IMAGE", "x");
    let set = [
        image,
        ("AUTOSCALE_INTERVAL_S", "30"),
        ("COLLECT_INTERVAL_S", "5"),
        ("ACE_HTTP_RANGE", "40000-44999"),
        ("ACE_HTTPS_RANGE", "45000-49999"),
        ("CIRCUIT_BREAKER_REPLACEMENT_THRESHOLD", "3"),
        ("CIRCUIT_BREAKER_REPLACEMENT_TIMEOUT_S", "180"),
    ];
    let names: Vec<&str> = set[1..].iter().map(|(name, _)| *name).collect();
    assert_eq!(told(ENGINES, &set), names);
    // What says nothing here is nobody's mistake.
    assert_eq!(told("", &set), [""; 0]);
    assert_eq!(
        told(ENGINES, &[image, ("AUTOSCALE_INTERVAL_S", "")]),
        [""; 0]
    );
    // What only VPNs have, without any.
    let of_vpns = [
        image,
        ("GLUETUN_PORT_RANGE_1", "19000-19499"),
        ("MAX_ACTIVE_REPLICAS", "20"),
        ("VPN_RESTART_ENGINES_ON_RECONNECT", "true"),
    ];
    let names: Vec<&str> = of_vpns[1..].iter().map(|(name, _)| *name).collect();
    assert_eq!(told(ENGINES, &of_vpns), names);
    let with_vpn = [&of_vpns[..], &[("GLUETUN_CONTAINER_NAME", "gluetun")]].concat();
    assert_eq!(told(ENGINES, &with_vpn), [""; 0]);
}

#[test]
fn a_key_of_the_api_is_its_token_and_lets_it_listen_beyond_loopback() {
    let outside = ("WEIR_HTTP_API__LISTEN", "0.0.0.0:7480");
    let refused = parse(&[("TARGET_IMAGE", "x"), outside]).unwrap_err();
    assert!(refused.contains("has no authentication"), "{refused}");
    let config = parse(&[("TARGET_IMAGE", "x"), ("API_KEY", "s3cret"), outside]).unwrap();
    let token = config.http_api.token.as_ref().unwrap();
    assert_eq!(token.to_string(), "env:API_KEY");
    assert!(!format!("{config:?}").contains("s3cret"));
    let file = "[http_api]\nlisten = \"0.0.0.0:7480\"\ntoken = \"file:/run/token\"\n";
    let config = parse_with(file, &[]).unwrap();
    assert_eq!(
        config.http_api.token.unwrap().to_string(),
        "file:/run/token"
    );
    let refused = parse_with("[http_api]\ntoken = \"s3cret\"\n", &[]).unwrap_err();
    assert!(
        refused.contains("http_api.token: must be file:/path or env:NAME"),
        "{refused}"
    );
    assert!(!refused.contains("s3cret"));
}
