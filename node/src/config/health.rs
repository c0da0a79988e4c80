//! How the health of a service's backends is judged.

use std::collections::BTreeSet;

use weir_core::health::{Check, EjectionConfig, HealthConfig, SlowStartConfig};
use weir_core::tuning::knobs::balancer;

use super::reader::{Problem, Section};

pub(super) fn read(s: &mut Section, problems: &mut Vec<Problem>) -> HealthConfig {
    let ejection = read_ejection(s, problems);
    let slow_start = read_slow_start(s, problems);
    let drain_timeout = s.tuned(problems, "drain_timeout", &balancer::DRAIN_TIMEOUT);
    let panic_percent = s.tuned(problems, "panic_percent", &balancer::PANIC_PERCENT);
    let checked = s.has("health");
    let mut s = s.section(problems, "health");
    let health = HealthConfig {
        check: checked.then(|| read_check(&mut s, problems)),
        interval: s.tuned(problems, "interval", &balancer::HEALTH_INTERVAL),
        timeout: s.tuned(problems, "timeout", &balancer::HEALTH_TIMEOUT),
        rise: s.tuned(problems, "rise", &balancer::HEALTH_RISE),
        fall: s.tuned(problems, "fall", &balancer::HEALTH_FALL),
        ejection,
        slow_start,
        drain_timeout,
        panic_percent,
    };
    s.finish(problems);
    health
}

/// The keys that one kind of check has, and which kind that is.
const OF_KINDS: [(&str, &str); 4] = [
    ("path", "http"),
    ("host", "http"),
    ("expect_status", "http"),
    ("grpc_service", "grpc"),
];

pub(super) fn read_check(s: &mut Section, problems: &mut Vec<Problem>) -> Check {
    let said = s.text(problems, "check");
    let check = read_kind(s, problems, said.as_deref());
    // A slip in the key, or a kind that is none, is told already, and is the only thing that is wrong.
    let is_told = match said.as_deref() {
        None => s.slip_of("check").is_some(),
        Some(kind) => !["tcp", "http", "grpc"].contains(&kind),
    };
    for (key, kind) in OF_KINDS {
        if said.as_deref() == Some(kind) || s.take(key).is_none() || is_told {
            continue;
        }
        s.problem(problems, key, format!("needs check = \"{kind}\""));
    }
    check
}

fn read_kind(s: &mut Section, problems: &mut Vec<Problem>, said: Option<&str>) -> Check {
    match said {
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
    let mut s = s.section(problems, "ejection");
    let read = EjectionConfig {
        consecutive_failures: s.tuned(
            problems,
            "consecutive_failures",
            &balancer::EJECTION_CONSECUTIVE_FAILURES,
        ),
        base_ejection: s.tuned(problems, "base_time", &balancer::EJECTION_BASE_TIME),
        max_ejection: s.tuned(problems, "max_time", &balancer::EJECTION_MAX_TIME),
        ejected_percent_max: s.tuned(
            problems,
            "ejected_percent_max",
            &balancer::EJECTED_PERCENT_MAX,
        ),
        ..EjectionConfig::default()
    };
    if read.max_ejection < read.base_ejection {
        s.contradiction(
            problems,
            "max_time",
            "is less than base_time".to_owned(),
            [&balancer::EJECTION_MAX_TIME, &balancer::EJECTION_BASE_TIME],
        );
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
    let mut s = s.section(problems, "slow_start");
    let read = SlowStartConfig {
        window: s.tuned(problems, "window", &balancer::SLOW_START_WINDOW),
        min_percent: s.tuned(problems, "min_percent", &balancer::SLOW_START_MIN_PERCENT),
        ..SlowStartConfig::default()
    };
    s.finish(problems);
    read
}
