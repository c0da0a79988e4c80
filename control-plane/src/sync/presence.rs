//! What the store is told of the nodes that are connected here.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use weir_proto::control::records::v1 as records;
use weir_proto::control::v1 as pb;

use super::hello::Hello;
use super::sessions::Live;
use super::{Parts, stopped};
use crate::keys::Key;
use crate::leases::Settlement;
use crate::records::encode;

/// How long a node whose stream broke is still counted among those that are there.
const SUSPECT_FOR: Duration = Duration::from_secs(30);
/// How long a node whose stream was renewed may take to come back without being suspected.
const RENEWED_FOR: Duration = Duration::from_secs(5);
/// How long it may take to write that a node is gone.
const WITHDRAW_LIMIT: Duration = Duration::from_secs(60);
/// What a node said is written again when it is as old as that: nothing that is kept is from a node gone for longer.
const REPEAT_AFTER: Duration = Duration::from_secs(86_400);
/// How long a write may take to show in the view.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// Says that a node is connected here.
pub(super) async fn assert(parts: &Parts, hello: &Hello) {
    let record = record(parts, hello, 0);
    let Some(key) = key(parts, hello) else {
        return;
    };
    if let Err(error) = parts.presences.assert(key, encode(&record)).await {
        tracing::error!(node = hello.node_id(), %error, "a node is not shown to other instances");
    }
}

/// How a node left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It said so.
    ForGood,
    /// Its stream broke.
    Unexpectedly,
    /// It was asked to come back.
    ForAMoment,
}

/// Says what a node that left here is to others, until it comes back or is gone for good.
pub(super) async fn leave(parts: &Parts, hello: &Hello, said: &Live, how: Left) {
    match how {
        Left::ForGood => {}
        Left::Unexpectedly => {
            if suspect(parts, hello).await.is_break() {
                return;
            }
        }
        Left::ForAMoment => {
            if is_back_within(parts, hello, RENEWED_FOR).await.is_break()
                || suspect(parts, hello).await.is_break()
            {
                return;
            }
        }
    }
    withdraw(parts, hello, said).await;
}

/// Breaks when the node is back, or nobody is left to say that it is not.
async fn suspect(parts: &Parts, hello: &Hello) -> ControlFlow<()> {
    let Some(key) = key(parts, hello) else {
        return ControlFlow::Break(());
    };
    let record = record(parts, hello, parts.clock.unix_ms_now());
    // What another instance has taken over meanwhile is left alone by update and withdraw.
    let _ = parts.presences.update(key, encode(&record)).await;
    is_back_within(parts, hello, SUSPECT_FOR).await
}

async fn is_back_within(parts: &Parts, hello: &Hello, limit: Duration) -> ControlFlow<()> {
    let mut stop = parts.stop.clone();
    tokio::select! {
        biased;
        () = stopped(&mut stop) => ControlFlow::Break(()),
        () = tokio::time::sleep(limit) => match parts.sessions.has(hello.node_id()).await {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        },
    }
}

/// Says that a node is gone, and when.
async fn withdraw(parts: &Parts, hello: &Hello, said: &Live) {
    let Some(key) = key(parts, hello) else {
        return;
    };
    let Ok(settled) = parts.presences.withdraw(key).await else {
        return;
    };
    // Nobody else has it, so nobody else says when.
    if settled.within(WITHDRAW_LIMIT).await == Ok(Settlement::Withdrawn)
        && !parts.sessions.has(hello.node_id()).await
    {
        let now = parts.clock.unix_ms_now();
        put_status(parts, hello, said.profile.clone(), now).await;
    }
}

fn key(parts: &Parts, hello: &Hello) -> Option<Bytes> {
    // Ids of nodes are checked with their hello.
    let node = hello.node_id();
    parts.keys.of(&Key::Presence { node }).ok()
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

/// Keeps it again if something else is kept by now, as by an instance that was frozen with a write in its hands, or
/// if it is old.
pub(super) async fn repeat_status(parts: &Parts, hello: &Hello, said: &Live, now_unix_ms: u64) {
    let ms = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    if now_unix_ms.saturating_sub(said.profile_at_unix_ms) < ms(SHOWN_WITHIN) {
        return;
    }
    let is_kept = {
        let nodes = parts.view.nodes.borrow();
        let kept = nodes
            .get(hello.node_id())
            .and_then(|node| node.status.as_ref());
        kept.is_some_and(|kept| {
            let age_ms = now_unix_ms.saturating_sub(kept.reported_at_unix_ms);
            kept.profile.as_ref() == Some(&said.profile) && age_ms < ms(REPEAT_AFTER)
        })
    };
    if !is_kept {
        put_status(parts, hello, said.profile.clone(), now_unix_ms).await;
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
        registered_by: hello.token.clone(),
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
        registered_by: hello.token.clone(),
    }
}
