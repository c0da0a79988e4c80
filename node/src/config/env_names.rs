//! Names of the environment that users of engine orchestrators know, as keys of this configuration.
//!
//! What holds for one service there holds here for every service that does not say otherwise (`[engines]`). Some of the
//! names mean other things to other programs: they count on nodes with engines or VPNs alone.

use toml::{Table, Value};

use super::Problem;
use super::overlay::{Environment, set};

/// How a text is written as a key's value.
#[derive(Clone, Copy)]
enum As {
    /// As it is.
    Text,
    /// A whole number.
    Number,
    /// Seconds, with a fraction or without.
    Seconds,
    /// A port of a loopback address.
    LoopbackPort,
    /// `name=value`, as a table.
    Pair,
    /// The name of the variable, as where a secret is.
    Secret,
}

use As::{LoopbackPort, Number, Pair, Seconds, Secret, Text};

/// Names and the keys that they stand for; a later line wins over an earlier one.
const NAMES: &[(&str, &[&str], As)] = &[
    ("APP_PORT", &["http_api.listen"], LoopbackPort),
    (
        "MAX_CONCURRENT_PROVISIONS",
        &["provision.concurrent_max", "provision.fleet_concurrent_max"],
        Number,
    ),
    (
        "MIN_PROVISION_INTERVAL_S",
        &["provision.interval_min", "provision.fleet_interval_min"],
        Seconds,
    ),
    (
        "CIRCUIT_BREAKER_FAILURE_THRESHOLD",
        &["provision.breaker_failures"],
        Number,
    ),
    (
        "CIRCUIT_BREAKER_RECOVERY_TIMEOUT_S",
        &["provision.breaker_recovery"],
        Seconds,
    ),
    ("API_KEY", &["http_api.token"], Secret),
    ("DOCKER_HOST", &["provision.docker_socket"], Text),
    ("GLUETUN_PORT_CACHE_TTL_S", &["port_cache.ttl"], Seconds),
    (
        "GLUETUN_HEALTH_CHECK_INTERVAL_S",
        &["port_cache.health_interval"],
        Seconds,
    ),
    ("TARGET_IMAGE", &["engines.image"], Text),
    ("CONTAINER_LABEL", &["engines.labels"], Pair),
    ("DOCKER_NETWORK", &["engines.network"], Text),
    ("PORT_RANGE_HOST", &["provision.host_ports"], Text),
    ("MIN_REPLICAS", &["engines.min"], Number),
    ("MAX_REPLICAS", &["engines.max"], Number),
    ("MIN_FREE_REPLICAS", &["engines.free"], Number),
    ("MAX_STREAMS_PER_ENGINE", &["engines.streams_max"], Number),
    ("IDLE_TTL_S", &["engines.idle_grace"], Seconds),
    ("ENGINE_GRACE_PERIOD_S", &["engines.idle_grace"], Seconds),
    (
        "STARTUP_TIMEOUT_S",
        &["engines.start_timeout", "engines.probe.ready_timeout"],
        Seconds,
    ),
    ("MONITOR_INTERVAL_S", &["engines.probe.interval"], Seconds),
    (
        "HEALTH_CHECK_INTERVAL_S",
        &["engines.probe.interval"],
        Seconds,
    ),
    (
        "HEALTH_FAILURE_THRESHOLD",
        &["engines.probe.failures"],
        Number,
    ),
    (
        "HEALTH_UNHEALTHY_GRACE_PERIOD_S",
        &["engines.probe.grace"],
        Seconds,
    ),
    (
        "HEALTH_REPLACEMENT_COOLDOWN_S",
        &["engines.replacement_cooldown"],
        Seconds,
    ),
];

/// The VPNs that have names of their own, and where each one's ports are named.
const VPNS: [(&str, &str, &str); 2] = [
    ("GLUETUN_CONTAINER_NAME", "gluetun", "GLUETUN_PORT_RANGE_1"),
    (
        "GLUETUN_CONTAINER_NAME_2",
        "gluetun-2",
        "GLUETUN_PORT_RANGE_2",
    ),
];

/// What holds for both.
const OF_VPNS: &[(&str, &str, As)] = &[
    ("MAX_ACTIVE_REPLICAS", "engines_max", Number),
    ("VPN_UNHEALTHY_RESTART_TIMEOUT_S", "restart_after", Seconds),
    (
        "VPN_RESTART_ENGINES_ON_RECONNECT",
        "replace_on_reconnect",
        Text,
    ),
    ("GLUETUN_API_KEY", "api_key", Secret),
];

/// Names that nothing is left for to say, and why.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("AUTOSCALE_INTERVAL_S", DECIDED_EACH_SECOND),
    ("COLLECT_INTERVAL_S", DECIDED_EACH_SECOND),
    ("ACE_HTTP_RANGE", ONE_RANGE),
    ("ACE_HTTPS_RANGE", ONE_RANGE),
    ("CIRCUIT_BREAKER_REPLACEMENT_THRESHOLD", ONE_BREAKER),
    ("CIRCUIT_BREAKER_REPLACEMENT_TIMEOUT_S", ONE_BREAKER),
];
const DECIDED_EACH_SECOND: &str =
    "how many engines there are is decided each second, from counters that are always current";
const ONE_RANGE: &str =
    "every port of an engine is from `ports` of its VPN or `provision.host_ports`";
const ONE_BREAKER: &str =
    "one breaker a service counts replacements too, by CIRCUIT_BREAKER_FAILURE_THRESHOLD";
const NO_VPN: &str = "no VPN has a name in the environment: GLUETUN_CONTAINER_NAME is not set";

/// A name of the environment that is set and has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IgnoredName {
    /// The variable.
    pub name: &'static str,
    /// Why it has none.
    pub why: &'static str,
}

/// Names that are set and have no effect, where the others count.
pub(super) fn ignored(tree: &Table, environment: &Environment) -> Vec<IgnoredName> {
    if !speaks_of_engines(tree, environment) {
        return Vec::new();
    }
    let is_set = |name: &str| environment.get(name).is_some_and(|text| !text.is_empty());
    let mut names: Vec<(&str, &str)> = WITHOUT_EFFECT.to_vec();
    if !VPNS.iter().any(|(name, ..)| is_set(name)) {
        let ports = VPNS.iter().map(|(_, _, ports)| *ports);
        let of_vpns = OF_VPNS.iter().map(|(name, ..)| *name);
        let all = ports.chain(of_vpns).chain(["GLUETUN_API_PORT", "VPN_MODE"]);
        names.extend(all.map(|name| (name, NO_VPN)));
    }
    let set = names.into_iter().filter(|(name, _)| is_set(name));
    set.map(|(name, why)| IgnoredName { name, why }).collect()
}

/// The port of a control server whose port is not named.
const CONTROL_PORT: &str = "8000";

/// Sets the keys of every name that the environment has, where there are engines or VPNs.
pub(super) fn apply(tree: &mut Table, environment: &Environment, problems: &mut Vec<Problem>) {
    if !speaks_of_engines(tree, environment) {
        return;
    }
    for (name, paths, kind) in NAMES {
        for path in *paths {
            put(tree, environment, (name, path, *kind), problems);
        }
    }
    let both = match environment.get("VPN_MODE").map(String::as_str) {
        None | Some("" | "redundant") => VPNS.len(),
        Some("single") => 1,
        Some(other) => {
            problems.push(Problem {
                path: "$VPN_MODE".to_owned(),
                what: format!("`{other}` is none of single, redundant"),
            });
            return;
        }
    };
    apply_vpns(tree, environment, &VPNS[..both], problems);
}

/// Whether the file or a `WEIR_` name has engines of a service, or VPNs.
fn speaks_of_engines(tree: &Table, environment: &Environment) -> bool {
    let services = tree.get("services").and_then(Value::as_table);
    let in_file = tree.contains_key("vpns")
        || services
            .into_iter()
            .flat_map(Table::values)
            .any(|service| service.get("engines").is_some());
    let names = |name: &String| {
        let name = name.to_lowercase();
        let mut keys = name.split("__");
        match keys.next() {
            Some("weir_vpns") => keys.next().is_some(),
            Some("weir_services") => keys.nth(1) == Some("engines"),
            _ => false,
        }
    };
    in_file || environment.keys().any(names)
}

fn apply_vpns(
    tree: &mut Table,
    environment: &Environment,
    known: &[(&str, &str, &str)],
    problems: &mut Vec<Problem>,
) {
    let mut vpns = Vec::new();
    for (name, vpn, ports) in known {
        let set = environment.get(*name).filter(|text| !text.is_empty());
        let Some(container) = set else {
            continue;
        };
        let from = (*name, format!("vpns.{vpn}"));
        place_container(tree, environment, container, &from, problems);
        let of_both = OF_VPNS.iter().copied();
        for (name, key, kind) in of_both.chain([(*ports, "ports", Text)]) {
            let path = format!("vpns.{vpn}.{key}");
            put(tree, environment, (name, &path, kind), problems);
        }
        vpns.push(Value::String((*vpn).to_owned()));
    }
    if !vpns.is_empty() {
        let from = ("GLUETUN_CONTAINER_NAME", "engines.vpns");
        place(tree, from, Value::Array(vpns), problems);
    }
}

/// Sets where a VPN is.
fn place_container(
    tree: &mut Table,
    environment: &Environment,
    container: &str,
    (name, vpn): &(&str, String),
    problems: &mut Vec<Problem>,
) {
    let said = environment
        .get("GLUETUN_API_PORT")
        .filter(|text| !text.is_empty());
    let port = said.map_or(CONTROL_PORT, String::as_str);
    if port.parse::<u16>().is_err() {
        problems.push(Problem {
            path: "$GLUETUN_API_PORT".to_owned(),
            what: format!("`{port}` is no port"),
        });
        return;
    }
    let url = format!("http://{container}:{port}");
    for (key, text) in [("container", container.to_owned()), ("control_url", url)] {
        let path = format!("{vpn}.{key}");
        place(tree, (name, &path), Value::String(text), problems);
    }
}

fn put(
    tree: &mut Table,
    environment: &Environment,
    (name, path, kind): (&str, &str, As),
    problems: &mut Vec<Problem>,
) {
    let Some(text) = environment.get(name).filter(|text| !text.is_empty()) else {
        return;
    };
    match value_of(name, text, kind) {
        Ok(value) => place(tree, (name, path), value, problems),
        Err(what) => problems.push(Problem {
            path: format!("${name}"),
            what,
        }),
    }
}

fn place(tree: &mut Table, (name, path): (&str, &str), value: Value, problems: &mut Vec<Problem>) {
    let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
    if let Err(what) = set(tree, &keys, value) {
        let path = format!("${name}");
        problems.push(Problem { path, what });
    }
}

fn value_of(name: &str, text: &str, kind: As) -> Result<Value, String> {
    let wrong = |wanted: &str| format!("`{text}` is no {wanted}");
    Ok(match kind {
        Text => match text.to_ascii_lowercase().as_str() {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            _ => Value::String(text.to_owned()),
        },
        Number => Value::Integer(text.parse().map_err(|_| wrong("whole number"))?),
        Seconds => {
            let seconds: f64 = text.parse().map_err(|_| wrong("number of seconds"))?;
            if !(0.0..=1e9).contains(&seconds) {
                return Err(wrong("number of seconds from 0 to 1e9"));
            }
            Value::String(format!("{}ms", (seconds * 1_000.0).round()))
        }
        LoopbackPort => {
            let port: u16 = text.parse().map_err(|_| wrong("port"))?;
            Value::String(format!("127.0.0.1:{port}"))
        }
        Pair => {
            let (key, value) = text.split_once('=').ok_or_else(|| wrong("name=value"))?;
            Value::Table(Table::from_iter([(key.to_owned(), value.into())]))
        }
        Secret => Value::String(format!("env:{name}")),
    })
}
