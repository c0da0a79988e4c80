//! Engines of a service: how they are started, how many there are, and how each is cared for.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Table;
use weir_core::health::Check;
use weir_core::units::{format_duration, parse_duration};

use super::engine_defaults;
use super::health::read_check;
use super::launch::{Launch, Whole, read_launch};
use super::reader::{Problem, Section};
use super::services::ServiceSettings;
use super::vpns::VpnSettings;

/// Engines of one service in the whole mesh.
const ENGINES_MAX: u64 = 10_000;
/// Requests that wait for an engine of one service on one node.
const WAIT_MAX: u64 = 1_000_000;
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const MS: Duration = Duration::from_millis(1);

/// How many engines a service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
    /// Without work, to be ready for more.
    pub free: u32,
    /// Requests that one engine is meant to serve at a time.
    pub streams_max: u32,
    /// Starts beyond the minimum that are under way at a time.
    pub burst_max: u32,
    /// How long an engine that has work gets no more after some was given to it, while others are free.
    pub settle: Duration,
    /// How long an engine is without work before it may be stopped.
    pub idle_grace: Duration,
    /// Between two times that engines are stopped for lack of work.
    pub down_cooldown: Duration,
    /// Requests that may wait on this node while there is no engine; 0 refuses them at once.
    pub wait_max: u32,
    /// How long one waits.
    pub wait_timeout: Duration,
}

/// How one engine is cared for.
#[derive(Clone, Debug, PartialEq)]
pub struct Care {
    /// How it is asked whether it is well.
    pub probe: Check,
    /// Between two probes.
    pub interval: Duration,
    /// For one probe.
    pub timeout: Duration,
    /// From its start to its first good probe.
    pub ready_timeout: Duration,
    /// Bad probes in a row that make it unhealthy.
    pub failures_max: u32,
    /// How long it may be unhealthy before it is replaced.
    pub unhealthy_grace: Duration,
    /// So many times both while something runs on it: work slows its answers.
    pub in_use_patience: u32,
    /// Between two replacements in one service.
    pub replacement_cooldown: Duration,
    /// Whether one that is not what would be started now is replaced.
    pub replace_outdated: bool,
    /// How long two VPNs have to be up before engines move between them to be spread evenly; `None` for never.
    pub rebalance_after: Option<Duration>,
    /// Requests after which it is replaced, 0 for never; `None` for what `provision` says.
    pub uses_max: Option<u64>,
}

/// The engines of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    /// How one is started.
    pub launch: Launch,
    /// How many there are.
    pub scale: Scale,
    /// How each is cared for.
    pub care: Care,
}

/// What holds for the engines of every service that does not say otherwise: the table `engines` of the file.
pub(super) fn read_defaults(root: &mut Section, problems: &mut Vec<Problem>) -> Table {
    let mut defaults = root.section(problems, "engines").read_by("provision");
    let told_before = problems.len();
    read_settings(defaults.clone(), problems, Whole::No);
    // What is wrong with a default is told once, not again for each service.
    for problem in &problems[told_before..] {
        let key = problem.path.split('.').nth(1).unwrap_or_default();
        defaults.table.remove(key.split('[').next().unwrap_or(key));
    }
    defaults.table
}

/// The engines of a service, when it has any.
pub(super) fn read(
    s: &mut Section,
    problems: &mut Vec<Problem>,
    defaults: &Table,
) -> Option<EngineSettings> {
    if !s.has("engines") {
        return None;
    }
    let mut s = s.section(problems, "engines").read_by("provision");
    engine_defaults::add(&mut s.table, defaults);
    Some(read_settings(s, problems, Whole::Yes))
}

fn read_settings(mut s: Section, problems: &mut Vec<Problem>, whole: Whole) -> EngineSettings {
    let settings = EngineSettings {
        launch: read_launch(&mut s, problems, whole),
        scale: read_scale(&mut s, problems),
        care: read_care(&mut s, problems),
    };
    s.finish(problems);
    settings
}

fn read_scale(s: &mut Section, problems: &mut Vec<Problem>) -> Scale {
    let min = count(s.number(problems, "min", 1, 0..=ENGINES_MAX));
    let max = s.whole_number(problems, "max", 1..=ENGINES_MAX);
    let scale = Scale {
        min,
        max: max.map_or_else(|| min.max(20), count),
        free: count(s.number(problems, "free", 0, 0..=ENGINES_MAX)),
        streams_max: count(s.number(problems, "streams_max", 100, 1..=1_000_000)),
        burst_max: count(s.number(problems, "burst_max", 2, 1..=ENGINES_MAX)),
        settle: time(s, problems, "settle", 0, Duration::ZERO..=HOUR),
        idle_grace: time(
            s,
            problems,
            "idle_grace",
            30_000,
            Duration::ZERO..=24 * HOUR,
        ),
        down_cooldown: time(
            s,
            problems,
            "down_cooldown",
            120_000,
            Duration::ZERO..=24 * HOUR,
        ),
        wait_max: count(s.number(problems, "wait_max", wait_max(min), 0..=WAIT_MAX)),
        wait_timeout: time(s, problems, "wait_timeout", 30_000, MS..=HOUR),
    };
    for (key, value) in [("min", scale.min), ("free", scale.free)] {
        if value > scale.max {
            s.problem(
                problems,
                key,
                format!("{value} is more than max ({})", scale.max),
            );
        }
    }
    scale
}

/// A service without engines that should have some is broken, and its clients are told so at once.
const fn wait_max(min: u32) -> u64 {
    if min == 0 { 1_000 } else { 0 }
}

fn read_care(s: &mut Section, problems: &mut Vec<Problem>) -> Care {
    let uses_max = s.whole_number(problems, "uses_max", 0..=10_000_000);
    let rebalance_after = read_rebalance_after(s, problems);
    let mut probe = s.section(problems, "probe");
    let care = Care {
        probe: read_check(&mut probe, problems),
        interval: time(&mut probe, problems, "interval", 5_000, 10 * MS..=HOUR),
        timeout: time(&mut probe, problems, "timeout", 5_000, MS..=HOUR),
        ready_timeout: time(
            &mut probe,
            problems,
            "ready_timeout",
            25_000,
            10 * MS..=HOUR,
        ),
        failures_max: count(probe.number(problems, "failures", 3, 1..=1_000)),
        unhealthy_grace: time(
            &mut probe,
            problems,
            "grace",
            60_000,
            Duration::ZERO..=24 * HOUR,
        ),
        in_use_patience: count(probe.number(problems, "in_use_patience", 3, 1..=100)),
        replacement_cooldown: time(
            s,
            problems,
            "replacement_cooldown",
            60_000,
            Duration::ZERO..=24 * HOUR,
        ),
        replace_outdated: s.flag(problems, "replace_outdated", true),
        rebalance_after,
        uses_max,
    };
    probe.finish(problems);
    care
}

fn read_rebalance_after(s: &mut Section, problems: &mut Vec<Problem>) -> Option<Duration> {
    if s.table.get("rebalance_after").and_then(toml::Value::as_str) == Some("off") {
        s.take("rebalance_after");
        return None;
    }
    let bounds = Duration::ZERO..=24 * HOUR;
    Some(time(s, problems, "rebalance_after", 60_000, bounds))
}

/// Ports as `19000-19999`.
pub(super) fn read_ports(
    s: &mut Section,
    problems: &mut Vec<Problem>,
    key: &str,
    default: RangeInclusive<u16>,
) -> RangeInclusive<u16> {
    let Some(text) = s.text(problems, key) else {
        return default;
    };
    let ports = text.split_once('-').and_then(|(low, high)| {
        let ports = low.trim().parse::<u16>().ok()?..=high.trim().parse::<u16>().ok()?;
        (*ports.start() > 0 && !ports.is_empty()).then_some(ports)
    });
    ports.unwrap_or_else(|| {
        s.problem(
            problems,
            key,
            format!("`{text}` is no range such as 19000-19999"),
        );
        default
    })
}

/// Names every VPN that a service asks for and that is not there.
pub(super) fn check_vpns(
    services: &[ServiceSettings],
    vpns: &[VpnSettings],
    problems: &mut Vec<Problem>,
) {
    for service in services {
        let wanted = service
            .engines
            .iter()
            .flat_map(|engines| &engines.launch.vpns);
        for (at, name) in wanted.enumerate() {
            if !vpns.iter().any(|vpn| vpn.name == *name) {
                problems.push(Problem {
                    path: format!("services.{}.engines.vpns[{at}]", service.name),
                    what: format!("no VPN is called `{name}`"),
                });
            }
        }
    }
}

pub(super) fn time(
    s: &mut Section,
    problems: &mut Vec<Problem>,
    key: &str,
    default_ms: u64,
    bounds: RangeInclusive<Duration>,
) -> Duration {
    s.quantity(problems, key, bounds, (parse_duration, format_duration))
        .unwrap_or(Duration::from_millis(default_ms))
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn port(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
