//! What Docker is told to make.

use std::collections::HashMap;

use bollard::models::RestartPolicyNameEnum;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding, RestartPolicy,
};

use super::labels;
use crate::driver::{EngineSpec, Error, Network, Protocol, PublishedPort};

/// Processes and threads of one engine: far more than engines have, far fewer than a machine has.
const PIDS_MAX: i64 = 4096;
const LOG_FILE_BYTES_MAX: &str = "1m";
const LOG_FILES_MAX: &str = "2";
const NANO_CPUS_PER_MILLI: i64 = 1_000_000;
/// Of shells and of Docker's init.
const NOT_FOUND_CODE: i64 = 127;
const NAME_CHARS_MAX: usize = 128;
const IMAGE_CHARS_MAX: usize = 512;

/// Refuses what Docker would misread or let pass in silence.
pub(super) fn check(spec: &EngineSpec) -> Result<(), Error> {
    check_name(&spec.name)?;
    check_image(&spec.image)?;
    if let Some(name) = spec
        .env
        .keys()
        .find(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        return Err(invalid(
            "env",
            name,
            "names are not empty and hold neither = nor NUL",
        ));
    }
    let publishes = matches!(spec.network, Network::Default | Network::Named(_));
    match spec.published.first() {
        Some(port) if !publishes => {
            let bound = "a container publishes ports only on a network of its own";
            Err(invalid("published", &port.container.to_string(), bound))
        }
        _ => Ok(()),
    }
}

/// Refuses what would not be a name but a part of a request.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let mut chars = name.chars();
    let first = chars
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric());
    let rest = chars.all(|char| char.is_ascii_alphanumeric() || "_.-".contains(char));
    if first && rest && (2..=NAME_CHARS_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(invalid(
        "name",
        name,
        "2 to 128 of a-z A-Z 0-9 _ . -, the first a letter or digit",
    ))
}

/// As [`check_name`], for images: `registry:5000/path/name:tag`, `@sha256:...`.
pub(super) fn check_image(image: &str) -> Result<(), Error> {
    let fits = |char: char| char.is_ascii_alphanumeric() || "_.-/:@".contains(char);
    if (1..=IMAGE_CHARS_MAX).contains(&image.len())
        && image.chars().all(fits)
        && !image.contains("..")
    {
        return Ok(());
    }
    Err(invalid(
        "image",
        image,
        "1 to 512 of a-z A-Z 0-9 _ . - / : @",
    ))
}

fn invalid(field: &'static str, value: &str, bound: &'static str) -> Error {
    Error::Invalid {
        field,
        value: value.to_owned(),
        bound,
    }
}

/// `network_mode` is what [`EngineSpec::network`] is for Docker.
pub(super) fn body(spec: &EngineSpec, owner: &str, network_mode: String) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(
            spec.env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        ),
        labels: Some(labels::of(spec, owner)),
        exposed_ports: Some(spec.published.iter().map(port_name).collect()),
        host_config: Some(host_config(spec, network_mode)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &EngineSpec, network_mode: String) -> HostConfig {
    let memory = spec
        .memory_bytes_max
        .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    HostConfig {
        network_mode: Some(network_mode),
        port_bindings: Some(spec.published.iter().map(binding).collect()),
        // Removal is explicit: with AutoRemove the exit code and the last words of what died at once are gone.
        auto_remove: Some(false),
        // The supervisor replaces what ended; Docker would bring back what has been replaced.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        // Passes signals on and reaps, which engines do not do as a first process.
        init: Some(true),
        memory,
        // The same as memory: no swap on top of it.
        memory_swap: memory,
        nano_cpus: spec
            .cpu_millis_max
            .map(|millis| i64::from(millis) * NANO_CPUS_PER_MILLI),
        pids_limit: Some(PIDS_MAX),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), LOG_FILE_BYTES_MAX.to_owned()),
                ("max-file".to_owned(), LOG_FILES_MAX.to_owned()),
            ])),
        }),
        ..HostConfig::default()
    }
}

fn port_name(port: &PublishedPort) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.container)
}

fn binding(port: &PublishedPort) -> (String, Option<Vec<PortBinding>>) {
    let host = PortBinding {
        host_ip: None,
        host_port: Some(port.host.to_string()),
    };
    (port_name(port), Some(vec![host]))
}

/// Docker's word for a network; that of a container is told by the container's id, which its caller has looked up.
pub(super) fn network_mode(network: &Network, container_id: Option<&str>) -> String {
    match (network, container_id) {
        (Network::Default, _) => "default".to_owned(),
        (Network::Host, _) => "host".to_owned(),
        (Network::None, _) => "none".to_owned(),
        (Network::Named(name), _) => name.clone(),
        (Network::Container(_), Some(id)) => format!("container:{id}"),
        (Network::Container(name), None) => format!("container:{name}"),
    }
}

/// Why Docker did not start a container that it had made, from its words: it has a status for none of these.
pub(super) fn why_not_started(spec: &EngineSpec, message: String) -> Error {
    let said = |words: &str| message.contains(words);
    if said("port is already allocated") || said("address already in use") {
        let taken = |port: &&PublishedPort| {
            said(&format!(":{} ", port.host)) || said(&format!(":{}:", port.host))
        };
        if let Some(port) = spec.published.iter().find(taken).or(spec.published.first()) {
            return Error::PortInUse(port.host);
        }
    }
    if said("executable file not found") || said("no such file or directory") && said("exec") {
        return missing("program", program(spec));
    }
    match &spec.network {
        Network::Container(name) if said("cannot join network") || said("No such container") => {
            missing("container", name)
        }
        Network::Named(name) if said("network") && said("not found") => missing("network", name),
        _ => Error::Refused {
            operation: "starting a container",
            message,
        },
    }
}

/// Docker's init is what runs first, so a program that is not there is an end, not a start that failed.
pub(super) fn why_ended_at_once(spec: &EngineSpec, code: i64, last_line: String) -> Error {
    let init_failed = code == NOT_FOUND_CODE && last_line.starts_with("[FATAL tini");
    let told = last_line
        .split_once(" exec ")
        .and_then(|(_, rest)| rest.split_once(" failed"));
    match told {
        Some((name, _)) if init_failed => missing("program", name),
        _ if init_failed => missing("program", program(spec)),
        _ => Error::EndedAtOnce { code, last_line },
    }
}

fn program(spec: &EngineSpec) -> &str {
    spec.command.first().unwrap_or(&spec.image)
}

pub(super) fn missing(what: &'static str, name: &str) -> Error {
    Error::Missing {
        what,
        name: name.to_owned(),
    }
}
