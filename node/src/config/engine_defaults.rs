//! How a service's engines come by what it does not say itself.

use toml::{Table, Value};

/// Keys that only containers have; a process refuses them.
pub(super) const ONLY_OF_CONTAINERS: [&str; 5] =
    ["image", "network", "container_port", "memory", "cpus"];
/// Keys that make up one check: one without the others means something else.
const OF_CHECK: [&str; 5] = ["check", "path", "host", "expect_status", "grpc_service"];

/// Adds the defaults that concern a service's engines to what it says, which wins. Of a table, each key by itself.
pub(super) fn add(said: &mut Table, defaults: &Table) {
    // What a service says itself and cannot be is refused; what holds for others does not concern it.
    let is_process = text(said, "driver").or_else(|| text(defaults, "driver")) == Some("process");
    for (key, value) in defaults {
        if is_process && ONLY_OF_CONTAINERS.contains(&key.as_str()) {
            continue;
        }
        match (said.get_mut(key), value) {
            (None, _) => {
                said.insert(key.clone(), value.clone());
            }
            (Some(Value::Table(said)), Value::Table(defaults)) => {
                add_keys(said, defaults, key == "probe");
            }
            (Some(_), _) => {}
        }
    }
}

fn add_keys(said: &mut Table, defaults: &Table, is_probe: bool) {
    let has_check = is_probe && OF_CHECK.iter().any(|key| said.contains_key(*key));
    for (key, value) in defaults {
        if !(has_check && OF_CHECK.contains(&key.as_str())) {
            said.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key).and_then(Value::as_str)
}
