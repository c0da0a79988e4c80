//! `weir.control.v1.NodeSync`: lets a node in and starts its session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status, Streaming};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::node_sync_server::NodeSync;

use super::Parts;
use super::hello::Hello;
use super::out::{Messages, Out, channel};
use super::presence::{self, Left};
use super::session::{Ended, HEARTBEAT_INTERVAL, Session, message};
use super::sessions::{Closed, Live, Place, STREAMS_MAX};
use crate::governance::guard::{identity_of, permit};
use crate::governance::identity::{Action, Identity};

/// How long a node may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node waits for an instance that has just started.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// The wait of a node that is told to come back much later.
const FAR_RETRY: Duration = Duration::from_secs(60);

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct NodeSyncService(Arc<Parts>);

impl NodeSyncService {
    /// Serves nodes from these parts.
    pub fn new(parts: Arc<Parts>) -> Self {
        Self(parts)
    }
}

#[tonic::async_trait]
impl NodeSync for NodeSyncService {
    type SyncStream = Messages;

    async fn sync(
        &self,
        request: Request<Streaming<pb::NodeMessage>>,
    ) -> Result<Response<Messages>, Status> {
        let identity = identity_of(&request)?;
        let (out, messages) = channel();
        let parts = Arc::clone(&self.0);
        let peer = request.remote_addr();
        tokio::spawn(async move {
            let inbound = request.into_inner();
            let left = match serve(&parts, (identity, peer), inbound, &out).await {
                Ok(left) => left,
                Err(status) => {
                    let _ = out.try_send(Err(status));
                    None
                }
            };
            // The stream ends here, whatever is still to be said of the node.
            drop(out);
            if let Some((hello, said, how)) = left {
                presence::leave(&parts, &hello, &said, how).await;
            }
        });
        Ok(Response::new(messages))
    }
}

/// Who left, what they said last, and how they left.
type Gone = (Arc<Hello>, Arc<Live>, Left);

async fn serve(
    parts: &Arc<Parts>,
    (identity, peer): (Identity, Option<SocketAddr>),
    mut inbound: Streaming<pb::NodeMessage>,
    out: &Out,
) -> Result<Option<Gone>, Status> {
    let now_unix_ms = parts.clock.unix_ms_now();
    let hello = first(&mut inbound, now_unix_ms).await?;
    permit(&identity, &Action::SyncAs(hello.node_id()))?;
    let hello = hello.by(identity.token());
    let epoch = timeout(READ_TIMEOUT, parts.ready()).await;
    let epoch = epoch.map_err(|_| Status::unavailable("the store was not read yet"))?;
    let place = match enter(parts, &hello, now_unix_ms).await {
        Ok(place) => place,
        Err(closed) => {
            if closed == Closed::Superseded {
                let from = peer.map_or_else(
                    || hello.wire.grpc_address.clone(),
                    |peer| peer.ip().to_string(),
                );
                let sessions = &parts.sessions;
                sessions
                    .note_conflict(hello.node_id(), &from, now_unix_ms)
                    .await;
            }
            let _ = out.try_send(Ok(message(pb::control_message::Message::GoAway(away(
                &closed,
            )))));
            return Ok(None);
        }
    };
    let _ = out.try_send(Ok(message(welcome(parts, &epoch, now_unix_ms))));
    let (serial, said) = (place.serial, Arc::clone(&place.live));
    presence::assert(parts, &hello).await;
    presence::put_first_status(parts, &hello, now_unix_ms).await;
    let hello = Arc::new(hello.kept());
    let session = Session::new(
        Arc::clone(parts),
        Arc::clone(&hello),
        epoch,
        place,
        out.clone(),
    );
    let ended = tokio::select! {
        biased;
        status = parts.guard.ended(&identity) => {
            let _ = out.try_send(Err(status));
            Ended::Broken
        }
        ended = session.run(inbound) => ended,
    };
    let is_gone = parts.sessions.leave(hello.node_id(), serial).await;
    let how = match ended {
        Ended::ByNode => Left::ForGood,
        Ended::Broken => Left::Unexpectedly,
        Ended::Renewed => Left::ForAMoment,
        // The younger stream speaks for the node, or the leases do.
        Ended::Replaced | Ended::Stopping => return Ok(None),
    };
    Ok(is_gone.then(|| (hello, said.load_full(), how)))
}

async fn first(
    inbound: &mut Streaming<pb::NodeMessage>,
    now_unix_ms: u64,
) -> Result<Hello, Status> {
    let first = timeout(HELLO_TIMEOUT, inbound.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no hello came in time"))??;
    match first.and_then(|first| first.message) {
        Some(pb::node_message::Message::Hello(hello)) => Hello::checked(hello, now_unix_ms),
        _ => Err(Status::invalid_argument(
            "the first message must be a hello",
        )),
    }
}

async fn enter(parts: &Parts, hello: &Hello, now_unix_ms: u64) -> Result<Place, Closed> {
    let boot_id = &hello.wire.boot_id;
    // Of two processes with one id the younger stays, wherever the other is connected.
    let is_superseded = {
        let nodes = parts.view.nodes.borrow();
        let presence = nodes
            .get(hello.node_id())
            .and_then(|node| node.presence.clone());
        presence.is_some_and(|presence| {
            presence.suspect_since_unix_ms == 0
                && presence.instance != *parts.instance
                && presence.boot_id > *boot_id
        })
    };
    if is_superseded {
        return Err(Closed::Superseded);
    }
    check_quota(parts, hello).await?;
    let state = hello.wire.profile.clone().unwrap_or_default();
    let sessions = &parts.sessions;
    sessions
        .enter(hello.node_id(), boot_id, state, Instant::now(), now_unix_ms)
        .await
}

/// Who is one node too many is turned away, and may come when another was forgotten.
async fn check_quota(parts: &Parts, hello: &Hello) -> Result<(), Closed> {
    let census = Arc::clone(&parts.view.nodes_census.borrow());
    let (node, token) = (hello.node_id(), &hello.token);
    let mut quota = parts.quota.lock().await;
    let admitted = quota.admit(&census, node, token, Instant::now());
    admitted.map_err(|exceeded| {
        tracing::warn!(node, bound = %exceeded, "a new node is turned away");
        Closed::Exceeded(exceeded)
    })
}

fn away(closed: &Closed) -> pb::GoAway {
    let full = format!("this instance has {STREAMS_MAX} streams of nodes, which is the most");
    let (reason, retry_after) = match closed {
        Closed::Superseded => ("a younger process has this id".to_owned(), FAR_RETRY),
        Closed::Crowded(turn) => ("too many nodes come at once".to_owned(), *turn),
        Closed::Full => (full, FAR_RETRY),
        Closed::Exceeded(exceeded) => (exceeded.to_string(), FAR_RETRY),
    };
    pb::GoAway {
        reason,
        retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
        superseded: *closed == Closed::Superseded,
    }
}

fn welcome(parts: &Parts, epoch: &str, now_unix_ms: u64) -> pb::control_message::Message {
    pb::control_message::Message::Welcome(pb::Welcome {
        epoch: epoch.to_owned(),
        instance: parts.instance.to_string(),
        heartbeat_interval_ms: u64::try_from(HEARTBEAT_INTERVAL.as_millis()).unwrap_or(u64::MAX),
        server_time_unix_ms: now_unix_ms,
        leader_term: parts.leader_term(),
    })
}
