//! `weir nodes`: who is there, what each has in force, and what operators want of it.

mod view;
mod watch;

use std::time::Duration;

use clap::{Args, Subcommand};
use weir_proto::control::v1 as pb;
use weir_proto::convert;

use super::block_on;
use super::control::text::{ago, counted, moment, or_dash, presence, short_hash};
use super::control::{Author, ControlPlane, Page, Repeat, Session, Signature, Standing, Target};
use super::output::{Failure, Format, print, print_json, table};
use crate::ports::clock::WallClock;
use view::NodeView;

/// Show nodes; cordon, drain, remove them
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir nodes\n  weir nodes list --rejected\n  weir nodes drain node-1 -m \"new kernel\""
)]
pub(super) struct Nodes {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Show every node (the default)
    #[command(after_help = "Example:\n  weir nodes list --rejected")]
    List {
        /// Only nodes that refused the profile they were offered.
        #[arg(long)]
        rejected: bool,
    },
    /// Show one node with everything that it finds wrong
    #[command(after_help = "Example:\n  weir nodes get node-1")]
    Get {
        /// The node's id.
        node: String,
    },
    /// Show every node, then each node again when it is no longer what was shown, until interrupted
    #[command(after_help = "Example:\n  weir nodes watch")]
    Watch,
    /// Take a node out of the eyes of new clients; whatever comes is served
    #[command(after_help = "Example:\n  weir nodes cordon node-1 -m \"looks slow\"")]
    Cordon(Order),
    /// Take back a cordon
    #[command(after_help = "Example:\n  weir nodes uncordon node-1")]
    Uncordon(Order),
    /// The same, and end client connections after what runs on them; not ready while it lasts
    #[command(after_help = "Example:\n  weir nodes drain node-1 -m \"new kernel\"")]
    Drain(Order),
    /// Take back a drain; a cordon from before holds again
    #[command(after_help = "Example:\n  weir nodes undrain node-1")]
    Undrain(Order),
    /// Remove a node that is away for good; one that is connected is refused
    #[command(
        visible_alias = "forget",
        after_help = "Example:\n  weir nodes remove node-1"
    )]
    Remove {
        /// The node's id.
        node: String,
        #[command(flatten)]
        author: Author,
    },
}

#[derive(Args)]
struct Order {
    /// The node's id.
    node: String,
    #[command(flatten)]
    signature: Signature,
}

impl Page for pb::ListNodesResponse {
    type Item = pb::NodeInfo;

    fn into_parts(self) -> (Vec<pb::NodeInfo>, String) {
        (self.nodes, self.next_page_token)
    }
}

impl Nodes {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = &self.target;
        let action = self.action.unwrap_or(Action::List { rejected: false });
        block_on(async move {
            let (format, mut plane) = (target.format()?, ControlPlane::new(target)?);
            act(&mut plane, action, format).await
        })
    }
}

async fn act(plane: &mut ControlPlane, action: Action, format: Format) -> Result<(), Failure> {
    let order = |order: Order, cordoned: Option<bool>, draining: Option<bool>| pb::OrderRequest {
        node_id: order.node,
        cordoned,
        draining,
        message: order.signature.message,
        author: order.signature.author.author,
    };
    let request = match action {
        Action::List { rejected } => {
            let page = async |session: Session, page_token: String| {
                let request = pb::ListNodesRequest {
                    rejected,
                    page_token,
                    ..pb::ListNodesRequest::default()
                };
                session.nodes().list_nodes(request).await
            };
            return show(&plane.all(page).await?, format);
        }
        Action::Get { node } => {
            let request = pb::GetNodeRequest { node_id: node };
            let node = plane
                .ask(async |session| session.nodes().get_node(request.clone()).await)
                .await?;
            return show_one(&node, format);
        }
        Action::Watch => return watch::run(plane, format).await,
        Action::Remove { node, author } => return remove(plane, node, author, format).await,
        Action::Cordon(node) => order(node, Some(true), None),
        Action::Uncordon(node) => order(node, Some(false), None),
        Action::Drain(node) => order(node, None, Some(true)),
        Action::Undrain(node) => order(node, None, Some(false)),
    };
    let node = plane
        .ask(async |session| session.nodes().order(request.clone()).await)
        .await?;
    show_one(&node, format)
}

async fn remove(
    plane: &mut ControlPlane,
    node: String,
    author: Author,
    format: Format,
) -> Result<(), Failure> {
    let request = pb::ForgetRequest {
        node_id: node.clone(),
        author: author.author,
    };
    // Removed twice, it is not found.
    plane
        .call(Repeat::Harmful, async |session| {
            session.nodes().forget(request.clone()).await
        })
        .await?;
    match format {
        Format::Text => print(&format!("{node} is removed")),
        Format::Json => print_json(&serde_json::json!({ "removed": node })),
    }
}

fn show(nodes: &[pb::NodeInfo], format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(&nodes.iter().map(NodeView::from).collect::<Vec<_>>()),
        Format::Text => print(&as_table(nodes, WallClock::system().unix_now())),
    }
}

fn as_table(nodes: &[pb::NodeInfo], now: Duration) -> String {
    let mut rows = vec![HEADING.map(String::from).into()];
    rows.extend(nodes.iter().map(|node| row(node, now)));
    with_conflicts(table(&rows), nodes)
}

const HEADING: [&str; 7] = [
    "NODE", "PRESENCE", "VERSION", "ZONE", "PROFILE", "SINCE", "ADDRESS",
];

fn row(node: &pb::NodeInfo, now: Duration) -> Vec<String> {
    vec![
        node.node_id.clone(),
        presence_and_orders(node),
        or_dash(&node.node_version),
        or_dash(&node.zone),
        profile_in_short(node),
        ago(node.since_unix_ms, now),
        or_dash(&node.grpc_address),
    ]
}

fn with_conflicts<'a>(table: String, nodes: impl IntoIterator<Item = &'a pb::NodeInfo>) -> String {
    let conflicts = nodes.into_iter().filter(|node| !node.conflict.is_empty());
    conflicts.fold(table, |text, node| {
        format!("{text}\n{}: {}", node.node_id, node.conflict)
    })
}

/// Such as `connected, draining`.
fn presence_and_orders(node: &pb::NodeInfo) -> String {
    format!("{}{}", presence(node.presence()), orders(node))
}

/// Such as `, draining`; nothing without orders.
fn orders(node: &pb::NodeInfo) -> &'static str {
    let orders = node.orders.unwrap_or_default();
    match (orders.draining, orders.cordoned) {
        (true, true) => ", draining, cordoned",
        (true, false) => ", draining",
        (false, true) => ", cordoned",
        (false, false) => "",
    }
}

/// What is in force, what was offered if it is something else, and how the node took it.
fn profile_in_short(node: &pb::NodeInfo) -> String {
    let state = node.profile.clone().unwrap_or_default();
    let mut text = short_hash(&state.effective_hash);
    if state.offered_hash != state.effective_hash {
        text = format!("{text}/{}", short_hash(&state.offered_hash));
    }
    let mut words = vec![Standing::of(node).as_text().to_owned()];
    if !state.unsupported.is_empty() {
        let knobs = counted(state.unsupported.len(), "knob");
        words.push(format!("{knobs} refused as not supported"));
    }
    if !state.pending_restart.is_empty() {
        words.push("restart pending".to_owned());
    }
    format!("{text} {}", words.join(", "))
}

fn show_one(node: &pb::NodeInfo, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(&NodeView::from(node)),
        Format::Text => print(&as_text(node, WallClock::system().unix_now())),
    }
}

fn as_text(node: &pb::NodeInfo, now: Duration) -> String {
    let state = node.profile.clone().unwrap_or_default();
    let labels: Vec<String> = node
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let rows = [
        ["version", &or_dash(&node.node_version)],
        ["zone", &or_dash(&node.zone)],
        ["labels", &or_dash(&labels.join(", "))],
        ["gRPC", &or_dash(&node.grpc_address)],
        ["HTTP API", &or_dash(&node.http_api_address)],
        ["ingress", &or_dash(&node.ingress_addresses.join(", "))],
        ["instance", &or_dash(&node.instance)],
        ["profile", &profile_in_short(node)],
        ["from", &or_dash(&state.origin)],
        ["reported", &moment(node.profile_at_unix_ms)],
    ];
    let rows = rows.map(|row| row.map(str::to_owned).to_vec());
    let since = ago(node.since_unix_ms, now);
    let mut lines = vec![
        format!(
            "{} {} {since}{}",
            node.node_id,
            presence(node.presence()),
            orders(node)
        ),
        table(&rows),
    ];
    lines.extend((!node.conflict.is_empty()).then(|| node.conflict.clone()));
    let refused = match Standing::of(node) {
        Standing::Refused => state.errors.as_slice(),
        Standing::InSync | Standing::Pending | Standing::Stale => &[],
    };
    lines.extend(
        refused
            .iter()
            .map(|e| format!("refused: {}", convert::problem(e))),
    );
    let unsupported = state.unsupported.iter();
    lines.extend(unsupported.map(|e| format!("refused: {}: not supported by this node", e.path)));
    let pending = state.pending_restart.iter();
    lines.extend(pending.map(|path| format!("pending restart: {path}")));
    let quarantined = state.quarantined.iter();
    lines.extend(quarantined.map(|hash| format!("quarantined: {}", short_hash(hash))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::tuning::v1::FieldError;

    fn node() -> pb::NodeInfo {
        let error = FieldError {
            path: "ingress.workers".into(),
            message: "is more than this node has".into(),
            value: "99".into(),
            ..FieldError::default()
        };
        pb::NodeInfo {
            node_id: "node-1".into(),
            presence: pb::Presence::Connected.into(),
            zone: "a".into(),
            since_unix_ms: 1_000,
            orders: Some(pb::NodeOrders {
                cordoned: true,
                draining: false,
            }),
            wanted_hash: vec![2; 16],
            profile: Some(pb::ProfileState {
                offered_hash: vec![2; 16],
                effective_hash: vec![1; 16],
                last_attempt: pb::ApplyStatus::Rejected.into(),
                errors: vec![error.clone()],
                unsupported: vec![error],
                pending_restart: vec!["ingress.workers".into()],
                ..pb::ProfileState::default()
            }),
            ..pb::NodeInfo::default()
        }
    }

    #[test]
    fn a_node_is_one_row() {
        let text = as_table(&[node()], Duration::from_secs(6));
        let row: Vec<&str> = text.lines().nth(1).unwrap().split("  ").collect();
        let cells: Vec<&str> = row
            .into_iter()
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect();
        assert_eq!(
            cells,
            [
                "node-1",
                "connected, cordoned",
                "-",
                "a",
                "01010101/02020202 refused, 1 knob refused as not supported, restart pending",
                "5s",
                "-",
            ]
        );
    }

    #[test]
    fn every_problem_of_a_node_is_told() {
        let text = as_text(&node(), Duration::from_secs(6));
        assert!(text.contains("refused: ingress.workers: `99` is more than this node has"));
        assert!(text.contains("refused: ingress.workers: not supported by this node"));
        assert!(text.contains("pending restart: ingress.workers"));
    }
}
