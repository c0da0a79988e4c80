//! This node's link to another one, and again whenever it ends.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use weir_core::backoff::Backoff;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_peer_client::BroadcastPeerClient;
use weir_proto::node::v1::link_told::What;

use super::hub::Said;
use super::{Mesh, OPEN_TIMEOUT, wire};
use crate::peers::Peers;

/// A node that says nothing for this long is not there; it says something every 200 ms.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(3);
/// Between two tries.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// What is asked and not taken.
const ASKED_MAX: usize = 65_536;
/// A process that ends closes its listener some time after its connections.
const PROBES: usize = 3;
const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// Why a link ended.
struct End {
    why: String,
    is_silent: bool,
    was_up: bool,
}

/// Keeps the link for as long as it is polled.
pub(super) async fn run(mesh: Mesh, peers: Peers, node: String) {
    let seed = mesh.0.seed ^ weir_core::balance::hash_key(node.as_bytes());
    let mut backoff = Backoff::new(WAIT_MIN..=WAIT_MAX, fastrand::Rng::with_seed(seed));
    loop {
        let probe = peers.prober(&node);
        let end = one_link(&mesh, &peers, &node).await;
        let mut is_gone = false;
        for _ in 0..PROBES {
            is_gone = probe.is_refused().await;
            if is_gone {
                break;
            }
            sleep(PROBE_INTERVAL).await;
        }
        tracing::debug!(node, why = end.why, is_gone, "a node is not linked");
        let lost = Said::Lost {
            node: node.clone(),
            is_silent: end.is_silent,
            is_gone,
        };
        if mesh.0.said.send(lost).await.is_err() {
            return;
        }
        if end.was_up {
            backoff.reset();
        }
        sleep(backoff.next_wait()).await;
    }
}

async fn one_link(mesh: &Mesh, peers: &Peers, node: &str) -> End {
    let mut is_silent = false;
    let mut was_up = false;
    let why = follow(mesh, peers, node, &mut was_up, &mut is_silent).await;
    if is_silent {
        // What was sent on this connection may be lost for good: the next try is made on another one.
        peers.is_silent(node);
    }
    End {
        why: why
            .err()
            .unwrap_or_else(|| "it ended the stream".to_owned()),
        is_silent,
        was_up,
    }
}

async fn follow(
    mesh: &Mesh,
    peers: &Peers,
    node: &str,
    was_up: &mut bool,
    is_silent: &mut bool,
) -> Result<(), String> {
    let mut silent = |_| {
        *is_silent = true;
        "it says nothing".to_owned()
    };
    let said = |status: tonic::Status| status.message().to_owned();
    let (asks, asked) = mpsc::channel(ASKED_MAX);
    let hello = pb::LinkAsked {
        hello: Some(mesh.hello()),
        ..pb::LinkAsked::default()
    };
    asks.try_send(hello).map_err(|_| "no room".to_owned())?;
    let mut client =
        BroadcastPeerClient::with_interceptor(peers.channel_to(node)?, peers.key().shows())
            .max_decoding_message_size(wire::MESSAGE_BYTES_MAX);
    let opened = timeout(OPEN_TIMEOUT, client.link(ReceiverStream::new(asked))).await;
    let mut told = opened.map_err(&mut silent)?.map_err(said)?.into_inner();
    let first = timeout(OPEN_TIMEOUT, told.message()).await;
    let first = first.map_err(&mut silent)?.map_err(said)?;
    let Some(What::Hello(hello)) = first.and_then(|told| told.what) else {
        return Err("it does not say who it is".to_owned());
    };
    let up = Said::Up {
        node: node.to_owned(),
        process: hello.process,
        asks,
    };
    let ended = |_| "this node ends".to_owned();
    mesh.0.said.send(up).await.map_err(ended)?;
    *was_up = true;
    loop {
        let next = timeout(SILENT_MAX, told.message()).await;
        let Some(next) = next.map_err(&mut silent)?.map_err(said)? else {
            return Ok(());
        };
        if let Some(what) = next.what {
            let node = node.to_owned();
            mesh.0
                .said
                .send(Said::Told { node, what })
                .await
                .map_err(ended)?;
        }
    }
}
