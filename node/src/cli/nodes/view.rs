//! Nodes as scripts read them.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_proto::control::v1 as pb;

use crate::cli::control::text::{hex, presence, rfc3339, some};
use crate::cli::control::{ProblemView, Standing};

/// One node.
#[derive(Debug, Serialize)]
pub(super) struct NodeView {
    node: String,
    presence: &'static str,
    since: Option<String>,
    cordoned: bool,
    draining: bool,
    boot_id: String,
    version: String,
    zone: String,
    labels: BTreeMap<String, String>,
    grpc_address: String,
    http_api_address: String,
    ingress_addresses: Vec<String>,
    instance: Option<String>,
    profile: ProfileView,
    heartbeat: Option<HeartbeatView>,
}

#[derive(Debug, Serialize)]
struct ProfileView {
    state: &'static str,
    wanted: String,
    offered: String,
    effective: String,
    last_attempt: &'static str,
    errors: Vec<ProblemView>,
    unsupported: Vec<ProblemView>,
    pending_restart: Vec<String>,
    origin: Option<String>,
    quarantined: Vec<String>,
    reported_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct HeartbeatView {
    connections_open: u64,
    requests_in_flight: u64,
}

impl From<&pb::NodeInfo> for NodeView {
    fn from(node: &pb::NodeInfo) -> Self {
        let orders = node.orders.unwrap_or_default();
        Self {
            node: node.node_id.clone(),
            presence: presence(node.presence()),
            since: rfc3339(node.since_unix_ms),
            cordoned: orders.cordoned,
            draining: orders.draining,
            boot_id: node.boot_id.clone(),
            version: node.node_version.clone(),
            zone: node.zone.clone(),
            labels: node.labels.clone(),
            grpc_address: node.grpc_address.clone(),
            http_api_address: node.http_api_address.clone(),
            ingress_addresses: node.ingress_addresses.clone(),
            instance: some(&node.instance),
            profile: ProfileView::from(node),
            heartbeat: node.heartbeat.as_ref().map(|heartbeat| HeartbeatView {
                connections_open: heartbeat.connections_open,
                requests_in_flight: heartbeat.requests_in_flight,
            }),
        }
    }
}

impl From<&pb::NodeInfo> for ProfileView {
    fn from(node: &pb::NodeInfo) -> Self {
        let state = node.profile.clone().unwrap_or_default();
        Self {
            state: Standing::of(node).as_text(),
            wanted: hex(&node.wanted_hash),
            offered: hex(&state.offered_hash),
            effective: hex(&state.effective_hash),
            last_attempt: state.last_attempt().as_text(),
            errors: state.errors.iter().map(ProblemView::from).collect(),
            unsupported: state.unsupported.iter().map(ProblemView::from).collect(),
            origin: some(&state.origin),
            quarantined: state.quarantined.iter().map(|hash| hex(hash)).collect(),
            pending_restart: state.pending_restart,
            reported_at: rfc3339(node.profile_at_unix_ms),
        }
    }
}
