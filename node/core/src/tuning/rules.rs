//! Rules between knobs.

use super::knob::Knob;
use super::knobs::{balancer, cache, host, ingress, provision, upstream};
use super::problem::{Code, Problem};
use super::value::Value;
use crate::content_coding::Coding;
use crate::warming::{Schedule, Wanted};

/// The value of the first knob may not be greater than that of the second.
static AT_MOST: [(&Knob, &Knob); 9] = [
    (&ingress::H2_STREAM_WINDOW, &ingress::H2_CONNECTION_WINDOW),
    (
        &ingress::COMPRESSION_BYTES_MIN,
        &ingress::COMPRESSION_BYTES_MAX,
    ),
    (&upstream::IDLE_MIN, &upstream::IDLE_MAX),
    (&balancer::HEALTH_TIMEOUT, &balancer::HEALTH_INTERVAL),
    (&balancer::EJECTION_BASE_TIME, &balancer::EJECTION_MAX_TIME),
    (&provision::SOFT_LIMIT, &provision::HARD_LIMIT),
    (&provision::RETRY_DELAY, &provision::RETRY_DELAY_MAX),
    (&host::PORT_RANGE_MIN, &host::PORT_RANGE_MAX),
    (&host::DIRTY_BACKGROUND_PERCENT, &host::DIRTY_PERCENT),
];

/// Checks the values that a node would have; `value_of` tells each.
pub fn check_rules(value_of: impl Fn(&Knob) -> Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (low, high) in &AT_MOST {
        let (low_value, high_value) = (value_of(low), value_of(high));
        if low_value > high_value {
            let message = format!("is more than {} ({high_value})", high.path);
            let problem = Problem::new(low.path, Code::Conflict, message, low_value.to_string());
            problems.push(problem.bounded(format!("at most {high_value}")));
        }
    }
    problems.extend(unknown_codings(value_of(&ingress::COMPRESSION)));
    problems.extend(unreadable(&cache::WARM_ON_START, &value_of, |text| {
        Wanted::parse(text).err().map(|why| why.to_string())
    }));
    problems.extend(unreadable(&cache::WARM_SCHEDULE, &value_of, |text| {
        Schedule::parse(text).err().map(|why| why.to_string())
    }));
    problems
}

/// Texts of a knob in which `why_not` finds something wrong.
fn unreadable(
    knob: &Knob,
    value_of: impl Fn(&Knob) -> Value,
    why_not: impl Fn(&str) -> Option<String>,
) -> Vec<Problem> {
    let Value::Texts(texts) = value_of(knob) else {
        return Vec::new();
    };
    let problems = texts.into_iter().filter_map(|text| {
        let why = why_not(&text)?;
        Some(Problem::new(knob.path, Code::Range, why, text))
    });
    problems.collect()
}

/// Texts of `ingress.compression` that are no codings which are made.
fn unknown_codings(value: Value) -> Vec<Problem> {
    let Value::Texts(names) = value else {
        return Vec::new();
    };
    let unknown = names
        .into_iter()
        .filter(|name| Coding::made_from_name(name).is_none());
    let problem = |name| {
        let path = ingress::COMPRESSION.path;
        let problem = Problem::new(path, Code::Range, "names no encoding that is made", name);
        problem.bounded(Coding::MADE.map(Coding::name).join(", "))
    };
    unknown.map(problem).collect()
}
