//! Findings for people and for scripts.

use serde::Serialize;
use weir_core::doctor::{Finding, Severity, worst};

use crate::cli::control::text::counted;
use crate::cli::output::{Failure, Format, print, print_json, table};

#[derive(Serialize)]
struct Document<'a> {
    worst: &'static str,
    findings: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    severity: &'static str,
    area: &'static str,
    check: &'a str,
    found: &'a str,
    effect: &'a str,
    fix: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sysctl: Option<String>,
}

/// Prints findings; as JSON always all.
pub(super) fn show(findings: &[Finding], all: bool, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(&Document {
            worst: worst(findings).as_str(),
            findings: findings.iter().map(row).collect(),
        }),
        Format::Text => print(&as_text(findings, all)),
    }
}

fn row(finding: &Finding) -> Row<'_> {
    let change = finding.change.as_ref();
    Row {
        severity: finding.severity.as_str(),
        area: finding.area.as_str(),
        check: &finding.check,
        found: &finding.found,
        effect: &finding.effect,
        fix: &finding.fix,
        sysctl: change.map(|change| format!("{} = {}", change.parameter, change.value)),
    }
}

fn as_text(findings: &[Finding], all: bool) -> String {
    let shown: Vec<&Finding> = findings
        .iter()
        .filter(|finding| all || finding.severity > Severity::Ok)
        .collect();
    let mut rows = vec![
        ["SEVERITY", "CHECK", "FOUND", "EFFECT"]
            .map(String::from)
            .to_vec(),
    ];
    rows.extend(shown.iter().map(|finding| {
        vec![
            finding.severity.as_str().to_owned(),
            finding.check.clone(),
            // The kernel puts tabs between numbers.
            finding
                .found
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            finding.effect.clone(),
        ]
    }));
    let fine = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Ok);
    let fine = fine.count();
    let mut lines = Vec::new();
    if !shown.is_empty() {
        lines.push(table(&rows));
    }
    let fixes: Vec<String> = shown
        .iter()
        .filter(|finding| !finding.fix.is_empty())
        .map(|finding| format!("  {}: {}", finding.check, finding.fix))
        .collect();
    if !fixes.is_empty() {
        lines.push(format!("\nFixes:\n{}", fixes.join("\n")));
    }
    if !shown.is_empty() {
        lines.push(String::new());
    }
    lines.push(format!("{} as it should be", counted(fine, "check")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::doctor::{Facts, Needs, Read, examine};
    use weir_core::tuning::Profile;

    #[test]
    fn each_finding_is_a_row_and_its_fix_a_line() {
        let said = |text: &str| Read::Said(text.to_owned());
        let facts = Facts {
            parameters: [
                ("net.ipv4.ip_local_port_range", said("32768\t60999\n")),
                ("net.core.somaxconn", said("70000\n")),
            ]
            .into(),
            ..Facts::default()
        };
        let mut findings = examine(&facts, &Profile::new(), &Needs::default());
        findings.retain(|finding| finding.area == weir_core::doctor::Area::Kernel);
        let text = as_text(&findings, false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].starts_with("info      net.ipv4.ip_local_port_range  32768 60999"),
            "{text}"
        );
        assert_eq!(lines[3], "Fixes:");
        assert!(
            lines[4].contains("sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\""),
            "{text}"
        );
        assert_eq!(*lines.last().unwrap(), "1 check as it should be");
        assert!(as_text(&findings, true).contains("ok        net.core.somaxconn"));
    }
}
