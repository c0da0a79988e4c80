//! `weir trace`: what one recent request did, as a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use weir_core::calendar;
use weir_core::text::one_line;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::traces_client::TracesClient;

use super::output::{Failure, Format, connect, note, print, print_json, table};
use super::{Target, block_on};

/// Show what a recent request did, step by step, on every node that had to do with it
///
/// Nodes keep requests that were sampled, that failed or that were slow, and jobs and commands, as long as their
/// memory for that lasts (telemetry.trace_recent_bytes_max). No collector is needed.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir trace 4bf92f3577b34da6a3ce929d0e0e4736\n  weir trace checkout-17 -o json\n\n\
    A request's id is what its client sent as x-request-id, or its trace's id: what the node's own answers\n\
    tell as x-request-id, what the access log tells as trace_id, and what is in the traceparent."
)]
pub(super) struct Trace {
    /// The trace's id, or what the client called its request.
    #[arg(value_name = "REQUEST_ID")]
    id: String,
    /// Only what the asked node has.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    target: Target,
}

impl Trace {
    pub(super) fn run(self) -> Result<(), Failure> {
        let request = pb::GetTraceRequest {
            id: self.id,
            local: self.local,
        };
        let Target { node, output } = self.target;
        block_on(async move {
            let mut client = TracesClient::new(connect(&node).await?);
            let trace = client.get_trace(request).await?.into_inner();
            if !trace.silent_nodes.is_empty() {
                let silent = trace.silent_nodes.join(", ");
                note(&format!(
                    "{silent} did not answer; what they have is missing"
                ));
            }
            if trace.cut {
                note("the trace is too large to be told whole: spans are missing");
            }
            match output {
                Format::Json => print_json(&trace),
                Format::Text => print(&shown(&trace)),
            }
        })
    }
}

/// A line of what the whole is, and the tree as a table.
fn shown(trace: &pb::Trace) -> String {
    let first = trace.spans.iter().map(|span| span.start_unix_ns).min();
    let first = first.unwrap_or(0);
    let last = trace.spans.iter().map(end).max().unwrap_or(0);
    let nodes: BTreeSet<&str> = trace.spans.iter().map(|span| &*span.node).collect();
    let mut tree = Tree {
        under: BTreeMap::new(),
        left: trace.spans.iter().map(|span| &*span.span_id).collect(),
        first,
        rows: vec![
            ["STEP", "NODE", "BEGAN", "TOOK", "WHAT"]
                .map(String::from)
                .to_vec(),
        ],
    };
    let known: BTreeSet<&str> = tree.left.clone();
    let mut tops = Vec::new();
    for span in &trace.spans {
        match known.contains(&*span.parent_span_id) {
            true => tree
                .under
                .entry(&span.parent_span_id)
                .or_default()
                .push(span),
            false => tops.push(span),
        }
    }
    for span in tops {
        tree.add(span, "", "");
    }
    format!(
        "trace {} of {}: {} in {} steps on {}\n{}",
        trace.trace_id,
        calendar::rfc3339_ms(first / 1_000_000),
        time(last.saturating_sub(first)),
        trace.spans.len(),
        Vec::from_iter(nodes).join(", "),
        table(&tree.rows),
    )
}

struct Tree<'a> {
    under: BTreeMap<&'a str, Vec<&'a pb::TraceSpan>>,
    /// Spans that have no row yet: what others say may go round in a circle.
    left: BTreeSet<&'a str>,
    first: u64,
    rows: Vec<Vec<String>>,
}

impl<'a> Tree<'a> {
    fn add(&mut self, span: &'a pb::TraceSpan, before: &str, below: &str) {
        if !self.left.remove(&*span.span_id) {
            return;
        }
        self.rows.push(vec![
            format!("{before}{}", span.name),
            span.node.clone(),
            format!("+{}", time(span.start_unix_ns.saturating_sub(self.first))),
            time(span.duration_ns),
            what(span),
        ]);
        let under = self.under.remove(&*span.span_id).unwrap_or_default();
        for (at, child) in under.iter().enumerate() {
            let (fork, line) = match at + 1 == under.len() {
                true => ("└─ ", "   "),
                false => ("├─ ", "│  "),
            };
            self.add(child, &format!("{below}{fork}"), &format!("{below}{line}"));
        }
    }
}

fn what(span: &pb::TraceSpan) -> String {
    let error = (!span.error.is_empty()).then(|| format!("FAILED: {}", one_line(&span.error)));
    let attributes = span.attributes.iter();
    let attributes = attributes.map(|(name, value)| format!("{name}={}", one_line(value)));
    error
        .into_iter()
        .chain(attributes)
        .collect::<Vec<_>>()
        .join(" ")
}

fn end(span: &pb::TraceSpan) -> u64 {
    span.start_unix_ns.saturating_add(span.duration_ns)
}

/// Four digits are enough for people.
fn time(ns: u64) -> String {
    let time = Duration::from_nanos(ns);
    match ns {
        0..1_000_000 => format!("{}us", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{:.2}ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.2}s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, start_ms: u64, took_ms: u64) -> pb::TraceSpan {
        pb::TraceSpan {
            span_id: id.to_owned(),
            parent_span_id: parent.to_owned(),
            node: "a".to_owned(),
            name: format!("step-{id}"),
            start_unix_ns: start_ms * 1_000_000,
            duration_ns: took_ms * 1_000_000,
            attributes: [("n".to_owned(), id.to_owned())].into(),
            ..pb::TraceSpan::default()
        }
    }

    #[test]
    fn steps_stand_under_what_they_belong_to_and_one_of_an_unknown_span_stands_by_itself() {
        let mut spans = vec![
            span("1", "caller", 5, 10),
            span("2", "1", 6, 4),
            span("3", "2", 7, 1),
            span("4", "1", 11, 1_500),
        ];
        spans[3].error = "lost".to_owned();
        let text = shown(&pb::Trace {
            trace_id: "t".to_owned(),
            spans,
            ..pb::Trace::default()
        });
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("trace t of 1970-01-01T00:00:00.005Z: 1.51s in 4 steps on a"));
        let steps: Vec<&str> = lines[2..]
            .iter()
            .map(|line| line.split("  a ").next().unwrap_or_default().trim_end())
            .collect();
        let tree = ["step-1", "├─ step-2", "│  └─ step-3", "└─ step-4"];
        assert_eq!(steps, tree, "{text}");
        assert!(
            lines[3].contains("+1.00ms") && lines[3].contains("4.00ms"),
            "{text}"
        );
        assert!(lines[5].contains("FAILED: lost n=4"), "{text}");
    }

    #[test]
    fn spans_that_go_round_in_a_circle_are_told_once() {
        let spans = vec![
            span("1", "", 0, 1),
            span("2", "2", 0, 1),
            span("1", "1", 0, 1),
        ];
        let text = shown(&pb::Trace {
            spans,
            ..pb::Trace::default()
        });
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
