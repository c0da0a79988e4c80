//! The alert rules are what Prometheus takes, and each fires when it says.

use super::{done, file, run, text};

fn promtool(arguments: &[&str]) -> String {
    done(&run("promtool", arguments, &file("deploy/prometheus")))
}

#[test]
fn prometheus_takes_the_configuration_with_its_rules() {
    promtool(&["check", "config", "prometheus.yml"]);
}

#[test]
fn every_alert_fires_when_it_should_and_is_silent_close_to_it() {
    let said = promtool(&["test", "rules", "alerts.test.yml"]);
    assert!(said.contains("SUCCESS"), "{said}");
    let (rules, tests) = (
        text("deploy/prometheus/alerts.yml"),
        text("deploy/prometheus/alerts.test.yml"),
    );
    for name in rules.split("- alert: ").skip(1) {
        let name = name.lines().next().unwrap();
        let asked = format!("alertname=\"{name}\"");
        assert!(tests.contains(&asked), "{name} is not tested");
    }
}
