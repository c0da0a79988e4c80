//! How the health of a service's backends is judged.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_core::health::{Check, EjectionConfig, HealthConfig, SlowStartConfig};

use super::reader::{Problem, Section};
use super::{DAY, HOUR};

pub(super) fn read(s: &mut Section, problems: &mut Vec<Problem>) -> HealthConfig {
    let default = HealthConfig::default();
    let ejection = read_ejection(s, problems);
    let slow_start = read_slow_start(s, problems);
    let drain_timeout = s.duration(
        problems,
        "drain_timeout",
        default.drain_timeout,
        Duration::ZERO..=DAY,
    );
    let panic_percent = u64::from(default.panic_percent);
    let panic_percent = s.number(problems, "panic_percent", panic_percent, 0..=100) as u32;
    let checked = s.has("health");
    let mut s = s.section(problems, "health");
    let bounds = Duration::from_millis(10)..=HOUR;
    let health = HealthConfig {
        check: checked.then(|| read_check(&mut s, problems)),
        interval: s.duration(problems, "interval", default.interval, bounds.clone()),
        timeout: s.duration(problems, "timeout", default.timeout, bounds),
        rise: s.number(problems, "rise", u64::from(default.rise), 1..=100) as u32,
        fall: s.number(problems, "fall", u64::from(default.fall), 1..=100) as u32,
        ejection,
        slow_start,
        drain_timeout,
        panic_percent,
    };
    s.finish(problems);
    health
}

fn read_check(s: &mut Section, problems: &mut Vec<Problem>) -> Check {
    match s.text(problems, "check").as_deref() {
        None | Some("tcp") => Check::Tcp,
        Some("http") => {
            let path = s.text(problems, "path").unwrap_or_else(|| "/".to_owned());
            if path.parse::<http::uri::PathAndQuery>().is_err() {
                s.problem(problems, "path", format!("`{path}` is no path"));
            }
            let host = s.text(problems, "host");
            Check::Http {
                path,
                host,
                expect_status: read_statuses(s, problems),
            }
        }
        Some("grpc") => Check::Grpc {
            service: s.text(problems, "grpc_service").unwrap_or_default(),
        },
        Some(other) => {
            s.problem(
                problems,
                "check",
                format!("`{other}` is none of tcp, http, grpc"),
            );
            Check::Tcp
        }
    }
}

fn read_statuses(
    s: &mut Section,
    problems: &mut Vec<Problem>,
) -> Vec<std::ops::RangeInclusive<u16>> {
    let mut ranges = Vec::new();
    for text in s.texts(problems, "expect_status") {
        let (low, high) = text.split_once('-').unwrap_or((&text, &text));
        match (low.parse::<u16>(), high.parse::<u16>()) {
            (Ok(low), Ok(high)) if (100..=599).contains(&low) && (low..=599).contains(&high) => {
                ranges.push(low..=high);
            }
            _ => s.problem(
                problems,
                "expect_status",
                format!("`{text}` is no status (100 to 599) or range such as 200-299"),
            ),
        }
    }
    if ranges.is_empty() {
        ranges.push(200..=399);
    }
    ranges
}

fn read_ejection(s: &mut Section, problems: &mut Vec<Problem>) -> EjectionConfig {
    let default = EjectionConfig::default();
    let mut s = s.section(problems, "ejection");
    let bounds = Duration::from_millis(10)..=DAY;
    let read = EjectionConfig {
        consecutive_failures: s.number(
            problems,
            "consecutive_failures",
            u64::from(default.consecutive_failures),
            0..=10_000,
        ) as u32,
        base_ejection: s.duration(problems, "base_time", default.base_ejection, bounds.clone()),
        max_ejection: s.duration(problems, "max_time", default.max_ejection, bounds),
        ejected_percent_max: s.number(
            problems,
            "ejected_percent_max",
            u64::from(default.ejected_percent_max),
            0..=100,
        ) as u32,
        ..default
    };
    if read.max_ejection < read.base_ejection {
        s.problem(problems, "max_time", "is less than base_time");
    }
    s.finish(problems);
    read
}

pub(super) fn read_failure_statuses(s: &mut Section, problems: &mut Vec<Problem>) -> Vec<u16> {
    if !s.has("failure_statuses") {
        return vec![502, 503, 504];
    }
    let mut statuses = BTreeSet::new();
    for text in s.texts(problems, "failure_statuses") {
        match text.parse::<u16>() {
            Ok(status) if (400..=599).contains(&status) => {
                statuses.insert(status);
            }
            _ => s.problem(
                problems,
                "failure_statuses",
                format!("`{text}` is no status from 400 to 599"),
            ),
        }
    }
    statuses.into_iter().collect()
}

fn read_slow_start(s: &mut Section, problems: &mut Vec<Problem>) -> SlowStartConfig {
    let default = SlowStartConfig::default();
    let mut s = s.section(problems, "slow_start");
    let read = SlowStartConfig {
        window: s.duration(problems, "window", default.window, Duration::ZERO..=HOUR),
        min_percent: s.number(
            problems,
            "min_percent",
            u64::from(default.min_percent),
            1..=100,
        ) as u32,
        ..default
    };
    s.finish(problems);
    read
}
