//! Two profiles in turn on a live node.

use std::time::Duration;

use weir_core::bench::compare::{ROUND, Side as Turn, by_difference, by_ratio, pairs};
use weir_core::bench::rule::Step;
use weir_core::error::chain;

use super::lever::{Lever, TAKE_MAX};
use super::load::{self, Plan};
use super::node::NodeProbe;
use super::report::{Comparison, Measure, Report, StepView};
use super::side::Side;
use super::{Bench, show};
use crate::cli::control::ControlPlane;
use crate::cli::output::{Failure, Format, note};
use crate::end_signs::{Signals, Told};

/// An override may not hold longer.
const HOLD_MAX: Duration = Duration::from_secs(24 * 3_600);

pub(super) async fn run(
    bench: &Bench,
    plan: &Plan,
    (a, b): (&str, &str),
    node: Option<&NodeProbe>,
    format: Format,
) -> Result<Report, Failure> {
    let sides = [
        ("--profile-a", a, Side::parse("--profile-a", a)?),
        ("--profile-b", b, Side::parse("--profile-b", b)?),
    ];
    let mut plane = ControlPlane::new(&bench.target)?;
    let mut contents = Vec::new();
    for (_, name, side) in &sides {
        contents.push((*name, side.content(&mut plane).await?));
    }
    let steps = bench.duel.rounds * 4;
    let whole = (plan.duration * 2 + plan.patience + TAKE_MAX * 2) * steps;
    let hold = (whole + Duration::from_secs(60)).min(HOLD_MAX);
    // From here on signals are taken, so that none ends this program between a write and its restoration.
    let mut signals = Signals::new()?;
    let (scope, author) = (&bench.duel.scope, &bench.author.author);
    let lever = Lever::new(&mut plane, scope, author, hold).await?;
    let mut duel = Duel {
        bench,
        plan,
        node,
        format,
        contents: &contents,
        lever: &lever,
        report: Report::new(bench, plan),
        steps: Vec::new(),
    };
    let measured = duel.rounds(&mut plane, &mut signals).await;
    let restored = lever.restore(&mut plane).await;
    match (measured, restored) {
        (Ok(()), Ok(())) => Ok(duel.told(a, b)),
        (Err(failure), Ok(())) => Err(failure),
        (measured, Err(restoring)) => {
            if let Err(failure) = measured {
                note(&failure.to_string());
            }
            note(&format!(
                "{scope} may not be as it was; `weir profile history` shows what was there: {}",
                chain(&restoring)
            ));
            Err(restoring)
        }
    }
}

struct Duel<'a> {
    bench: &'a Bench,
    plan: &'a Plan,
    node: Option<&'a NodeProbe>,
    format: Format,
    contents: &'a [(&'a str, (String, Vec<weir_proto::control::v1::TextSetting>))],
    lever: &'a Lever,
    report: Report,
    steps: Vec<Step>,
}

impl Duel<'_> {
    async fn rounds(
        &mut self,
        plane: &mut ControlPlane,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let all = self.bench.duel.rounds as usize * ROUND.len();
        let mut in_force = None;
        for turn in ROUND.into_iter().cycle().take(all) {
            if in_force != Some(turn) {
                let (name, content) = &self.contents[turn as usize];
                self.lever.put(plane, name, content.clone()).await?;
                in_force = Some(turn);
            }
            let (step, facts) = tokio::select! {
                biased;
                () = ended(signals) => return Err(Failure::Other(
                    "stopped before the end; what was in force before is put back".to_owned(),
                )),
                measured = load::run(self.plan, self.node) => measured?,
            };
            self.report.steps.push(StepView {
                profile: Some(match turn {
                    Turn::A => "A",
                    Turn::B => "B",
                }),
                ..StepView::of(&step, facts.as_ref())
            });
            self.steps.push(step);
            if self.format == Format::Text {
                note(&show::progress(&self.report, all));
            }
        }
        Ok(())
    }

    fn told(mut self, a: &str, b: &str) -> Report {
        let confidence = self.bench.duel.confidence / 100.0;
        let of = |measure: fn(&Step) -> f64| {
            let measured: Vec<f64> = self.steps.iter().map(measure).collect();
            pairs(&measured)
        };
        let p50 = of(|step| step.latency.percentile(0.5).as_secs_f64());
        let p99 = of(|step| step.latency.percentile(0.99).as_secs_f64());
        let failed = of(Step::failed_share);
        self.report.comparison = Some(Comparison {
            profile_a: a.to_owned(),
            profile_b: b.to_owned(),
            scope: self.bench.duel.scope.to_string(),
            confidence_percent: self.bench.duel.confidence,
            pairs: p50.len(),
            measures: vec![
                Measure::of("p50", by_ratio(&p50, confidence)),
                Measure::of("p99", by_ratio(&p99, confidence)),
                Measure::of("failed", by_difference(&failed, confidence)),
            ],
        });
        self.report
    }
}

async fn ended(signals: &mut Signals) {
    while !matches!(signals.next().await, Told::Stop) {}
}
