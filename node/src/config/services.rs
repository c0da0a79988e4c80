//! Services: their backends, balancing, health, pools and time-outs.

use std::sync::Arc;
use std::time::Duration;

use toml::Table;
use weir_core::balance::{HashOn, Policy};
use weir_core::health::HealthConfig;
use weir_core::ids::{BackendId, ServiceName};
use weir_core::tuning::is_name;
use weir_core::tuning::knobs::{balancer, upstream};

use super::engines::{self, EngineSettings};
use super::files::{self, FilesSettings};
use super::health;
use super::name_rule;
use super::reader::{Problem, Section};
use crate::ports::net::Endpoint;

/// Largest share of a backend.
pub(super) const WEIGHT_MAX: u32 = 65_535;
/// Last priority of a backend.
pub(super) const PRIORITY_MAX: u32 = 15;
/// Bytes of a backend's id.
pub(super) const ID_BYTES_MAX: usize = 255;
/// Bytes of the zone of a backend that registers itself.
pub(super) const ZONE_BYTES_MAX: usize = 255;

/// What the backends of a service speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one request a connection at a time.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge; what gRPC needs.
    Http2,
}

/// One service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    /// Its name.
    pub name: ServiceName,
    /// What its backends speak.
    pub protocol: Protocol,
    /// How a backend is picked.
    pub policy: Policy,
    /// What a consistent hash is taken of.
    pub hash_on: HashOn,
    /// Keeps a client on its backend by a cookie.
    pub sticky: Option<StickySettings>,
    /// Checks, ejection, slow start, draining and panic.
    pub health: Arc<HealthConfig>,
    /// Statuses of backends that count as failures.
    pub failure_statuses: Vec<u16>,
    /// Waits on backends.
    pub timeouts: Timeouts,
    /// Connections to backends.
    pub pool: PoolSettings,
    /// The backends, in file order.
    pub backends: Vec<BackendSettings>,
    /// Backends that Weir starts itself.
    pub engines: Option<EngineSettings>,
    /// Files that answer instead of backends.
    pub files: Option<Arc<FilesSettings>>,
}

/// One configured backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSettings {
    /// Unique in its service.
    pub id: BackendId,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Share of new work; 0 gives none.
    pub weight: u32,
    /// Where it stands.
    pub zone: String,
    /// Lower numbers are used first.
    pub priority: u32,
    /// What it fails together with: engines behind one VPN.
    pub group: Option<String>,
}

/// A sticky cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickySettings {
    /// The cookie's name.
    pub cookie: String,
    /// How long a client stays.
    pub ttl: Duration,
}

/// Waits on a backend. A route may override them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// Between two steps of sending a request.
    pub send: Duration,
    /// For the response head, and between two parts of its body.
    pub read: Duration,
    /// Without a byte in either direction of an upgraded connection.
    pub idle: Duration,
    /// For the whole exchange, body included; off when absent.
    pub total: Option<Duration>,
}

impl Timeouts {
    pub(super) fn read(s: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = s.section(problems, "timeouts").read_by("data plane");
        let read = Self {
            connect: s.tuned(problems, "connect", &upstream::CONNECT_TIMEOUT),
            send: s.tuned(problems, "send", &upstream::SEND_TIMEOUT),
            read: s.tuned(problems, "read", &upstream::READ_TIMEOUT),
            idle: s.tuned(problems, "idle", &upstream::TUNNEL_IDLE_TIMEOUT),
            total: s.tuned(problems, "total", &upstream::TOTAL_TIMEOUT),
        };
        s.finish(problems);
        read
    }
}

/// Connections of one core to one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Open HTTP/1.1 connections; a request that needs one more is refused.
    pub connections_max: usize,
    /// Idle connections kept open ahead of need.
    pub idle_min: usize,
    /// Idle connections kept for reuse.
    pub idle_max: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// HTTP/2 connections.
    pub h2_connections_max: usize,
    /// Streams on one HTTP/2 connection before another is opened.
    pub h2_streams_max: usize,
}

impl PoolSettings {
    /// Requests that one core can have running on one backend.
    pub fn in_flight_max(&self, protocol: Protocol) -> usize {
        match protocol {
            Protocol::Http1 => self.connections_max,
            Protocol::Http2 => self.h2_connections_max.saturating_mul(self.h2_streams_max),
        }
    }

    fn read(s: &mut Section, problems: &mut Vec<Problem>) -> Self {
        let mut s = s.section(problems, "pool").read_by("data plane");
        let read = Self {
            connections_max: s.tuned(problems, "connections_max", &upstream::CONNECTIONS_MAX),
            idle_min: s.tuned(problems, "idle_min", &upstream::IDLE_MIN),
            idle_max: s.tuned(problems, "idle_max", &upstream::IDLE_MAX),
            idle_timeout: s.tuned(problems, "idle_timeout", &upstream::IDLE_TIMEOUT),
            h2_connections_max: s.tuned(
                problems,
                "h2_connections_max",
                &upstream::H2_CONNECTIONS_MAX,
            ),
            h2_streams_max: s.tuned(problems, "h2_streams_max", &upstream::H2_STREAMS_MAX),
        };
        if read.idle_min > read.idle_max {
            s.contradiction(
                problems,
                "idle_min",
                format!(
                    "{} is more than idle_max ({})",
                    read.idle_min, read.idle_max
                ),
                [&upstream::IDLE_MIN, &upstream::IDLE_MAX],
            );
        }
        s.finish(problems);
        read
    }
}

pub(super) fn read(root: &mut Section, problems: &mut Vec<Problem>) -> Vec<ServiceSettings> {
    let mut services = Vec::new();
    let engine_defaults = engines::read_defaults(root, problems);
    for (name, section) in root.sections(problems, "services") {
        let section = section.of_service(&name).read_by("load balancer");
        services.push(read_service(&name, section, problems, &engine_defaults));
    }
    services
}

fn read_service(
    name: &str,
    mut s: Section,
    problems: &mut Vec<Problem>,
    engine_defaults: &Table,
) -> ServiceSettings {
    if !is_name(name) {
        problems.push(Problem {
            path: s.path_of("name"),
            what: name_rule(name),
        });
    }
    let protocol = match s.text(problems, "protocol").as_deref() {
        None | Some("http1") => Protocol::Http1,
        Some("http2" | "grpc") => Protocol::Http2,
        Some(other) => {
            s.problem(
                problems,
                "protocol",
                format!("`{other}` is none of http1, http2, grpc"),
            );
            Protocol::Http1
        }
    };
    let (policy, hash_on) = read_balance(&mut s, problems);
    let files = files::read(&mut s, problems);
    files::check_alone(files.as_deref(), &s, problems);
    let settings = ServiceSettings {
        name: name.into(),
        protocol,
        policy,
        hash_on,
        sticky: read_sticky(&mut s, problems),
        health: Arc::new(health::read(&mut s, problems)),
        failure_statuses: health::read_failure_statuses(&mut s, problems),
        timeouts: Timeouts::read(&mut s, problems),
        pool: PoolSettings::read(&mut s, problems),
        backends: read_backends(&mut s, problems),
        engines: engines::read(&mut s, problems, engine_defaults),
        files,
    };
    s.finish(problems);
    settings
}

fn read_balance(s: &mut Section, problems: &mut Vec<Problem>) -> (Policy, HashOn) {
    let mut balance = s.section(problems, "balance");
    let name: String = balance.tuned(problems, "policy", &balancer::POLICY);
    let mut policy: Policy = name.parse().expect("the knob's choices are policies");
    let bound = balance.tuned(
        problems,
        "bounded_load_percent",
        &balancer::BOUNDED_LOAD_PERCENT,
    );
    if let Policy::ConsistentHash {
        bounded_load_percent,
    } = &mut policy
    {
        *bounded_load_percent = bound;
    }
    let hash_on = match balance.text(problems, "hash_on").as_deref() {
        None | Some("client_address") => HashOn::ClientAddress,
        Some("path") => HashOn::Path,
        Some(other) => match other.split_once(':') {
            Some(("header", name)) => match name.parse() {
                Ok(name) => HashOn::Header(name),
                Err(_) => {
                    balance.problem(problems, "hash_on", format!("`{name}` is no header name"));
                    HashOn::ClientAddress
                }
            },
            Some(("cookie", name)) if is_token(name) => HashOn::Cookie(name.to_owned()),
            _ => {
                let what =
                    format!("`{other}` is none of client_address, path, header:NAME, cookie:NAME");
                balance.problem(problems, "hash_on", what);
                HashOn::ClientAddress
            }
        },
    };
    balance.finish(problems);
    (policy, hash_on)
}

fn read_sticky(s: &mut Section, problems: &mut Vec<Problem>) -> Option<StickySettings> {
    if !s.has("sticky") {
        return None;
    }
    let mut s = s.section(problems, "sticky");
    let cookie = s
        .text(problems, "cookie")
        .unwrap_or_else(|| "weir_backend".to_owned());
    if !is_token(&cookie) {
        s.problem(
            problems,
            "cookie",
            format!("`{cookie}` is no cookie name (RFC 6265)"),
        );
    }
    let ttl = s.tuned(problems, "ttl", &balancer::STICKY_TTL);
    s.finish(problems);
    Some(StickySettings { cookie, ttl })
}

fn read_backends(s: &mut Section, problems: &mut Vec<Problem>) -> Vec<BackendSettings> {
    let mut backends: Vec<BackendSettings> = Vec::new();
    for mut b in s.list(problems, "backends", "address") {
        let endpoint: Option<Endpoint> = match b.has("address") {
            true => b.parsed(problems, "address"),
            false => {
                b.problem(problems, "address", "is required");
                None
            }
        };
        let id = b.text(problems, "id");
        let weight = b.number(problems, "weight", 1, 0..=u64::from(WEIGHT_MAX)) as u32;
        let zone = b.text(problems, "zone").unwrap_or_default();
        let priority = b.number(problems, "priority", 0, 0..=u64::from(PRIORITY_MAX)) as u32;
        if let Some(endpoint) = endpoint {
            let id: BackendId = id.as_deref().unwrap_or(endpoint.as_str()).into();
            if id.as_str().is_empty() || id.as_str().len() > ID_BYTES_MAX {
                b.problem(
                    problems,
                    "id",
                    format!("must have 1 to {ID_BYTES_MAX} characters"),
                );
            } else if backends.iter().any(|other| other.id == id) {
                b.problem(
                    problems,
                    "id",
                    format!("`{id}` is used twice in this service"),
                );
            }
            backends.push(BackendSettings {
                id,
                endpoint,
                weight,
                zone,
                priority,
                group: None,
            });
        }
        b.finish(problems);
    }
    backends
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
