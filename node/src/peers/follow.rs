//! Streams to the nodes that act for all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use weir_core::vpn::silence_max;
use weir_proto::node::v1::ListPortsRequest;

use super::Peers;
use crate::actors::config_agent::InForce;
use crate::snapshot::Snapshot;

/// Between two looks at who acts for whom.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A stream that runs until this is dropped.
struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Follows whoever acts for VPNs and services of this node, until the node ends.
pub async fn run(peers: Peers, in_force: Snapshot<InForce>) {
    let mut following: BTreeMap<String, Following> = BTreeMap::new();
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        peers.forget_strangers();
        let wanted = wanted(&peers, &in_force);
        following.retain(|node, stream| wanted.contains(node) && !stream.0.is_finished());
        peers.heard.send_if_modified(|heard| {
            let before = heard.len();
            heard.retain(|node, _| wanted.contains(node));
            heard.len() != before
        });
        for node in wanted {
            let following = following.entry(node);
            let (peers, node) = (peers.clone(), following.key().clone());
            let in_force = in_force.clone();
            following.or_insert_with(|| {
                Following(tokio::task::spawn_local(follow(peers, node, in_force)).abort_handle())
            });
        }
    }
}

/// The other nodes that act for something that this node has, and those that would if they live again.
fn wanted(peers: &Peers, in_force: &Snapshot<InForce>) -> BTreeSet<String> {
    let config = &in_force.load().config;
    let vpns = config.vpns.iter();
    let vpns = vpns.flat_map(|vpn| [peers.owner_of_vpn(&vpn.name), peers.heir_of_vpn(&vpn.name)]);
    let services = config
        .services
        .iter()
        .filter(|service| service.engines.is_some());
    let services = services.map(|service| &service.name);
    let services =
        services.flat_map(|name| [peers.owner_of_service(name), peers.heir_of_service(name)]);
    vpns.chain(services)
        .filter(|node| node != peers.node())
        .collect()
}

/// Follows one node until it does not answer.
async fn follow(peers: Peers, node: String, in_force: Snapshot<InForce>) {
    let why = match one_stream(&peers, &node, &in_force).await {
        Ok(()) => "it ended the stream".to_owned(),
        Err(why) => why,
    };
    tracing::debug!(node, why, "a node that acted for others is away");
    peers.is_dead(&node);
    peers
        .heard
        .send_if_modified(|heard| heard.remove(&node).is_some());
}

async fn one_stream(peers: &Peers, node: &str, in_force: &Snapshot<InForce>) -> Result<(), String> {
    // A node that says nothing for this long does not act for anybody; it says something every second.
    let silence_max = || silence_max(in_force.load().config.port_cache.health_interval);
    let silent = |_| "it says nothing".to_owned();
    let mut client = peers.engines_at(node)?;
    let opened = timeout(silence_max(), client.watch_ports(ListPortsRequest {}))
        .await
        .map_err(silent)?;
    let mut stream = opened
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    loop {
        let told = timeout(silence_max(), stream.message())
            .await
            .map_err(silent)?;
        let Some(ports) = told.map_err(|status| status.message().to_owned())? else {
            return Ok(());
        };
        peers.hears(node, ports);
    }
}
