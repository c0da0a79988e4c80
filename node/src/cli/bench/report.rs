//! What was measured, as scripts read it and as pages show it.

use std::time::Duration;

use serde::Serialize;
use weir_core::bench::bottleneck::{NodeFacts, Verdict};
use weir_core::bench::compare::Difference;
use weir_core::bench::rule::{Breach, Step};

use super::load::Plan;
use super::{Bench, chart, show};

/// A whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) url: String,
    pub(super) protocol: &'static str,
    pub(super) connections: u32,
    pub(super) step_ms: u64,
    pub(super) rule: RuleView,
    pub(super) steps: Vec<StepView>,
    /// The first step that did not hold.
    pub(super) breaking: Option<Breaking>,
    /// What came of comparing two profiles.
    pub(super) comparison: Option<Comparison>,
}

#[derive(Debug, Serialize)]
pub(super) struct RuleView {
    pub(super) p99_max_us: u64,
    pub(super) failed_percent_max: f64,
    pub(super) achieved_percent_min: f64,
}

/// One step; times in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StepView {
    /// `A` or `B` in a comparison.
    pub(super) profile: Option<&'static str>,
    pub(super) offered_per_second: u32,
    pub(super) achieved_per_second: f64,
    pub(super) due: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) unfinished: u64,
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    pub(super) max_us: u64,
    /// Without the wait for a free connection.
    pub(super) service_p99_us: u64,
    /// What the node said of itself.
    pub(super) node: Option<NodeView>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct NodeView {
    pub(super) cores: u32,
    pub(super) cpu_percent: f64,
    pub(super) machine_busy_percent: Option<f64>,
    pub(super) requests: f64,
    pub(super) mean_us: u64,
    pub(super) backend_requests: f64,
    pub(super) backend_in_flight: f64,
    pub(super) backend_failures: f64,
    pub(super) connection_refusals: f64,
    pub(super) waiting: f64,
    pub(super) cache_hits: f64,
}

/// Where it broke, by what, and what held it up.
#[derive(Debug, Serialize)]
pub(super) struct Breaking {
    pub(super) offered_per_second: u32,
    pub(super) broken: Vec<String>,
    pub(super) bottleneck: &'static str,
    pub(super) why: String,
}

/// Two profiles beside each other.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) profile_a: String,
    pub(super) profile_b: String,
    pub(super) scope: String,
    pub(super) confidence_percent: f64,
    pub(super) pairs: usize,
    pub(super) measures: Vec<Measure>,
}

/// One measure of both.
#[derive(Debug, Serialize)]
pub(super) struct Measure {
    pub(super) name: &'static str,
    /// The median of what B is above A, in percent of A; of failures in points.
    pub(super) change_percent: f64,
    pub(super) p_value: f64,
    pub(super) real: bool,
}

impl Measure {
    pub(super) fn of(name: &'static str, found: Difference) -> Self {
        Self {
            name,
            change_percent: rounded(found.median * 100.0),
            p_value: found.p_value,
            real: found.is_real,
        }
    }
}

impl Breaking {
    pub(super) fn of(step: &Step, breaches: &[Breach], verdict: Verdict) -> Self {
        Self {
            offered_per_second: step.offered,
            broken: breaches.iter().map(ToString::to_string).collect(),
            bottleneck: verdict.what.as_str(),
            why: verdict.why,
        }
    }
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

impl StepView {
    pub(super) fn of(step: &Step, node: Option<&NodeFacts>) -> Self {
        let percentile = |share| us(step.latency.percentile(share));
        Self {
            profile: None,
            offered_per_second: step.offered,
            achieved_per_second: rounded(step.achieved()),
            due: step.due,
            answered: step.answered,
            failed: step.failed,
            unfinished: step.unfinished,
            p50_us: percentile(0.5),
            p90_us: percentile(0.9),
            p99_us: percentile(0.99),
            p999_us: percentile(0.999),
            max_us: us(step.latency.max()),
            service_p99_us: us(step.service.percentile(0.99)),
            node: node.map(NodeView::from),
        }
    }
}

impl From<&NodeFacts> for NodeView {
    fn from(facts: &NodeFacts) -> Self {
        Self {
            cores: facts.cores,
            cpu_percent: rounded(facts.cpu_share() * 100.0),
            machine_busy_percent: facts.machine_busy.map(|share| rounded(share * 100.0)),
            requests: facts.requests,
            mean_us: us(facts.mean()),
            backend_requests: facts.backend_requests,
            backend_in_flight: facts.backend_in_flight,
            backend_failures: facts.backend_failures,
            connection_refusals: facts.connection_refusals,
            waiting: facts.waiting,
            cache_hits: facts.cache_hits,
        }
    }
}

impl Report {
    pub(super) fn new(bench: &Bench, plan: &Plan) -> Self {
        Self {
            url: bench.url.clone(),
            protocol: plan.goal.protocol(),
            connections: plan.connections,
            step_ms: us(plan.duration) / 1_000,
            rule: RuleView {
                p99_max_us: us(bench.p99_max),
                failed_percent_max: bench.failed_max,
                achieved_percent_min: bench.achieved_min,
            },
            steps: Vec::new(),
            breaking: None,
            comparison: None,
        }
    }

    /// Whether every step held, or B is not worse than A.
    pub(super) fn is_good(&self) -> bool {
        let measures = self.comparison.iter().flat_map(|c| &c.measures);
        self.breaking.is_none()
            && !measures
                .into_iter()
                .any(|measure| measure.real && measure.change_percent > 0.0)
    }

    /// The charts alone.
    pub(super) fn as_svg(&self) -> String {
        chart::svg(self)
    }

    /// A page that needs nothing else.
    pub(super) fn as_html(&self) -> String {
        let rows = show::rows(self);
        let row = |cell: &str, row: &[String]| {
            let cells = row
                .iter()
                .map(|text| format!("<{cell}>{}</{cell}>", escaped(text)));
            format!("<tr>{}</tr>", cells.collect::<String>())
        };
        let body: String = rows[1..].iter().map(|cells| row("td", cells)).collect();
        let findings: String = show::findings(self)
            .iter()
            .map(|line| format!("<p>{}</p>", escaped(line)))
            .collect();
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>weir bench</title><style>{STYLE}</style>\
             </head>\n<body><h1>weir bench</h1><p>{}</p>\n{findings}\n{}\n\
             <table><thead>{}</thead><tbody>{body}</tbody></table></body></html>\n",
            escaped(&show::what(self)),
            chart::svg(self),
            row("th", &rows[0]),
        )
    }
}

const STYLE: &str = ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;\
    margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;margin-top:1rem;width:100%}\
    th,td{text-align:right;padding:.25rem .6rem;border-bottom:1px solid #8884;font-variant-numeric:tabular-nums}\
    svg{width:100%;height:auto}";

/// Text that stays text in HTML and SVG.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
