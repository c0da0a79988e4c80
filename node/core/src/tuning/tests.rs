//! Declarations are sound, problems are named, layers win in order.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

fn set(path: &str, value: &str) -> Edit {
    Edit::Set(path.to_owned(), value.to_owned())
}

fn profile(settings: &[(&str, &str)]) -> Profile {
    let edits: Vec<Edit> = settings
        .iter()
        .map(|(path, value)| set(path, value))
        .collect();
    apply_edits(&Profile::new(), &edits).unwrap()
}

#[test]
fn every_knob_is_declared_soundly() {
    let mut paths = BTreeSet::new();
    for knob in all() {
        assert!(paths.insert(knob.path), "{} is declared twice", knob.path);
        let default = knob.default_value();
        knob.check(&default).unwrap();
        assert_eq!(
            knob.parse(&default.to_string()),
            Ok(default),
            "{}",
            knob.path
        );
        assert!(knob.meaning.ends_with('.'), "{}", knob.path);
        assert_eq!(find(knob.path), Some(knob));
    }
    assert!(paths.len() > 100);
    assert_eq!(check_rules(Knob::default_value), []);
}

#[test]
fn every_preset_keeps_every_rule() {
    for preset in &PRESETS {
        let profile = preset.profile();
        let value = |knob: &Knob| {
            profile
                .get(knob)
                .cloned()
                .unwrap_or_else(|| knob.default_value())
        };
        assert_eq!(check_rules(value), [], "{}", preset.name);
    }
}

#[test]
fn a_problem_names_the_knob_the_value_and_the_bound() {
    let edits = [
        set("balancer.drain_timeout", "99d"),
        set("balancer.drain_time", "1s"),
        set("ingress.connections_max", "many"),
        set("balancer.policy", "best"),
        set("ingress.headers_max", "7"),
        set("ingress.headers_max", "8"),
    ];
    let problems = apply_edits(&Profile::new(), &edits).unwrap_err();
    let codes: Vec<Code> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(
        codes,
        [
            Code::Range,
            Code::Unknown,
            Code::Type,
            Code::Range,
            Code::Conflict
        ]
    );
    assert_eq!(
        problems[0].to_string(),
        "balancer.drain_timeout: `99d` is out of bounds (allowed: 0ms to 1d)"
    );
    assert!(
        problems[1].bound.contains("balancer.drain_timeout"),
        "{}",
        problems[1]
    );
    assert!(problems[2].bound.contains("1 to 10000000"));
}

#[test]
fn an_edit_with_a_problem_changes_nothing_and_without_one_everything() {
    let before = profile(&[
        ("balancer.drain_timeout", "10s"),
        ("ingress.headers_max", "7"),
    ]);
    let edits = [
        Edit::Unset("ingress.headers_max".to_owned()),
        set("balancer.drain_timeout", "20s"),
    ];
    let after = apply_edits(&before, &edits).unwrap();
    assert_eq!(after, profile(&[("balancer.drain_timeout", "20s")]));
    let changes = diff(&before, &after);
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].path, "balancer.drain_timeout");
    assert_eq!(
        changes[0].before,
        Some(Value::Duration(Duration::from_secs(10)))
    );
    assert_eq!(changes[1].after, None);
}

#[test]
fn the_nearer_layer_wins_knob_by_knob_whatever_the_order() {
    let scopes: Vec<Scope> = [
        "fleet",
        "group/a",
        "group/b",
        "node/n",
        "override",
        "override/n",
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect();
    let profiles = [
        profile(&[("ingress.headers_max", "1"), ("balancer.health_rise", "1")]),
        profile(&[("ingress.headers_max", "2"), ("balancer.health_fall", "2")]),
        profile(&[("ingress.headers_max", "3"), ("balancer.health_fall", "3")]),
        profile(&[("ingress.headers_max", "4")]),
        profile(&[("ingress.headers_max", "5")]),
        profile(&[("ingress.headers_max", "6")]),
    ];
    let mut layers: Vec<Layer<'_>> = scopes
        .iter()
        .zip(&profiles)
        .zip([0, 9, 5, 0, 0, 0])
        .map(|((scope, profile), priority)| Layer {
            scope,
            revision: 1,
            priority,
            profile,
        })
        .collect();
    for _ in 0..layers.len() {
        layers.rotate_left(1);
        let merged = merge(&layers);
        let given = |knob: &Knob| {
            merged
                .get(knob)
                .map(|given| (given.value.to_string(), given.scope.to_string()))
        };
        assert_eq!(
            given(&knobs::ingress::HEADERS_MAX),
            Some(("6".into(), "override/n".into()))
        );
        // Group a has the higher priority although its name comes first.
        assert_eq!(
            given(&knobs::balancer::HEALTH_FALL),
            Some(("2".into(), "group/a".into()))
        );
        assert_eq!(
            given(&knobs::balancer::HEALTH_RISE),
            Some(("1".into(), "fleet".into()))
        );
        assert_eq!(given(&knobs::balancer::POLICY), None);
        assert_eq!(merged.problems, []);
        let base = merged.profile(|scope| !scope.is_override());
        assert_eq!(base.get(&knobs::ingress::HEADERS_MAX), None);
    }
}

#[test]
fn groups_of_one_priority_may_not_disagree() {
    let (a, b) = (Scope::Group("a".into()), Scope::Group("b".into()));
    let (one, two) = (
        profile(&[("ingress.headers_max", "1")]),
        profile(&[("ingress.headers_max", "2")]),
    );
    let layer = |scope, profile| Layer {
        scope,
        revision: 1,
        priority: 3,
        profile,
    };
    let problems = merge(&[layer(&a, &one), layer(&b, &two)]).problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("group/a") && problems[0].message.contains("group/b"));
    assert_eq!(merge(&[layer(&a, &one), layer(&b, &one)]).problems, []);
}

#[test]
fn a_rule_between_knobs_names_both() {
    let given = profile(&[("ingress.h2_connection_window", "128KiB")]);
    let problems = check_rules(|knob| {
        given
            .get(knob)
            .cloned()
            .unwrap_or_else(|| knob.default_value())
    });
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, "ingress.h2_stream_window");
    assert!(problems[0].message.contains("ingress.h2_connection_window"));
}

#[test]
fn only_encodings_that_are_made_can_be_offered() {
    let given = profile(&[("ingress.compression", "zstd, brotli, identity")]);
    let problems = check_rules(|knob| {
        let given = given.get(knob).cloned();
        given.unwrap_or_else(|| knob.default_value())
    });
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["brotli", "identity"].map(|name| format!(
            "ingress.compression: `{name}` names no encoding that is made (allowed: br, gzip, zstd)"
        ))
    );
}

#[test]
fn scopes_read_back_and_odd_ones_are_refused() {
    for text in [
        "fleet",
        "group/eu-1",
        "node/n.1",
        "override",
        "override/n_1",
    ] {
        assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "fleet/x",
        "group/",
        "node/a/b",
        "node",
        "group/ä",
        "override/",
        "x/y",
    ] {
        assert!(text.parse::<Scope>().is_err(), "{text}");
    }
}
