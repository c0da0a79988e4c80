//! `weir status --mesh`: all nodes at a glance.

use weir_proto::node::v1 as pb;
use weir_proto::node::v1::overview_client::OverviewClient;

use super::Target;
use super::output::{Failure, Format, connect, note, print, print_json, table};

/// Samples that are told as JSON: the last minute, unless samples are taken at another pace.
const SAMPLES_MAX: u32 = 60;
/// Characters of a hash that tell it from others.
const HASH_CHARS: usize = 8;

/// Asks a node for all nodes and shows what it tells.
pub(super) async fn run(target: &Target) -> Result<(), Failure> {
    let mut client = OverviewClient::new(connect(&target.node).await?);
    let request = pb::OverviewRequest {
        mesh: true,
        samples_max: SAMPLES_MAX,
        ..pb::OverviewRequest::default()
    };
    let overview = client.get_overview(request).await?.into_inner();
    for trouble in &overview.unreachable_nodes {
        note(&format!("{}: {}", trouble.node, trouble.why));
    }
    match target.output {
        Format::Json => print_json(&overview),
        Format::Text => print(&as_text(&overview)),
    }
}

fn as_text(overview: &pb::OverviewAnswer) -> String {
    let mut rows = vec![
        ["NODE", "STATE", "RATE", "P99", "ERRORS", "PROFILE"]
            .map(String::from)
            .to_vec(),
    ];
    for node in &overview.nodes {
        rows.push(row(
            &node.node,
            state(node),
            node.rates.as_ref(),
            &profile(node),
        ));
    }
    let unreachable = overview.unreachable_nodes.iter();
    rows.extend(unreachable.map(|one| row(&one.node, "unreachable", None, "-")));
    rows.push(row("all", "", overview.rates.as_ref(), ""));
    let mut lines = vec![table(&rows)];
    for node in &overview.nodes {
        let problems = node.problems.iter();
        lines.extend(problems.map(|problem| format!("{}: {problem}", node.node)));
    }
    let unmerged = overview.unmerged_nodes.iter();
    lines.extend(unmerged.map(|one| format!("{}: not in `all`: {}", one.node, one.why)));
    if let Some(cut) = overview.cut.filter(|cut| cut.nodes > 0) {
        lines.push(format!("{} more nodes are not shown", cut.nodes));
    }
    lines.join("\n")
}

fn row(node: &str, state: &str, rates: Option<&pb::Rates>, profile: &str) -> Vec<String> {
    let known = rates.filter(|rates| rates.window_ms > 0);
    let shown = |show: fn(&pb::Rates) -> String| known.map_or_else(|| "-".to_owned(), show);
    vec![
        node.to_owned(),
        state.to_owned(),
        shown(|rates| format!("{:.1}/s", rates.requests_per_second)),
        shown(|rates| rates.p99_us.map_or_else(|| "-".to_owned(), time)),
        shown(|rates| format!("{:.1}/s", rates.errors_per_second)),
        profile.to_owned(),
    ]
}

fn state(node: &pb::NodeOverview) -> &str {
    let status = node.status.as_ref();
    status.map_or("unknown", |status| &status.state)
}

/// What is in force, and what was offered where that is something else.
fn profile(node: &pb::NodeOverview) -> String {
    let Some(profile) = &node.profile else {
        return "-".to_owned();
    };
    let named = |hash: &str, layers: &[String]| match (hash, layers) {
        ("", _) => "none".to_owned(),
        (hash, []) => hash.chars().take(HASH_CHARS).collect(),
        (_, layers) => layers.join(", "),
    };
    let effective = named(&profile.effective, &profile.effective_layers);
    match profile.offered.is_empty() || profile.offered == profile.effective {
        true => effective,
        false => format!(
            "{effective} (offered {}: {})",
            named(&profile.offered, &profile.offered_layers),
            profile.state
        ),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time for people")]
fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..1_000_000 => format!("{:.1}ms", us as f64 / 1e3),
        _ => format!("{:.2}s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, offered: &str, problems: &[&str]) -> pb::NodeOverview {
        pb::NodeOverview {
            node: name.to_owned(),
            status: Some(pb::Status {
                state: "ready".to_owned(),
                ..pb::Status::default()
            }),
            profile: Some(pb::ProfileStanding {
                state: "rejected".to_owned(),
                offered: offered.to_owned(),
                effective: "0123456789".to_owned(),
                ..pb::ProfileStanding::default()
            }),
            rates: Some(rates(12.34, Some(1_500))),
            problems: problems.iter().map(|text| (*text).to_owned()).collect(),
            ..pb::NodeOverview::default()
        }
    }

    fn rates(requests_per_second: f64, p99_us: Option<u64>) -> pb::Rates {
        pb::Rates {
            window_ms: 10_000,
            requests_per_second,
            p99_us,
            ..pb::Rates::default()
        }
    }

    #[test]
    fn each_node_is_a_line_and_what_is_wrong_stands_below() {
        let mut named = node("a", "0123456789", &[]);
        if let Some(profile) = &mut named.profile {
            profile.effective_layers = ["fleet@3", "node/a@1"].map(String::from).to_vec();
        }
        let text = as_text(&pb::OverviewAnswer {
            nodes: vec![named, node("b", "ffff000011", &["profile refused: x"])],
            rates: Some(rates(24.7, None)),
            unreachable_nodes: vec![pb::NodeTrouble {
                node: "c".to_owned(),
                why: "no answer within 1s".to_owned(),
            }],
            ..pb::OverviewAnswer::default()
        });
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[1],
            [
                "a", "ready", "12.3/s", "1.5ms", "0.0/s", "fleet@3,", "node/a@1"
            ]
        );
        assert_eq!(
            lines[2][5..],
            ["01234567", "(offered", "ffff0000:", "rejected)"]
        );
        assert_eq!(lines[3], ["c", "unreachable", "-", "-", "-", "-"]);
        assert_eq!(lines[4], ["all", "24.7/s", "-", "0.0/s"]);
        assert!(text.ends_with("b: profile refused: x"), "{text}");
    }
}
