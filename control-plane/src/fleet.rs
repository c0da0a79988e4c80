//! Every node as operators see it: what the store knows, and what the nodes that are connected here say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use futures::future::BoxFuture;
use weir_proto::control::v1 as pb;

use crate::grpc::{AskNode, KnownNodes};
use crate::profiles::NodeFacts;
use crate::sync::{Live, Parts};
use crate::view::NodeRecord;

/// Every node, in the order of their ids.
pub async fn all(parts: &Parts) -> Vec<pb::NodeInfo> {
    some(parts, None, usize::MAX, |_| true).await
}

/// The first nodes after `after` that are wanted, in the order of their ids, at most `most`.
pub async fn some(
    parts: &Parts,
    after: Option<&str>,
    most: usize,
    wanted: impl Fn(&pb::NodeInfo) -> bool,
) -> Vec<pb::NodeInfo> {
    let connected = parts.sessions.all().await;
    let records = Arc::clone(&parts.view.nodes.borrow());
    let orders = Arc::clone(&parts.view.orders.borrow());
    let mut ids: BTreeSet<&str> = records.keys().map(String::as_str).collect();
    ids.extend(connected.keys().map(String::as_str));
    ids.extend(orders.keys().map(String::as_str));
    let none = NodeRecord::default();
    let info = |id: &str| {
        let record = records.get(id).unwrap_or(&none);
        info(parts, id, record, connected.get(id).map(|live| &**live))
    };
    let first = after.map_or(Bound::Unbounded, Bound::Excluded);
    let ids = ids.range::<str, _>((first, Bound::Unbounded));
    let infos = ids.map(|id| info(id)).filter(wanted).take(most);
    let mut nodes: Vec<pb::NodeInfo> = infos.collect();
    let listed: Vec<&str> = nodes.iter().map(|node| node.node_id.as_str()).collect();
    let now_unix_ms = parts.clock.unix_ms_now();
    let conflicts = parts.sessions.conflicts(&listed, now_unix_ms).await;
    for (node, conflict) in nodes.iter_mut().zip(conflicts) {
        node.conflict = conflict;
    }
    nodes
}

/// One node.
pub async fn one(parts: &Parts, id: &str) -> Option<pb::NodeInfo> {
    let live = parts.sessions.live(id).await;
    let record = parts.view.nodes.borrow().get(id).cloned();
    let is_known =
        live.is_some() || record.is_some() || parts.view.orders.borrow().contains_key(id);
    if !is_known {
        return None;
    }
    let now_unix_ms = parts.clock.unix_ms_now();
    let conflicts = parts.sessions.conflicts(&[id], now_unix_ms).await;
    let mut info = info(parts, id, &record.unwrap_or_default(), live.as_deref());
    info.conflict = conflicts.into_iter().collect();
    Some(info)
}

/// Labels of every node that is known to be there or to have been.
pub fn labels(parts: &Parts) -> BTreeMap<String, BTreeMap<String, String>> {
    let records = parts.view.nodes.borrow();
    let labels = |record: &NodeRecord| match (&record.presence, &record.status) {
        (Some(presence), _) => presence.labels.clone(),
        (None, Some(status)) => status.labels.clone(),
        (None, None) => BTreeMap::new(),
    };
    records
        .iter()
        .map(|(id, record)| (id.clone(), labels(record)))
        .collect()
}

fn info(parts: &Parts, id: &str, record: &NodeRecord, live: Option<&Live>) -> pb::NodeInfo {
    let mut info = kept(id, record);
    if let Some(live) = live {
        info.presence = pb::Presence::Connected as i32;
        info.instance = parts.instance.to_string();
        info.profile = Some(live.profile.clone());
        info.profile_at_unix_ms = live.profile_at_unix_ms;
        info.stale = live.stale;
        info.heartbeat = live.heartbeat;
    }
    info.orders = parts.view.orders.borrow().get(id).map(|order| order.orders);
    let profiles = Arc::clone(&parts.view.profiles.borrow());
    info.wanted_hash = profiles.offer_for(id, &info.labels).hash.to_vec();
    info
}

/// What the store knows.
fn kept(id: &str, record: &NodeRecord) -> pb::NodeInfo {
    let mut info = pb::NodeInfo {
        node_id: id.to_owned(),
        presence: pb::Presence::Away as i32,
        ..pb::NodeInfo::default()
    };
    if let Some(status) = &record.status {
        info.boot_id.clone_from(&status.boot_id);
        info.node_version.clone_from(&status.node_version);
        info.zone.clone_from(&status.zone);
        info.labels.clone_from(&status.labels);
        info.profile.clone_from(&status.profile);
        info.profile_at_unix_ms = status.reported_at_unix_ms;
        info.since_unix_ms = status.reported_at_unix_ms;
    }
    if let Some(presence) = &record.presence {
        let is_suspect = presence.suspect_since_unix_ms > 0;
        info.presence = match is_suspect {
            true => pb::Presence::Suspect as i32,
            false => pb::Presence::Connected as i32,
        };
        info.since_unix_ms = match is_suspect {
            true => presence.suspect_since_unix_ms,
            false => presence.connected_at_unix_ms,
        };
        info.boot_id.clone_from(&presence.boot_id);
        info.instance.clone_from(&presence.instance);
        info.node_version.clone_from(&presence.node_version);
        info.zone.clone_from(&presence.zone);
        info.labels.clone_from(&presence.labels);
        info.grpc_address.clone_from(&presence.grpc_address);
        info.http_api_address.clone_from(&presence.http_api_address);
        info.ingress_addresses
            .clone_from(&presence.ingress_addresses);
    }
    info
}

/// Whether a node refused what it was offered last.
pub fn has_refused(node: &pb::NodeInfo) -> bool {
    let profile = node.profile.as_ref();
    profile.is_some_and(|profile| profile.last_attempt() == pb::ApplyStatus::Rejected)
}

impl KnownNodes for Parts {
    fn facts(&self) -> Arc<[NodeFacts]> {
        let facts = |(id, labels)| NodeFacts { id, labels };
        labels(self).into_iter().map(facts).collect()
    }

    fn is_complete(&self) -> bool {
        self.view.is_complete()
    }

    fn infos(&self) -> BoxFuture<'_, Vec<pb::NodeInfo>> {
        Box::pin(all(self))
    }
}

impl AskNode for Parts {
    fn report<'a>(
        &'a self,
        node_id: &'a str,
    ) -> BoxFuture<'a, Result<pb::EffectiveReport, String>> {
        Box::pin(async move {
            let elsewhere = {
                let nodes = self.view.nodes.borrow();
                let presence = nodes.get(node_id).and_then(|node| node.presence.clone());
                presence.map(|presence| presence.instance.clone())
            };
            let command = pb::command::Command::ReportEffective(pb::ReportEffective {});
            match self.sessions.ask(node_id, command).await {
                Ok(result) => Ok(result.effective.unwrap_or_default()),
                Err(_)
                    if elsewhere
                        .as_ref()
                        .is_some_and(|other| **other != *self.instance) =>
                {
                    let instance = elsewhere.unwrap_or_default();
                    let instances = self.view.instances.borrow();
                    let address = instances.get(&instance).map_or("", String::as_str);
                    Err(format!(
                        "it is connected to {instance} ({address}), which can ask it"
                    ))
                }
                Err(why) => Err(why),
            }
        })
    }
}
