//! `weir status`: a node at a glance.

use std::time::Duration;

use clap::Args;
use weir_core::units::format_rough;
use weir_proto::node::v1::node_client::NodeClient;
use weir_proto::node::v1::{Canary, ControlLink, GetStatusRequest, Status as NodeStatus};

use super::control::text::counted;
use super::output::{Failure, Format, connect, print, print_json, table};
use super::{Target, block_on, status_mesh};

/// Show how a node is: traffic, services, configuration; or all nodes, a line for each
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir status\n  weir status --mesh\n  weir status --node 127.0.0.1:7401 -o json"
)]
pub(super) struct Status {
    /// All nodes that the asked one knows, with what they carried in the last ten samples.
    #[arg(long)]
    mesh: bool,
    #[command(flatten)]
    target: Target,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        block_on(async move {
            if self.mesh {
                return status_mesh::run(&self.target).await;
            }
            let mut client = NodeClient::new(connect(&self.target.node).await?);
            let status = client.get_status(GetStatusRequest {}).await?.into_inner();
            match self.target.output {
                Format::Json => print_json(&status),
                Format::Text => print(&as_text(&status)),
            }
        })
    }
}

fn as_text(status: &NodeStatus) -> String {
    let mut rows = vec![
        ["SERVICE", "HEALTHY", "REQUESTS", "SUCCESS", "MEAN"]
            .map(String::from)
            .into(),
    ];
    for service in &status.services {
        rows.push(vec![
            service.name.clone(),
            format!("{}/{}", service.healthy, service.total),
            service.requests.to_string(),
            of_any(service.requests, percent(service.success_rate)),
            of_any(service.requests, mean(service.mean_response_us)),
        ]);
    }
    let mut lines = vec![
        format!(
            "{} {}, version {}, up {}",
            status.node,
            status.state,
            status.version,
            format_rough(Duration::from_secs(status.uptime_s)),
        ),
        format!(
            "{} requests, {} succeeded, mean {}; {} running, {} connections, {} tunnels",
            status.requests,
            of_any(status.requests, percent(status.success_rate)),
            of_any(status.requests, mean(status.mean_response_us)),
            status.requests_in_flight,
            status.connections_open,
            status.tunnels_open,
        ),
        format!(
            "configuration {} in force, {} refused",
            status.config_revision, status.config_refusals
        ),
    ];
    lines.extend(
        status
            .config_problems
            .iter()
            .map(|problem| format!("  {problem}")),
    );
    lines.extend(status.control_plane.iter().flat_map(of_control_plane));
    lines.extend(status.canary.iter().filter_map(of_canary));
    lines.extend(
        status
            .warnings
            .iter()
            .map(|warning| format!("  warning: {warning}")),
    );
    lines.push(String::new());
    lines.push(table(&rows));
    lines.join("\n")
}

fn of_control_plane(link: &ControlLink) -> Vec<String> {
    let mut lines = match link.state.as_str() {
        "none" => return Vec::new(),
        "connected" => vec![format!(
            "control plane {}, connected, {}",
            link.instance,
            counted(usize::try_from(link.peers).unwrap_or(usize::MAX), "node")
        )],
        _ => {
            let why = match link.why.as_str() {
                "" => String::new(),
                why => format!(": {why}"),
            };
            vec![format!(
                "control plane away for {}{why}",
                format_rough(Duration::from_secs(link.away_s))
            )]
        }
    };
    if !link.profile.is_empty() {
        let short: String = link.profile.chars().take(8).collect();
        lines.push(format!(
            "profile {short} in force, from {}",
            link.profile_origin
        ));
    }
    lines.extend(
        link.profile_problems
            .iter()
            .map(|problem| format!("  refused: {problem}")),
    );
    lines.extend(
        link.unsupported
            .iter()
            .map(|path| format!("  not supported: {path}")),
    );
    lines.extend(
        link.pending_restart
            .iter()
            .map(|path| format!("  pending restart: {path}")),
    );
    if !link.disk_problem.is_empty() {
        lines.push(format!("  last known good: {}", link.disk_problem));
    }
    lines
}

fn of_canary(canary: &Canary) -> Option<String> {
    let Canary { from, lost, .. } = canary;
    let heard = !from.is_empty() && canary.received > 0 && !canary.is_silent;
    let latency = canary.latency_ms;
    heard.then(|| format!("messages of {from} come within {latency} ms, {lost} lost"))
}

/// A figure over requests says nothing when there were none.
fn of_any(requests: u64, figure: String) -> String {
    match requests {
        0 => "-".to_owned(),
        _ => figure,
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn mean(us: u64) -> String {
    format!("{:?}", Duration::from_micros(us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_messages_of_the_other_nodes_come_is_told() {
        let mut status = NodeStatus {
            canary: Some(Canary {
                from: "node-2".to_owned(),
                received: 10,
                lost: 1,
                latency_ms: 3,
                ..Canary::default()
            }),
            ..NodeStatus::default()
        };
        let told = as_text(&status);
        let comes = "messages of node-2 come within 3 ms, 1 lost";
        assert!(told.contains(comes), "{told}");
        status.warnings = vec!["canary from node-2 silent for 7s".to_owned()];
        status.canary.get_or_insert_default().is_silent = true;
        let told = as_text(&status);
        assert!(
            told.contains("  warning: canary from node-2 silent for 7s"),
            "{told}"
        );
        assert!(!told.contains("come within"), "{told}");
        status.canary = Some(Canary::default());
        assert!(!as_text(&status).contains("messages of"));
    }
}
