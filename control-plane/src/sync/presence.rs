//! What the store is told of the nodes that are connected here.

use std::sync::Arc;
use std::time::Duration;

use weir_proto::control::records::v1 as records;
use weir_proto::control::v1 as pb;

use super::hello::Hello;
use super::{Parts, stopped};
use crate::keys::Key;
use crate::records::encode;

/// How long a node whose stream broke is still counted among those that are there.
pub(super) const SUSPECT_FOR: Duration = Duration::from_secs(30);

/// Says that a node is connected here.
pub(super) async fn assert(parts: &Parts, hello: &Hello) {
    let record = record(parts, hello, 0);
    let key = parts.keys.of(&Key::Presence {
        node: hello.node_id(),
    });
    let Ok(key) = key else {
        return; // Ids of nodes are checked with their hello.
    };
    if let Err(error) = parts.presences.assert(key, encode(&record)).await {
        tracing::error!(node = hello.node_id(), %error, "a node is not shown to other instances");
    }
}

/// Says that its stream broke; if it does not return, that it is gone.
pub(super) async fn suspect(parts: Arc<Parts>, hello: Hello) {
    let Ok(key) = parts.keys.of(&Key::Presence {
        node: hello.node_id(),
    }) else {
        return;
    };
    let record = record(&parts, &hello, parts.clock.unix_ms_now());
    // What another instance has taken over meanwhile is left alone by update and withdraw.
    let _ = parts.presences.update(key.clone(), encode(&record)).await;
    let mut stop = parts.stop.clone();
    tokio::select! {
        biased;
        () = stopped(&mut stop) => return,
        () = tokio::time::sleep(SUSPECT_FOR) => {}
    }
    if !parts.sessions.has(hello.node_id()).await {
        let _ = parts.presences.withdraw(key).await;
    }
}

/// Says that it left in order.
pub(super) async fn withdraw(parts: &Parts, hello: &Hello) {
    if let Ok(key) = parts.keys.of(&Key::Presence {
        node: hello.node_id(),
    }) {
        let _ = parts.presences.withdraw(key).await;
    }
}

/// Keeps what a node says of its profile when it comes, unless that is what is kept already.
pub(super) async fn put_first_status(parts: &Parts, hello: &Hello, at_unix_ms: u64) {
    let state = hello.wire.profile.clone().unwrap_or_default();
    let kept = {
        let nodes = parts.view.nodes.borrow();
        nodes
            .get(hello.node_id())
            .and_then(|node| node.status.clone())
    };
    let wire = &hello.wire;
    let is_kept = kept.is_some_and(|kept| {
        kept.profile.as_ref() == Some(&state)
            && (&kept.node_version, &kept.zone, &kept.labels)
                == (&wire.node_version, &wire.zone, &wire.labels)
    });
    if !is_kept {
        put_status(parts, hello, state, at_unix_ms).await;
    }
}

/// Keeps what a node says of its profile, so that every instance can show it, and after it left.
pub(super) async fn put_status(
    parts: &Parts,
    hello: &Hello,
    state: pb::ProfileState,
    at_unix_ms: u64,
) {
    let status = records::NodeStatus {
        node_id: hello.node_id().to_owned(),
        boot_id: hello.wire.boot_id.clone(),
        profile: Some(state),
        reported_at_unix_ms: at_unix_ms,
        node_version: hello.wire.node_version.clone(),
        zone: hello.wire.zone.clone(),
        labels: hello.wire.labels.clone(),
    };
    let Ok(key) = parts.keys.of(&Key::NodeStatus {
        node: hello.node_id(),
    }) else {
        return;
    };
    if let Err(error) = parts.presences.put(key, encode(&status)).await {
        tracing::error!(node = hello.node_id(), %error, "a node's state is not kept");
    }
}

fn record(parts: &Parts, hello: &Hello, suspect_since_unix_ms: u64) -> records::Presence {
    let wire = &hello.wire;
    records::Presence {
        node_id: wire.node_id.clone(),
        boot_id: wire.boot_id.clone(),
        instance: parts.instance.to_string(),
        connected_at_unix_ms: hello.connected_at_unix_ms,
        node_version: wire.node_version.clone(),
        zone: wire.zone.clone(),
        labels: wire.labels.clone(),
        grpc_address: wire.grpc_address.clone(),
        http_api_address: wire.http_api_address.clone(),
        ingress_addresses: wire.ingress_addresses.clone(),
        suspect_since_unix_ms,
    }
}
