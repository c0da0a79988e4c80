//! Charts of the steps as one SVG that needs nothing else.

use std::fmt::Write as _;
use std::time::Duration;

use weir_core::bench::rule::format_latency;

use super::report::{Report, StepView, escaped};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 34.0;

/// Colours for both schemes; no colour is the only sign of anything.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd}\
    .rule{stroke:#c33;stroke-dasharray:6 4}polyline{fill:none!important;stroke-width:2}.back{fill:#fff}\
    .s0{stroke:#1f6feb;fill:#1f6feb}.s1{stroke:#d9730d;fill:#d9730d}.s2{stroke:#6b7280;fill:#6b7280}\
    text.s0,text.s1,text.s2{stroke:none}\
    @media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.back{fill:#16181d}\
    .s0{stroke:#6ea8fe;fill:#6ea8fe}.s1{stroke:#ffab5e;fill:#ffab5e}.s2{stroke:#9ca3af;fill:#9ca3af}}";

struct Series {
    name: &'static str,
    /// A step that has no value leaves a gap for its marks, not for its line.
    values: Vec<Option<f64>>,
}

struct Chart<'a> {
    title: &'a str,
    series: Vec<Series>,
    /// A line across, such as the limit of a rule.
    rule: Option<f64>,
    as_text: fn(f64) -> String,
}

/// Latencies, and achieved beside offered rates.
pub(super) fn svg(report: &Report) -> String {
    let latency = Chart {
        title: "Latency",
        series: latencies(report),
        rule: Some(report.rule.p99_max_us as f64),
        as_text: |us| format_latency(Duration::from_micros(us as u64)),
    };
    let rates = Chart {
        title: "Requests a second",
        series: vec![
            series(report, "achieved", |step| Some(step.achieved_per_second)),
            series(report, "offered", |step| {
                Some(f64::from(step.offered_per_second))
            }),
        ],
        rule: None,
        as_text: |rate| format!("{rate:.0}"),
    };
    let labels: Vec<String> = report.steps.iter().map(label).collect();
    let height = 2.0 * HEIGHT;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Latency and rate of each step\"><style>{STYLE}</style>\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>{}<g transform=\"translate(0 {HEIGHT})\">{}</g>\
         </svg>",
        latency.draw(&labels),
        rates.draw(&labels)
    )
}

fn series(report: &Report, name: &'static str, value: impl Fn(&StepView) -> Option<f64>) -> Series {
    Series {
        name,
        values: report.steps.iter().map(value).collect(),
    }
}

fn latencies(report: &Report) -> Vec<Series> {
    if report.comparison.is_none() {
        return vec![
            series(report, "p99", |step| Some(step.p99_us as f64)),
            series(report, "p90", |step| Some(step.p90_us as f64)),
            series(report, "p50", |step| Some(step.p50_us as f64)),
        ];
    }
    let of = |side: &'static str| {
        move |step: &StepView| (step.profile == Some(side)).then_some(step.p99_us as f64)
    };
    vec![
        series(report, "A p99", of("A")),
        series(report, "B p99", of("B")),
    ]
}

fn label(step: &StepView) -> String {
    match step.profile {
        Some(side) => side.to_owned(),
        None => format!("{}/s", step.offered_per_second),
    }
}

impl Chart<'_> {
    fn draw(&self, labels: &[String]) -> String {
        let values = self.series.iter().flat_map(|series| &series.values);
        let values = values.flatten().copied().chain(self.rule);
        let (low, high) = values.fold((f64::INFINITY, 1.0_f64), |(low, high), value| {
            (low.min(value.max(1.0)), high.max(value))
        });
        let scale = Scale::over(low.min(high), high, labels.len());
        let mut svg = format!(
            "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">{}</text>",
            escaped(self.title)
        );
        for tick in scale.ticks() {
            let (y, text) = (scale.y(tick), (self.as_text)(tick));
            let (to, at) = (WIDTH - RIGHT, LEFT - 8.0);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{to}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{at}\" y=\"{y:.1}\" dy=\"4\" text-anchor=\"end\">{text}</text>"
            );
        }
        for (at, label) in labels.iter().enumerate() {
            let (x, y) = (scale.x(at), HEIGHT - BOTTOM + 20.0);
            let _ = write!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                escaped(label)
            );
        }
        if let Some(rule) = self.rule {
            let (y, to) = (scale.y(rule), WIDTH - RIGHT);
            let _ = write!(
                svg,
                "<line class=\"rule\" x1=\"{LEFT}\" x2=\"{to}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            );
        }
        for (class, series) in self.series.iter().enumerate() {
            self.draw_series(&mut svg, class, series, &scale);
        }
        svg
    }

    fn draw_series(&self, svg: &mut String, class: usize, series: &Series, scale: &Scale) {
        let there = series.values.iter().enumerate();
        let points: Vec<(f64, f64, f64)> = there
            .filter_map(|(at, value)| Some((scale.x(at), scale.y((*value)?), (*value)?)))
            .collect();
        let line: Vec<String> = points
            .iter()
            .map(|(x, y, _)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = write!(
            svg,
            "<polyline class=\"s{class}\" points=\"{}\"/>",
            line.join(" ")
        );
        for (x, y, value) in &points {
            let text = (self.as_text)(*value);
            let _ = write!(
                svg,
                "<circle class=\"s{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{} {text}</title></circle>",
                series.name
            );
        }
        let (x, y) = (WIDTH - RIGHT + 12.0, TOP + 16.0 * class as f64);
        let name = series.name;
        let _ = write!(
            svg,
            "<text class=\"s{class}\" x=\"{x}\" y=\"{y}\">● {name}</text>"
        );
    }
}

/// Steps from left to right, values by their logarithm.
struct Scale {
    low: f64,
    high: f64,
    steps: usize,
}

impl Scale {
    fn over(low: f64, high: f64, steps: usize) -> Self {
        Self {
            low: low.log10().floor(),
            high: high.log10().ceil().max(low.log10().floor() + 1.0),
            steps,
        }
    }

    fn x(&self, at: usize) -> f64 {
        let width = (WIDTH - LEFT - RIGHT) / self.steps.max(1) as f64;
        LEFT + width * (at as f64 + 0.5)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value.max(1.0).log10() - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}
