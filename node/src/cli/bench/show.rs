//! What was measured, in words and tables.

use std::time::Duration;

use weir_core::bench::rule::format_latency;
use weir_core::units::format_duration;

use super::report::{Comparison, Measure, Report, StepView};
use crate::cli::output::table;

fn latency(us: u64) -> String {
    format_latency(Duration::from_micros(us))
}

/// What was done, in one line.
pub(super) fn what(report: &Report) -> String {
    let step = format_duration(Duration::from_millis(report.step_ms));
    let (url, protocol, connections) = (&report.url, report.protocol, report.connections);
    format!("{url} by {protocol} over {connections} connections, steps of {step}")
}

/// One line for the step that has just ended.
pub(super) fn progress(report: &Report, steps: usize) -> String {
    let Some(step) = report.steps.last() else {
        return String::new();
    };
    let profile = step.profile.map_or_else(String::new, |p| format!(" ({p})"));
    format!(
        "step {} of {steps}{profile}: {}/s offered, {:.1}/s achieved, p99 {}, {} failed, {} unfinished",
        report.steps.len(),
        step.offered_per_second,
        step.achieved_per_second,
        latency(step.p99_us),
        step.failed,
        step.unfinished
    )
}

/// The steps, heading first.
pub(super) fn rows(report: &Report) -> Vec<Vec<String>> {
    let mut heading = vec![
        "OFFERED/S",
        "ACHIEVED/S",
        "P50",
        "P90",
        "P99",
        "P99.9",
        "MAX",
    ];
    heading.extend(["FAILED", "UNFINISHED", "CPU"]);
    let is_duel = report.comparison.is_some();
    if is_duel {
        heading.insert(0, "PROFILE");
    }
    let mut rows = vec![heading.into_iter().map(str::to_owned).collect()];
    rows.extend(report.steps.iter().map(|step| row(step, is_duel)));
    rows
}

fn row(step: &StepView, is_duel: bool) -> Vec<String> {
    let mut row = Vec::new();
    if is_duel {
        row.push(step.profile.unwrap_or_default().to_owned());
    }
    row.push(step.offered_per_second.to_string());
    row.push(format!("{:.1}", step.achieved_per_second));
    let latencies = [
        step.p50_us,
        step.p90_us,
        step.p99_us,
        step.p999_us,
        step.max_us,
    ];
    row.extend(latencies.map(latency));
    row.push(step.failed.to_string());
    row.push(step.unfinished.to_string());
    let cpu = step.node.as_ref().map(|node| node.cpu_percent);
    row.push(cpu.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.0}%")));
    row
}

/// What follows from the steps.
pub(super) fn findings(report: &Report) -> Vec<String> {
    if let Some(comparison) = &report.comparison {
        return compared(comparison);
    }
    let Some(breaking) = &report.breaking else {
        let rate = report
            .steps
            .last()
            .map_or(0, |step| step.offered_per_second);
        return vec![format!("held up to {rate}/s; no step broke the rule")];
    };
    let rate = breaking.offered_per_second;
    vec![
        format!("breaks at {rate}/s: {}", breaking.broken.join("; ")),
        format!("bottleneck: {} ({})", breaking.bottleneck, breaking.why),
    ]
}

fn compared(comparison: &Comparison) -> Vec<String> {
    let Comparison {
        profile_a,
        profile_b,
        scope,
        pairs,
        ..
    } = comparison;
    let sure = comparison.confidence_percent;
    let mut lines = vec![format!(
        "A = {profile_a}, B = {profile_b}, put into {scope}; {pairs} pairs, {sure} % sure"
    )];
    lines.extend(comparison.measures.iter().map(measured));
    lines
}

fn measured(measure: &Measure) -> String {
    let Measure {
        name,
        change_percent: change,
        p_value,
        ..
    } = measure;
    let unit = if *name == "failed" { "points" } else { "%" };
    let told = match measure.real {
        true if *change > 0.0 => "real: B is worse",
        true => "real: B is better",
        false => "no difference that chance would not make",
    };
    format!("{name}: B {change:+.1} {unit} (p = {p_value:.4}), {told}")
}

/// All of it, for the terminal.
pub(super) fn text(report: &Report) -> String {
    let mut lines = vec![what(report), table(&rows(report))];
    lines.extend(findings(report));
    lines.join("\n")
}
