//! VPNs, and the limits of provisioning and of asking VPNs.

use super::super::VpnAuth;
use super::{Config, Environment, Given, accepts, check, problems};

#[test]
fn provision() {
    check(
        "provision",
        &[
            ("concurrent_max = 0", "0 is out of bounds (1 to 1000)"),
            (
                "interval_min = \"61s\"",
                "`61s` is out of bounds (0ms to 1m)",
            ),
            ("interval_min = 1", "expected a text, found integer (1)"),
            ("queue_max = 10001", "10001 is out of bounds (0 to 10000)"),
            ("soft_limit = \"2d\"", "`2d` is out of bounds (1s to 1d)"),
            ("hard_limit = \"0s\"", "`0s` is out of bounds (1s to 1d)"),
            ("attempts_max = 101", "101 is out of bounds (1 to 100)"),
            (
                "retry_delay = \"99ms\"",
                "`99ms` is out of bounds (100ms to 1d)",
            ),
            (
                "retry_delay_max = \"2d\"",
                "`2d` is out of bounds (100ms to 1d)",
            ),
            ("prefetch = 0", "0 is out of bounds (1 to 100)"),
            ("breaker_failures = 0", "0 is out of bounds (1 to 1000)"),
            (
                "breaker_failures = 1.5",
                "expected a whole number, found float",
            ),
            (
                "breaker_window = \"1ms\"",
                "`1ms` is out of bounds (1s to 1d)",
            ),
            (
                "breaker_recovery = \"1ms\"",
                "`1ms` is out of bounds (100ms to 1d)",
            ),
            ("uses_max = -1", "-1 is out of bounds (0 to 10000000)"),
            (
                "host_ports = \"9-8\"",
                "`9-8` is no range such as 19000-19999",
            ),
            ("host_ports = \"0-9\"", "`0-9` is no range"),
            ("host_ports = \"1-65536\"", "`1-65536` is no range"),
            ("host_ports = 9", "expected a text, found integer (9)"),
            (
                "docker_socket = \"tcp://a:1\"",
                "`tcp://a:1` must be unix:///path",
            ),
            ("colour = 1", "unknown key"),
        ],
    );
    accepts(
        "provision",
        &[
            "concurrent_max = 1000",
            "interval_min = \"0s\"",
            "queue_max = 0",
            "fleet_concurrent_max = 0",
            "uses_max = 10000000",
            "host_ports = \"1-65535\"",
            "host_ports = \"7 - 7\"",
            "soft_limit = \"5m\"\nhard_limit = \"5m\"",
        ],
    );
}

#[test]
fn provision_in_the_whole_mesh() {
    check(
        "provision",
        &[
            (
                "fleet_concurrent_max = 1001",
                "1001 is out of bounds (0 to 1000)",
            ),
            (
                "fleet_interval_min = \"2h\"",
                "`2h` is out of bounds (0ms to 1h)",
            ),
        ],
    );
}

#[test]
fn limits_of_provisioning_that_contradict_each_other_are_told() {
    for (keys, wanted) in [
        (
            "soft_limit = \"6m\"",
            "soft_limit: 6m is more than hard_limit (5m)",
        ),
        (
            "retry_delay_max = \"1s\"",
            "retry_delay: 1m is more than retry_delay_max (1s)",
        ),
    ] {
        let found = problems(&format!("[provision]\n{keys}\n"));
        assert_eq!(found, [format!("provision.{wanted}")]);
    }
}

#[test]
fn port_cache() {
    check(
        "port_cache",
        &[
            ("ttl = \"999ms\"", "`999ms` is out of bounds (1s to 1h)"),
            ("ttl = 60", "expected a text, found integer (60)"),
            (
                "watch_interval = \"999ms\"",
                "`999ms` is out of bounds (1s to 1h)",
            ),
            ("refresh_lead = \"2h\"", "`2h` is out of bounds (0ms to 1h)"),
            ("stale_max = \"2d\"", "`2d` is out of bounds (0ms to 1d)"),
            (
                "negative_ttl = \"2m\"",
                "`2m` is out of bounds (100ms to 1m)",
            ),
            (
                "request_timeout = \"0s\"",
                "`0s` is out of bounds (100ms to 1m)",
            ),
            (
                "health_interval = \"2h\"",
                "`2h` is out of bounds (100ms to 1h)",
            ),
            ("health_rise = 0", "0 is out of bounds (1 to 100)"),
            ("health_fall = 101", "101 is out of bounds (1 to 100)"),
            ("missing_max = \"0s\"", "`0s` is out of bounds (1s to 1d)"),
            ("changes_max = 0", "0 is out of bounds (1 to 1000)"),
            (
                "changes_window = \"2d\"",
                "`2d` is out of bounds (1s to 1d)",
            ),
            (
                "restart_quiet = \"11m\"",
                "`11m` is out of bounds (0ms to 10m)",
            ),
            (
                "restart_settle = \"2h\"",
                "`2h` is out of bounds (0ms to 1h)",
            ),
            ("colour = 1", "unknown key"),
        ],
    );
    accepts(
        "port_cache",
        &[
            "ttl = \"1s\"",
            "refresh_lead = \"0s\"",
            "stale_max = \"0s\"",
            "health_rise = 100\nhealth_fall = 1",
        ],
    );
}

#[test]
fn vpns() {
    check(
        "vpns.nl",
        &[
            (
                "control_url = \"gluetun:8000\"",
                "`gluetun:8000` must be http://host:port",
            ),
            (
                "control_url = \"https://a:1\"",
                "`https://a:1` must be http://host:port",
            ),
            (
                "control_url = \"http://a\"",
                "`http://a` must be http://host:port",
            ),
            (
                "control_url = \"http://a:0\"",
                "`http://a:0` must be http://host:port",
            ),
            (
                "control_url = \"http://a:1/v1\"",
                "`http://a:1/v1` must be http://host:port",
            ),
            ("control_url = 7", "expected a text, found integer (7)"),
            (
                "needs_public_ip = 1",
                "expected true or false, found integer (1)",
            ),
            ("container = 7", "expected a text, found integer (7)"),
            ("engine_host = \"a:1\"", "`a:1` is no host name or address"),
            (
                "ports = \"19000\"",
                "`19000` is no range such as 19000-19999",
            ),
            (
                "forwards_port = \"maybe\"",
                "expected true or false, found string",
            ),
            ("engines_max = 0", "0 is out of bounds (1 to 10000)"),
            (
                "restart_after = \"1ms\"",
                "`1ms` is out of bounds (1s to 1d)",
            ),
            ("restart_after = 60", "expected a text, found integer (60)"),
            (
                "replace_on_reconnect = 1",
                "expected true or false, found integer (1)",
            ),
            (
                "tells_port = 1",
                "expected true or false, found integer (1)",
            ),
            ("user = 1", "expected a text, found integer (1)"),
            ("colour = 1", "unknown key"),
        ],
    );
    let sound = "control_url = \"http://a:1\"";
    accepts(
        "vpns.nl",
        &[
            &format!("{sound}\nengines_max = 10000\nports = \"1-65535\""),
            &format!("{sound}\nrestart_after = \"off\""),
            &format!("{sound}\nrestart_after = \"1d\"\ncontainer = \"gluetun\""),
            "control_url = \"http://[::1]:8000/\"",
        ],
    );
}

#[test]
fn vpns_that_contradict_themselves_are_told() {
    let sound = "control_url = \"http://a:1\"";
    for (keys, wanted) in [
        ("", "control_url: is required: http://host:port"),
        ("restart_after = \"60s\"", "restart_after: needs container"),
        ("user = \"u\"", "user: needs password"),
        ("password = \"env:P\"", "password: needs user"),
        (
            "api_key = \"env:K\"\nuser = \"u\"\npassword = \"env:P\"",
            "api_key: does not go with user and password",
        ),
        (
            "api_key = \"env:K\"\npassword = \"env:P\"",
            "api_key: does not go with user and password",
        ),
    ] {
        let url = if keys.is_empty() { "" } else { sound };
        let found = problems(&format!("[vpns.nl]\n{url}\n{keys}\n"));
        assert_eq!(found, [format!("vpns.nl.{wanted}")], "{keys}");
    }
    let found = problems(&format!("[vpns.\"two words\"]\n{sound}\n"));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("vpns.two words.name: `two words` must be 1 to 63"),
        "{found:?}"
    );
    let many: Vec<String> = (0..17)
        .map(|at| format!("[vpns.v{at}]\n{sound}\n"))
        .collect();
    assert_eq!(problems(&many.concat()), ["vpns: 17 of them, at most 16"]);
}

#[test]
fn nothing_that_may_be_a_secret_is_told() {
    let sound = "control_url = \"http://a:1\"";
    for (keys, wanted) in [
        (
            "control_url = \"http://me:hunter2@a:1\"",
            "control_url: must hold no name or password; use user and password",
        ),
        (
            "control_url = \"http://hunter2@a:port\"",
            "control_url: must hold no name or password; use user and password",
        ),
        (
            "control_url = \"http://a:1/?api_key=hunter2\"",
            "control_url: must be http://host:port without a query; use api_key",
        ),
        (
            "api_key = \"hunter2\"",
            "api_key: must be file:/path or env:NAME",
        ),
        (
            "user = \"me\"\npassword = \"hunter2\"",
            "password: must be file:/path or env:NAME",
        ),
        (
            "api_key = [\"hunter2\"]",
            "api_key: must be file:/path or env:NAME",
        ),
    ] {
        let url = if keys.starts_with("control_url") {
            ""
        } else {
            sound
        };
        let found = problems(&format!("[vpns.nl]\n{url}\n{keys}\n"));
        assert!(
            found.contains(&format!("vpns.nl.{wanted}")),
            "{keys}: {found:?}"
        );
        assert!(!found.concat().contains("hunter2"), "{found:?}");
    }
}

#[test]
fn engines_behind_a_vpn_are_reached_at_its_control_servers_host() {
    let text = "[vpns.a]\ncontrol_url = \"http://[::1]:8000\"\n\
                [vpns.b]\ncontrol_url = \"http://gluetun:8000\"\nuser = \"u\"\npassword = \"env:P\"\n\
                [vpns.c]\ncontrol_url = \"http://x:1\"\nengine_host = \"10.0.0.1\"\n";
    let config = Config::parse(text, &Environment::new(), &Given::default()).unwrap();
    let hosts: Vec<_> = config.vpns.iter().map(|vpn| &*vpn.engine_host).collect();
    assert_eq!(hosts, ["::1", "gluetun", "10.0.0.1"]);
    assert!(matches!(&config.vpns[1].auth, VpnAuth::Basic(user, _) if user == "u"));
    assert_eq!(config.vpns[2].auth, VpnAuth::None);
}

#[test]
fn another_docker_needs_a_restart() {
    let config = |text: &str| Config::parse(text, &Environment::new(), &Given::default()).unwrap();
    let other = config("[provision]\ndocker_socket = \"unix:///run/other.sock\"\nqueue_max = 7\n");
    let found = other.needs_restart(&config(""));
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "provision.docker_socket: unix:///run/other.sock needs a restart of the node \
          (running with unix:///var/run/docker.sock)"
        ]
    );
}
