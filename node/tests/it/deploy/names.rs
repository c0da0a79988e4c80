//! Rules and dashboard speak of metrics and of pages that there are.

use std::collections::{BTreeMap, BTreeSet};

use super::{queries_of_the_dashboard, text};

/// Name and type of each metric of the document.
fn documented() -> BTreeMap<String, String> {
    let document = text("METRICS.md");
    let rows = document.lines().filter_map(|row| {
        let mut cells = row.strip_prefix("| `")?.split('|');
        let name = cells.next()?.trim().trim_end_matches('`');
        Some((name.to_owned(), cells.next()?.trim().to_owned()))
    });
    rows.collect()
}

/// Words that can only be names of a node's metrics.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("weir_") || word.starts_with("process_"))
        .collect()
}

fn unknown<'a>(text: &'a str, documented: &BTreeMap<String, String>) -> Vec<&'a str> {
    let is_histogram = |name: &str| documented.get(name).is_some_and(|kind| kind == "histogram");
    let is_known = |name: &&str| {
        let bare = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|part| name.strip_suffix(part));
        let is_plain = documented.contains_key(*name) && !is_histogram(name);
        is_plain || bare.is_some_and(is_histogram)
    };
    named(text)
        .into_iter()
        .filter(|name| !is_known(name))
        .collect()
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_nodes_have() {
    let documented = documented();
    assert!(documented.len() > 100, "{}", documented.len());
    let queries = queries_of_the_dashboard().join("\n");
    let rules = text("deploy/prometheus/alerts.yml");
    for (what, text) in [("the dashboard", &queries), ("the rules", &rules)] {
        assert!(named(text).len() > 30, "{what}");
        assert_eq!(unknown(text, &documented), Vec::<&str>::new(), "{what}");
    }
    let made_up = "rate(weir_requests_total[5m]) / weir_request_duration_seconds";
    let found = ["weir_request_duration_seconds", "weir_requests_total"];
    assert_eq!(unknown(made_up, &documented), found);
}

/// How a heading is called in an address.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ');
    let lower = kept.flat_map(char::to_lowercase);
    lower.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_alert_says_how_bad_it_is_and_where_to_read_on() {
    let rules = text("deploy/prometheus/alerts.yml");
    let readme = text("README.md");
    let headings = readme.lines().filter_map(|line| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then(|| anchor(heading.trim()))
    });
    let anchors: BTreeSet<String> = headings.collect();
    let mut count = 0;
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let key = |key: &str| {
            let line = rule.lines().find_map(|line| line.trim().strip_prefix(key));
            line.unwrap_or_else(|| panic!("{name} has no {key}"))
        };
        let severity = key("labels: { severity: ").trim_end_matches(" }");
        assert!(
            ["info", "warning", "critical"].contains(&severity),
            "{name}"
        );
        key("summary: ");
        key("description: ");
        let runbook = key("runbook: README.md#");
        assert!(
            anchors.contains(runbook),
            "{name}: {runbook} of {anchors:?}"
        );
        count += 1;
    }
    assert!(count > 20, "{count}");
}

/// The threshold at the end of a rule's expression, and how long it has to hold.
fn rule(rules: &str, name: &str) -> (f64, String) {
    let of = rules.split("- alert: ").find(|rule| rule.starts_with(name));
    let of = of.unwrap_or_else(|| panic!("there is no {name}"));
    let (expression, rest) = of.split_once("for: ").unwrap();
    let threshold = expression.trim().rsplit(' ').next().unwrap();
    let hold = rest.lines().next().unwrap().to_owned();
    (threshold.parse().unwrap(), hold)
}

#[test]
fn the_rules_are_those_that_nodes_have_by_default() {
    use weir_core::alerts::Name;
    use weir_core::tuning::knobs::telemetry as knobs;
    use weir_core::tuning::{Knob, Value};

    let of = |knob: &'static Knob| match knob.default_value() {
        Value::Percent(percent) => f64::from(percent) / 100.0,
        Value::Duration(time) => time.as_secs_f64(),
        other => other.to_string().parse().unwrap(),
    };
    let rules = text("deploy/prometheus/alerts.yml");
    for (alert, name, knob) in [
        (
            "WeirConnectionsNearMax",
            Name::Connections,
            &knobs::ALERT_CONNECTIONS_PERCENT,
        ),
        ("WeirLatencyP95", Name::LatencyP95, &knobs::ALERT_P95),
        ("WeirRequestsWaiting", Name::Queue, &knobs::ALERT_QUEUE_MAX),
        (
            "WeirProvisionsWaiting",
            Name::Queue,
            &knobs::ALERT_QUEUE_MAX,
        ),
        ("WeirPoolNearMax", Name::Pool, &knobs::ALERT_POOL_PERCENT),
        (
            "WeirRedisMemoryHigh",
            Name::RedisMemory,
            &knobs::ALERT_REDIS_MEMORY_PERCENT,
        ),
    ] {
        let minutes = name.hold().as_secs() / 60;
        let expected = (of(knob), format!("{minutes}m"));
        assert_eq!(rule(&rules, alert), expected, "{alert}");
    }
}
