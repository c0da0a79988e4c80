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
        host_ip: port.address.map(|address| address.to_string()),
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

/// Why Docker did not make a container; `None` when its name is in use.
pub(super) fn why_not_created(spec: &EngineSpec, status: u16, message: String) -> Option<Error> {
    match status {
        409 if message.contains("name") => None,
        404 if message.contains("image") => Some(Error::NoImage(spec.image.clone())),
        _ => Some(why_not_started(spec, message)),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{why_ended_at_once, why_not_created, why_not_started};
    use crate::driver::{EngineSpec, Error, Network, Protocol, PublishedPort};

    fn spec(network: Network) -> EngineSpec {
        let port = |host| PublishedPort {
            container: 80,
            host,
            address: None,
            protocol: Protocol::Tcp,
        };
        EngineSpec {
            name: "tv-1".to_owned(),
            fence: 1,
            labels: BTreeMap::new(),
            image: "tv:1".to_owned(),
            command: Vec::new(),
            env: BTreeMap::new(),
            network,
            published: vec![port(19_000), port(19_001)],
            memory_bytes_max: None,
            cpu_millis_max: None,
            start_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_port_in_use_is_told_however_docker_puts_it() {
        let said = [
            "Bind for 0.0.0.0:19001 failed: port is already allocated",
            "Error starting userland proxy: listen tcp4 0.0.0.0:19001: bind: address already in use",
            "failed to bind host port for 0.0.0.0:19001:172.18.0.2:80/tcp: address already in use",
        ];
        for message in said {
            let error = why_not_started(&spec(Network::Default), message.to_owned());
            assert!(
                matches!(error, Error::PortInUse(19_001)),
                "{message}: {error:?}"
            );
        }
    }

    #[test]
    fn what_an_engine_would_have_joined_is_told_when_it_is_gone() {
        let vpn = spec(Network::Container("vpn".to_owned()));
        for message in [
            "cannot join network of a non running container: 0af",
            "No such container: 0af",
        ] {
            let error = why_not_started(&vpn, message.to_owned());
            assert!(
                matches!(&error, Error::Missing { what: "container", name } if name == "vpn"),
                "{error:?}"
            );
        }
        let named = spec(Network::Named("lan".to_owned()));
        let error = why_not_started(&named, "network lan not found".to_owned());
        assert!(
            matches!(&error, Error::Missing { what: "network", name } if name == "lan"),
            "{error:?}"
        );
    }

    #[test]
    fn other_refusals_are_told_as_they_were_said() {
        let refused = |error: Error, said: &str| matches!(error, Error::Refused { message, .. } if message == said);
        assert!(refused(
            why_not_started(&spec(Network::Host), "no space left".to_owned()),
            "no space left"
        ));
        let minimum = "Minimum memory limit allowed is 6MB";
        assert!(refused(
            why_not_created(&spec(Network::Host), 400, minimum.to_owned()).unwrap(),
            minimum
        ));
    }

    #[test]
    fn an_engine_of_its_own_code_127_has_ended_at_once() {
        let end = |line: &str| why_ended_at_once(&spec(Network::Host), 127, line.to_owned());
        assert!(matches!(end("bye"), Error::EndedAtOnce { code: 127, .. }));
        let missing = end("[FATAL tini (8)] exec /x failed: No such file or directory");
        assert!(
            matches!(&missing, Error::Missing { what: "program", name } if name == "/x"),
            "{missing:?}"
        );
    }
}
