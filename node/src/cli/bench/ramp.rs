//! Rates that rise until a step does not hold.

use weir_core::bench::bottleneck::{self, NodeFacts};
use weir_core::bench::rule::Step;

use super::load::{self, Plan};
use super::node::NodeProbe;
use super::report::{Breaking, Report, StepView};
use super::{Bench, show};
use crate::cli::output::{Failure, Format, note};

pub(super) async fn run(
    bench: &Bench,
    plan: &Plan,
    rates: &[u32],
    node: Option<&NodeProbe>,
    format: Format,
) -> Result<Report, Failure> {
    let rule = bench.rule();
    let mut report = Report::new(bench, plan);
    let mut steps: Vec<(Step, Option<NodeFacts>)> = Vec::new();
    for rate in rates {
        let plan = Plan {
            rate: *rate,
            ..plan.clone()
        };
        let (step, facts) = load::run(&plan, node).await?;
        report.steps.push(StepView::of(&step, facts.as_ref()));
        steps.push((step, facts));
        if format == Format::Text {
            note(&show::progress(&report, rates.len()));
        }
        let measured: Vec<Step> = steps.iter().map(|(step, _)| step.clone()).collect();
        if let Some(at) = rule.breaking_point(&measured) {
            let (step, facts) = &steps[at];
            let calm = (at > 0).then(|| &steps[0].0);
            let verdict = bottleneck::name(step, facts.as_ref(), calm);
            report.breaking = Some(Breaking::of(step, &rule.breaches(step), verdict));
            break;
        }
    }
    Ok(report)
}
